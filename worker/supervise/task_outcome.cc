// SPDX-License-Identifier: Apache-2.0
// What is other since Airflow 3.4 about how a task ends: outcomes are told when the process is
// gone, a conflict ends a task without its outcome, the API server is told that a task which it
// stopped has ended, and execution_timeout holds for tasks that don't heed it.
#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "worker/supervise/task.h"
#include "worker/supervise/time_text.h"

namespace zkexec {
namespace {

constexpr char kServerTerminated[] = "server_terminated";

bool IsConflict(const ApiAnswer& answer) { return answer.status == 409 && IsApiError(answer); }

std::string Seconds(Duration duration) {
  return nlohmann::json(static_cast<double>(duration.count()) / 1000.0).dump();
}

}  // namespace

bool Task::Stopped() const { return terminal_ == kServerTerminated; }

// A failure, a skip or a retry: told at the end of the process, whatever its exit code.
void Task::HoldOutcome(TaskRequest request) {
  if (Stopped()) return;
  untold_.reset();
  terminal_ = request.type == "RetryTask" ? "up_for_retry" : request.Text("state");
  told_at_ = clock_.Now();
  const auto* index = request.Find("rendered_map_index");
  rendered_map_index_ = index == nullptr ? "null" : *index;
  held_ = std::move(request);
}

// The other outcomes are told at once, and again at the end if the API server did not take them.
void Task::TellOutcome(const Route& route, std::string_view state, TaskRequest request) {
  if (request.type == "SucceedTask") told_at_ = clock_.Now();
  if (const auto* index = request.Find("rendered_map_index")) rendered_map_index_ = *index;
  if (Stopped()) return Answer(request.id, {});
  terminal_ = state;
  held_.reset();
  auto call = MakeRequest(route, request, spec_.ti_id);
  untold_ = call;
  telling_ = true;
  api_.Send(std::move(call), [this, &route, request](const ApiAnswer& answer) {
    telling_ = false;
    // Stopped meanwhile, by a heartbeat: what the server said to this is void.
    if (Stopped()) return Answer(request.id, {});
    if (IsConflict(answer)) {
      DiscardOutcome();
      return Answer(request.id, {});
    }
    if (answer.ok()) untold_.reset();
    Answer(request.id, MakeReply(route, request, answer));
  });
}

void Task::DiscardOutcome() {
  io_.Log(lines_.Own(LogLines::kInfo,
                     "Server rejected task outcome with a conflict. Discarding task outcome."));
  StopOutcome();
}

// From here on nothing that the task says about its end counts.
void Task::StopOutcome() {
  terminal_ = kServerTerminated;
  untold_.reset();
  held_.reset();
}

bool Task::IsCleared(const ApiAnswer& answer) const {
  if (settings_.dialect < Dialect::k34 || !IsConflict(answer)) return false;
  const auto body = nlohmann::json::parse(answer.body, nullptr, false);
  if (!body.is_object()) return false;
  const auto detail = body.find("detail");
  if (detail == body.end() || !detail->is_object()) return false;
  return detail->find("reason") != detail->end() && detail->at("reason") == "invalid_state" &&
         detail->find("previous_state") != detail->end() &&
         detail->at("previous_state") == "restarting";
}

// Cleared between its queueing and its start. The process goes; that it has gone lets the task
// be queued anew, so this is an end like any other and no refusal.
void Task::EndCleared() {
  started_ = true;
  io_.Log(
      lines_.Own(LogLines::kInfo,
                 "Server rejected task start because the task was cleared. Task process stopped."));
  StopOutcome();
  expected_signal_ = SIGKILL;
  if (!end_) io_.Signal(SIGKILL, true);
  EndIfOver();
}

void Task::ArmExecutionTimeout(const TaskRequest& request) {
  const auto* text = request.Find("timeout_seconds");
  if (text == nullptr) return;
  const auto seconds = nlohmann::json::parse(*text, nullptr, false);
  if (!seconds.is_number()) return;
  // A year is for ever, and doesn't overflow.
  constexpr double kYear = 366.0 * 24 * 3600;
  const double value = std::min(seconds.get<double>(), kYear);
  execution_timeout_ = nlohmann::json(seconds.get<double>()).dump();
  overrun_at_ =
      clock_.Now() + Duration{static_cast<Duration::rep>(value * 1000)} + settings_.killed_cleanup;
}

void Task::EndOverrun() {
  overrun_at_ = TimePoint::max();
  io_.Log(lines_.Own(LogLines::kError,
                     "Task did not stop before execution_timeout elapsed; terminating process",
                     {{"timeout_seconds", execution_timeout_},
                      {"grace_period_seconds", Seconds(settings_.killed_cleanup)}}));
  Terminate(settings_.killed_cleanup);
}

void Task::SendOutcome() {
  if (Stopped()) return Acknowledge();
  if (held_) {
    const auto request = *std::exchange(held_, std::nullopt);
    ApiRequest call;
    if (request.type == "RetryTask") {
      call = MakeRequest(*FindRoute("RetryTask", settings_.dialect), request, spec_.ti_id);
    } else {
      const auto* date = request.Find("end_date");
      const auto* reason = request.Find("retry_reason");
      const auto* decision = request.Find("loop_decision");
      call = StateRequest(
          terminal_, date == nullptr || *date == "null" ? "" : *date,
          ",\"retry_reason\":" + (reason == nullptr ? "null" : *reason) +
              (decision == nullptr || *decision == "null" ? ""
                                                          : ",\"loop_decision\":" + *decision));
    }
    return api_.Send(std::move(call), [this](const ApiAnswer& answer) {
      if (!IsConflict(answer)) return OnFinalState(answer);
      DiscardOutcome();
      Acknowledge();
    });
  }
  if (untold_) {
    return api_.Send(*untold_, [this](const ApiAnswer& answer) {
      if (IsConflict(answer)) {
        DiscardOutcome();
        return Acknowledge();
      }
      if (!answer.ok())
        spdlog::error("the task's state was refused twice dispatch={} status={} error=\"{}\"",
                      spec_.dispatch_id, answer.status, answer.failure);
      Finish();
    });
  }
  // A success that the API server has taken stands, whatever came after.
  if (end_->code == 0 || should_retry_ || !terminal_.empty()) return Finish();
  api_.Send(StateRequest("failed", "", ",\"retry_reason\":null"),
            [this](const ApiAnswer& answer) { OnFinalState(answer); });
}

// Tells the API server that the process which it stopped has ended.
void Task::Acknowledge() {
  auto call = StateRequest(kServerTerminated, "",
                           ",\"retry_reason\":null,\"hostname\":" + JsonString(settings_.hostname) +
                               ",\"pid\":" + std::to_string(pid_));
  api_.Send(std::move(call), [this](const ApiAnswer& answer) {
    const bool refused = IsApiError(answer) &&
                         (answer.status == 404 || answer.status == 409 || answer.status == 410);
    if (!refused) return OnFinalState(answer);
    spdlog::info("the end of a stopped task was of no interest dispatch={} status={}",
                 spec_.dispatch_id, answer.status);
    Finish();
  });
}

// `date` is JSON text; empty: now.
ApiRequest Task::StateRequest(const std::string& state, const std::string& date,
                              const std::string& more) const {
  ApiRequest request{"PATCH", "task-instances/" + spec_.ti_id + "/state", "", {}};
  request.body = "{\"state\":" + JsonString(state) +
                 ",\"end_date\":" + (date.empty() ? JsonString(IsoTime(clock_.UnixUs())) : date) +
                 ",\"rendered_map_index\":" + rendered_map_index_ + more + "}";
  return request;
}

void Task::SayUnreachable(const ApiAnswer& answer) {
  if (settings_.dialect < Dialect::k34 || answer.status != 0) return;
  io_.Log(lines_.Own(LogLines::kInfo, "::endgroup::"));
  io_.Log(lines_.Own(
      LogLines::kError,
      "Could not reach the Execution API server. Verify the `[core] execution_api_server_url` (or "
      "`[api] base_url`) setting points at a reachable Airflow API server.",
      {{"server", JsonString(settings_.api_url)}, {"error", JsonString(answer.failure)}}));
}

}  // namespace zkexec
