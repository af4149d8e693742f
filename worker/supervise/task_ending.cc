// SPDX-License-Identifier: Apache-2.0
// How a task ends: what its log says, what the API server is told, what is reported.
#include <csignal>
#include <cstring>
#include <utility>

#include "common/log.h"
#include "worker/supervise/task.h"
#include "worker/supervise/time_text.h"

namespace zkexec {
namespace {

constexpr char kSignalHelp[] =
    " For more information, see https://airflow.apache.org/docs/apache-airflow/stable/"
    "troubleshooting.html#process-terminated-by-signal.";

std::string SignalName(int number) {
  const char* name = sigabbrev_np(number);
  return name == nullptr ? "signal " + std::to_string(number) : std::string("SIG") + name;
}

}  // namespace

void Task::OnExit(const ProcessEnd& end) {
  if (end_) return;
  end_ = end;
  exited_at_ = clock_.Now();
  LogExit();
  if (starting_) api_.GiveUp();
  EndIfOver();
}

void Task::OnStreamsClosed() {
  streams_closed_ = true;
  EndIfOver();
}

void Task::LogExit() {
  const int code = end_->code;
  if (refusal_) return;
  if (expected_signal_ == 0 || code != -expected_signal_) {
    if (code == -SIGSEGV) {
      io_.Log(lines_.Own(LogLines::kCritical, settings_.segfault_message));
    } else if (code < 0) {
      const bool killed = code == -SIGKILL;
      std::string message = "Process terminated by signal.";
      if (killed) message += " Likely out of memory error (OOM).";
      message += kSignalHelp;
      const auto level = killed ? LogLines::kCritical : LogLines::kError;
      const auto name = JsonString(SignalName(-code));
      if (killed && end_->peak_kb > 0) {
        io_.Log(lines_.Own(level, message,
                           {{"signal", std::to_string(code)},
                            {"signal_name", name},
                            {"peak_memory_mb", std::to_string(end_->peak_kb / 1024)}}));
      } else {
        io_.Log(
            lines_.Own(level, message, {{"signal", std::to_string(code)}, {"signal_name", name}}));
      }
    } else if (code > 0) {
      io_.Log(lines_.Own(LogLines::kWarning, "Process exited abnormally",
                         {{"exit_code", std::to_string(code)}}));
    }
  }
  if (server_stopped_) io_.Log(lines_.Own(LogLines::kError, "Task killed!"));
}

// The process has ended, its streams are read, its requests answered, and the API server
// has said whether it ran at all.
void Task::EndIfOver() {
  if (!end_ || !streams_closed_ || answering_ || !requests_.empty() || starting_ || ending_) return;
  ending_ = true;
  SendFinalState();
}

void Task::SendFinalState() {
  const auto told = [this](const ApiAnswer& answer) { OnFinalState(answer); };
  if (refusal_ || !started_) return Finish();
  if (settings_.dialect >= Dialect::k34) return SendOutcome();
  if (untold_) {
    return api_.Send(*untold_, [this](const ApiAnswer& answer) {
      if (!answer.ok())
        spdlog::error("the task's state was refused twice dispatch={} status={} error=\"{}\"",
                      spec_.dispatch_id, answer.status, answer.failure);
      Finish();
    });
  }
  std::string state;
  if (end_->code == 0) {
    if (terminal_ == "failed" || terminal_ == "skipped" || terminal_ == "removed")
      state = terminal_;
  } else if (!server_stopped_ && !should_retry_) {
    // A success that the API server has taken stands, whatever came after.
    if (terminal_.empty() || terminal_ == "failed" || terminal_ == "skipped" ||
        terminal_ == "removed")
      state = "failed";
  }
  if (state.empty()) return Finish();
  ApiRequest request{"PATCH", "task-instances/" + spec_.ti_id + "/state", "", {}};
  request.body = "{\"state\":" + JsonString(state) +
                 ",\"end_date\":" + JsonString(IsoTime(clock_.UnixUs())) +
                 ",\"rendered_map_index\":" + rendered_map_index_ + "}";
  api_.Send(std::move(request), told);
}

void Task::OnFinalState(const ApiAnswer& answer) {
  if (!answer.ok() && failure_.empty()) {
    failure_ = "the task's final state could not be told: " +
               (answer.status == 0 ? answer.failure : "status " + std::to_string(answer.status));
    spdlog::error("final state refused dispatch={} status={} error=\"{}\"", spec_.dispatch_id,
                  answer.status, answer.failure);
    SayUnreachable(answer);
  }
  Finish();
}

void Task::Finish() {
  if (!settings_.remote_logs || spec_.log_path.empty()) return io_.Done(Report());
  io_.UploadLog([this] { io_.Done(Report()); });
}

ExitReport Task::Report() const {
  if (refusal_) return *refusal_;
  ExitReport report{spec_.dispatch_id, "failed", failure_};
  if (!failure_.empty()) return report;
  const int code = end_->code;
  if (code == 0) {
    report.outcome = "success";
  } else if (code < 0) {
    report.info = "the task process was killed by " + SignalName(-code);
    if (code == -SIGKILL && !killed_by_us_ && expected_signal_ == 0) {
      report.info += ", probably out of memory";
      if (end_->peak_kb > 0) {
        report.info += " (its peak was " + std::to_string(end_->peak_kb / 1024) + " MB)";
      }
    }
  } else {
    report.info = "the task process exited with code " + std::to_string(code);
  }
  return report;
}

}  // namespace zkexec
