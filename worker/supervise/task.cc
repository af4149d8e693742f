// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/log.h"
#include "worker/json_fields.h"
#include "worker/supervise/time_text.h"

namespace zkexec {
namespace {

// How long the API server may take to answer the start of a process that has ended since.
constexpr Duration kStartAnswerMax{2000};
// Of the API server's words, in a report: it goes through ZooKeeper.
constexpr std::size_t kDetailBytesMax = 1500;

using Json = nlohmann::ordered_json;

// As pydantic reads a bool from JSON. Nothing: it would refuse that.
std::optional<bool> AsPydanticsBool(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value == 0 || value == 1) return value == 1;
  if (!value.is_string()) return std::nullopt;
  auto text = value.get<std::string>();
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  for (const char* yes : {"1", "on", "t", "true", "y", "yes"})
    if (text == yes) return true;
  for (const char* no : {"0", "off", "f", "false", "n", "no"})
    if (text == no) return false;
  return std::nullopt;
}

// Not longer than the limit, and cut between characters.
std::string Shortened(std::string text) {
  if (text.size() <= kDetailBytesMax) return text;
  auto end = kDetailBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

}  // namespace

Task::Task(TaskSpec spec, const SuperviseSettings& settings, ExecutionApi& api, const Clock& clock,
           Io& io, std::uint64_t seed)
    : spec_(std::move(spec)),
      settings_(settings),
      clock_(clock),
      io_(io),
      api_(api, clock, settings.retries, spec_.token, seed),
      masker_(&settings.masking),
      lines_(clock, masker_, settings.log_level,
             settings.dialect < Dialect::k34 ? "" : spec_.ti_id) {}

void Task::Begin(pid_t pid) {
  pid_ = pid;
  starting_ = true;
  ApiRequest request{"PATCH", "task-instances/" + spec_.ti_id + "/run", "", {}};
  request.body = "{\"state\":\"running\",\"hostname\":" + JsonString(settings_.hostname) +
                 ",\"unixname\":" + JsonString(settings_.unixname) +
                 ",\"pid\":" + std::to_string(pid_) +
                 ",\"start_date\":" + JsonString(IsoTime(clock_.UnixUs())) + "}";
  api_.Send(std::move(request), [this](const ApiAnswer& answer) { OnStartAnswer(answer); });
}

void Task::OnStartAnswer(const ApiAnswer& answer) {
  starting_ = false;
  if (!answer.ok()) {
    if (IsCleared(answer)) return EndCleared();
    SayUnreachable(answer);
    return Refuse(answer);
  }
  const auto unreadable = [&answer, this](const std::string& why) {
    auto failed = answer;
    failed.status = 0;
    failed.failure = "the API server's answer to the start: " + why;
    Refuse(failed);
  };
  const auto context = ParseTree(answer.body);
  if (!context.is_object()) return unreadable("it is not a JSON object");
  JsonFields fields(context, "");
  if (const auto* retry = fields.Find("should_retry"); retry != nullptr && !retry->is_null()) {
    const auto says = AsPydanticsBool(*retry);
    if (!says) return unreadable("\"should_retry\" is neither true nor false");
    should_retry_ = *says;
  }
  started_ = true;
  // /run has just set the time of the last heartbeat: the first is due an interval later.
  next_heartbeat_ = clock_.Now() + settings_.heartbeat_interval;
  // The server has a start date for what resumes from a deferral only.
  const auto* date = fields.Find("start_date");
  const auto start_date =
      date != nullptr && !date->is_null() ? date->dump() : JsonString(IsoTime(clock_.UnixUs()));
  const auto details = "{\"ti\":" + spec_.ti_json +
                       ",\"dag_rel_path\":" + JsonString(spec_.dag_rel_path) +
                       ",\"bundle_info\":" + spec_.bundle_json + ",\"start_date\":" + start_date +
                       ",\"ti_context\":" + answer.body +
                       ",\"sentry_integration\":" + JsonString(spec_.sentry_integration) +
                       ",\"type\":\"StartupDetails\"}";
  const auto frame = ResponseFrame(0, details, "");
  if (!frame) {
    started_ = false;
    return unreadable(frame.error().message);
  }
  if (!end_) io_.Write(*frame);
  EndIfOver();
}

void Task::Refuse(const ApiAnswer& answer) {
  ExitReport report{spec_.dispatch_id, "failed", ""};
  const auto body = ParseTree(answer.body);
  std::string detail;
  if (const auto* told = JsonFields(body, "").Find("detail")) {
    detail = Shortened(told->is_string() ? told->get<std::string>() : told->dump());
  }
  report.info = answer.status == 0
                    ? Shortened(answer.failure)
                    : "the API server refused the start with status " +
                          std::to_string(answer.status) + (detail.empty() ? "" : ": " + detail);
  const auto* conflict = ErrorDetail(body);
  JsonFields reasons(conflict == nullptr ? body : *conflict, "");
  const auto reason = reasons.Text("reason");
  const bool elsewhere = (settings_.dialect >= Dialect::k34 && reason == "running_elsewhere") ||
                         (reason == "invalid_state" && reasons.Text("previous_state") == "running");
  if (answer.status == 409 && IsApiError(answer) && conflict != nullptr && elsewhere) {
    report.outcome = "already_running";
  } else if ((answer.status == 404 || answer.status == 409) && IsApiError(answer) &&
             JsonFields(body, "").Find("detail") != nullptr) {
    // Airflow's own word. What a proxy says is no reason to leave the task queued in silence.
    report.outcome = "stale";
  } else if (answer.status == 401 || answer.status == 403) {
    report.outcome = "token";
  }
  spdlog::warn("start refused dispatch={} status={} info=\"{}\"", spec_.dispatch_id, answer.status,
               report.info);
  refusal_ = std::move(report);
  expected_signal_ = SIGKILL;
  if (!end_) io_.Signal(SIGKILL, true);
  EndIfOver();
}

void Task::OnText(std::string_view line, bool is_error) {
  io_.Log(lines_.FromText(line, is_error ? "task.stderr" : "task.stdout",
                          is_error ? LogLines::kError : LogLines::kInfo));
}

void Task::HeartbeatIfDue() {
  if (end_ || !MayBeat() || clock_.Now() < next_heartbeat_) return;
  beating_ = true;
  next_heartbeat_ = clock_.Now() + settings_.heartbeat_interval;
  ApiRequest request{"PUT", "task-instances/" + spec_.ti_id + "/heartbeat", "", {}};
  request.body =
      "{\"hostname\":" + JsonString(settings_.hostname) + ",\"pid\":" + std::to_string(pid_) + "}";
  // The next heartbeat is another try, since 3.4.
  const int tries = settings_.dialect < Dialect::k34 ? 0 : 1;
  api_.Send(
      std::move(request), [this](const ApiAnswer& answer) { OnHeartbeatAnswer(answer); }, tries);
}

// While the task still runs as far as the API server knows.
bool Task::MayBeat() const {
  if (beating_ || server_stopped_) return false;
  if (terminal_.empty()) return true;
  return settings_.dialect >= Dialect::k34 && !telling_ && (untold_ || held_);
}

void Task::OnHeartbeatAnswer(const ApiAnswer& answer) {
  beating_ = false;
  // On its way while the task told its end, it may have found that the task runs no more.
  if (end_ || server_stopped_ || (settings_.dialect >= Dialect::k34 && !MayBeat())) return;
  if (answer.ok()) {
    failed_heartbeats_ = 0;
    return;
  }
  if (IsApiError(answer) &&
      (answer.status == 404 || answer.status == 409 || answer.status == 410)) {
    const auto body = ParseTree(answer.body);
    const auto* told = ErrorDetail(body);
    const auto detail = told == nullptr ? "null" : told->dump();
    spdlog::warn("API server says the task must not run any more dispatch={} status={}",
                 spec_.dispatch_id, answer.status);
    io_.Log(
        lines_.Own(LogLines::kError,
                   "Server indicated the task shouldn't be running anymore. Terminating process",
                   {{"detail", detail}}));
    server_stopped_ = true;
    if (settings_.dialect < Dialect::k34) return Terminate(settings_.escalation);
    StopOutcome();
    return Terminate(settings_.killed_cleanup);
  }
  ++failed_heartbeats_;
  spdlog::warn("heartbeat failed dispatch={} failed={} max={} status={} error=\"{}\"",
               spec_.dispatch_id, failed_heartbeats_, settings_.failed_heartbeats_max,
               answer.status, answer.failure);
  if (failed_heartbeats_ >= settings_.failed_heartbeats_max) Terminate(settings_.escalation);
}

void Task::Terminate(Duration escalation) {
  if (end_ || expected_signal_ != 0) return;
  expected_signal_ = SIGTERM;
  escalate_at_ = clock_.Now() + escalation;
  io_.Signal(SIGTERM, true);
}

void Task::Kill(Launcher::Signal signal) {
  if (end_) return;
  killed_by_us_ = true;
  if (signal == Launcher::Signal::kKill) {
    io_.Signal(SIGKILL, true);
  } else {
    // The task alone: its handler runs the operator's on_kill, which ends the rest.
    io_.Signal(SIGTERM, false);
  }
}

void Task::Tick() {
  const auto now = clock_.Now();
  api_.Tick();
  if (end_) {
    if (!streams_closed_ && now - exited_at_ >= settings_.socket_cleanup) {
      spdlog::warn("process ended with open streams; closing them dispatch={} pid={}",
                   spec_.dispatch_id, pid_);
      io_.CloseStreams();
      streams_closed_ = true;
      EndIfOver();
    }
    if (starting_ && now - exited_at_ >= kStartAnswerMax) {
      // If it says yes after all, the report makes Airflow look after what is "running".
      api_.Forget();
      // Nor will there be answers to what the process asked before its start was answered.
      answering_ = telling_ = false;
      requests_.clear();
      ApiAnswer none;
      none.failure = "the process ended before the API server had answered its start";
      starting_ = false;
      Refuse(none);
    }
    return;
  }
  if (now >= escalate_at_) {
    escalate_at_ = TimePoint::max();
    expected_signal_ = SIGKILL;
    io_.Signal(SIGKILL, true);
  }
  if (!started_) return;
  HeartbeatIfDue();
  if (!terminal_.empty() && told_at_ != TimePoint{} &&
      now - told_at_ > settings_.success_overtime && expected_signal_ == 0) {
    spdlog::warn("task success overtime reached; terminating dispatch={}", spec_.dispatch_id);
    Terminate(settings_.escalation);
  }
  if (now >= overrun_at_ && terminal_.empty()) EndOverrun();
}

TimePoint Task::due() const {
  auto first = api_.due();
  if (end_ && starting_) first = std::min(first, exited_at_ + kStartAnswerMax);
  if (end_) return streams_closed_ ? first : std::min(first, exited_at_ + settings_.socket_cleanup);
  first = std::min(first, escalate_at_);
  if (!started_) return first;
  if (MayBeat()) first = std::min(first, next_heartbeat_);
  if (terminal_.empty()) first = std::min(first, overrun_at_);
  if (!terminal_.empty() && told_at_ != TimePoint{} && expected_signal_ == 0)
    first = std::min(first, told_at_ + settings_.success_overtime + Duration{1});
  return first;
}

}  // namespace zkexec
