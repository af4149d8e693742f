// SPDX-License-Identifier: Apache-2.0
// What a task asks of its supervisor, and the answers.
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "worker/json_fields.h"
#include "worker/supervise/task.h"

namespace zkexec {
namespace {

// The states that a task tells as messages of their own, and the state that each means.
// They are sent again at the end if the API server did not take them.
std::string_view TerminalState(std::string_view type) {
  if (type == "SucceedTask") return "success";
  if (type == "RetryTask") return "up_for_retry";
  if (type == "DeferTask") return "deferred";
  if (type == "RescheduleTask") return "up_for_reschedule";
  if (type == "AwaitInputTask") return "awaiting_input";
  return {};
}

bool StartsOvertime(std::string_view type) { return type == "SucceedTask" || type == "RetryTask"; }

}  // namespace

void Task::OnRequest(std::string payload) {
  requests_.push_back(std::move(payload));
  if (!answering_) AnswerNext();
}

void Task::OnBrokenChannel() {
  if (end_ || expected_signal_ != 0) return;
  failure_ = "the task wrote something else than messages to file descriptor 0";
  io_.Log(
      lines_.Own(LogLines::kError,
                 "The task wrote something else than messages to file descriptor 0, its channel "
                 "to the supervisor. Terminating process"));
  Terminate(settings_.escalation);
}

void Task::AnswerNext() {
  if (in_answer_next_) return;  // the loop below goes on
  in_answer_next_ = true;
  while (!answering_ && !requests_.empty()) {
    const auto payload = std::move(requests_.front());
    requests_.pop_front();
    answering_ = true;
    Handle(payload);
  }
  in_answer_next_ = false;
  // Requests that were read before the process ended are worth their answers: a state
  // may be among them.
  if (!answering_) EndIfOver();
}

void Task::Handle(const std::string& payload) {
  std::int64_t id = -1;
  auto decoded = DecodeRequest(payload, &id);
  if (!decoded) {
    if (id < 0) {
      answering_ = false;
      return OnBrokenChannel();
    }
    spdlog::warn("unreadable request dispatch={} error=\"{}\"", spec_.dispatch_id,
                 decoded.error().message);
    return Answer(id, {"", ClientError(decoded.error().message, "ValueError")});
  }
  auto& request = *decoded;
  const auto& type = request.type;
  if (type == "MaskSecret") {
    const auto* value = request.Find("value");
    // Add() does not recurse: what is deep is a secret too.
    if (value != nullptr) masker_.Add(ParseTree(*value, SIZE_MAX), request.Text("name"));
    return Answer(id, {});
  }
  const bool since_34 = settings_.dialect >= Dialect::k34;
  if (since_34 && (type == "TaskState" || type == "RetryTask")) {
    HoldOutcome(std::move(request));
    return Answer(id, {});
  }
  if (since_34 && type == "SetExecutionTimeout") {
    ArmExecutionTimeout(request);
    return Answer(id, {});
  }
  if (type == "TaskState") {
    terminal_ = request.Text("state");
    told_at_ = clock_.Now();
    const auto* index = request.Find("rendered_map_index");
    rendered_map_index_ = index == nullptr ? "null" : *index;
    return Answer(id, {});
  }
  if (type == "ResendLoggingFD") {
    io_.SendLoggingChannel(id);
    answering_ = false;
    return;
  }
  const auto* route = FindRoute(type, settings_.dialect);
  if (route == nullptr) {
    io_.AskHelper(payload, [this, id](const std::string& frame) {
      if (frame.empty()) {
        return Answer(id,
                      {"", ErrorResponse("API_SERVER_ERROR",
                                         R"({"status_code":400,"message":"Unhandled request"})")});
      }
      if (!end_) io_.Write(frame);
      answering_ = false;
      AnswerNext();
    });
    return;
  }
  if (const auto why = WhyNotAsked(*route, request); !why.empty())
    return Answer(id, {"", ClientError(why, "ValueError")});
  if (const auto state = TerminalState(type); !state.empty()) {
    if (since_34) return TellOutcome(*route, state, std::move(request));
    return HandleTerminal(*route, std::move(request));
  }
  if (type == "TriggerDagRun") return HandleTrigger(*route, request);
  AskApi(*route, request);
}

void Task::HandleTerminal(const Route& route, TaskRequest request) {
  if (StartsOvertime(request.type)) told_at_ = clock_.Now();
  if (const auto* index = request.Find("rendered_map_index")) rendered_map_index_ = *index;
  auto call = MakeRequest(route, request, spec_.ti_id);
  untold_ = call;
  api_.Send(std::move(call), [this, &route, request](const ApiAnswer& answer) {
    if (answer.ok()) {
      untold_.reset();
      terminal_ = TerminalState(request.type);
    }
    Answer(request.id, MakeReply(route, request, answer));
  });
}

void Task::HandleTrigger(const Route& route, const TaskRequest& request) {
  auto call = MakeRequest(route, request, spec_.ti_id);
  const auto clear_path = call.path + "/clear";
  const auto* reset = request.Find("reset_dag_run");
  const bool resets = reset != nullptr && *reset == "true";
  api_.Send(std::move(call), [this, &route, request, clear_path, resets](const ApiAnswer& answer) {
    if (answer.status != 409 || !IsApiError(answer))
      return Answer(request.id, MakeReply(route, request, answer));
    if (!resets) return Answer(request.id, {ErrorResponse("DAGRUN_ALREADY_EXISTS", ""), ""});
    api_.Send({"POST", clear_path, "", request.trace},
              [this, &route, request](const ApiAnswer& cleared) {
                Answer(request.id, MakeReply(route, request, cleared));
              });
  });
}

void Task::AskApi(const Route& route, const TaskRequest& request) {
  api_.Send(MakeRequest(route, request, spec_.ti_id),
            [this, &route, request](const ApiAnswer& answer) {
              if (answer.ok()) MaskAnswer(request.type, answer.body);
              Answer(request.id, MakeReply(route, request, answer));
            });
}

// Before the task can log what it was told.
void Task::MaskAnswer(const std::string& type, const std::string& body) {
  if (type != "GetConnection" && type != "GetVariable") return;
  const auto answer = ParseTree(body, SIZE_MAX);
  JsonFields fields(answer, "");
  if (type == "GetConnection") {
    masker_.AddText(fields.Text("password"));
    masker_.AddText(fields.Text("extra"));
  } else {
    masker_.AddText(fields.Text("value"), fields.Text("key"));
  }
}

void Task::Answer(std::int64_t id, const Reply& reply) {
  auto frame = ResponseFrame(id, reply.body, reply.error);
  if (!frame) {
    frame = ResponseFrame(id, "", ClientError(frame.error().message, "ValueError"));
  }
  if (!end_ && frame) io_.Write(*frame);
  answering_ = false;
  AnswerNext();
}

}  // namespace zkexec
