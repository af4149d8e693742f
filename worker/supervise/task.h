// SPDX-License-Identifier: Apache-2.0
// Task: the supervision of one task process: what Airflow's ActivitySubprocess decides.
//
//   Begin ─run accepted─▶ running ─exit, streams closed─▶ ending ─API, logs─▶ done
//     └─refused─▶ killed ─exit─▶ done
//
// Requests of the task are answered one at a time, in their order: a forked child of the
// task may share its channel.
//
// Files: task.cc start, heartbeats, kills; task_requests.cc messages; task_ending.cc the end.
//
// Pure: all that touches the world goes through Io. Threads: the owner's loop.
// Lifetime: borrows its seams. Nothing is called after Io::Done().
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "common/clock.h"
#include "worker/fork_server.h"
#include "worker/launcher.h"
#include "worker/supervise/api_session.h"
#include "worker/supervise/log_lines.h"
#include "worker/supervise/masker.h"
#include "worker/supervise/routes.h"
#include "worker/supervise/task_spec.h"
#include "worker/supervise/wire.h"

namespace zkexec {

class Task {
 public:
  class Io {
   public:
    virtual ~Io() = default;
    virtual void Write(const std::string& frame) = 0;
    // Answers request `id` with a new channel for log events.
    virtual void SendLoggingChannel(std::int64_t id) = 0;
    virtual void Signal(int number, bool whole_group) = 0;
    virtual void Log(const std::string& lines) = 0;
    // Lets Airflow's own handlers answer; `done` gets the whole response frame, or nothing
    // if there is no helper. From within it OnRequest() may follow.
    virtual void AskHelper(const std::string& payload,
                           std::function<void(std::string frame)> done) = 0;
    // The log file is complete: bring it where remote logs are.
    virtual void UploadLog(std::function<void()> done) = 0;
    // Stop reading the task's streams.
    virtual void CloseStreams() = 0;
    // Last call. The task may be destroyed after it returned.
    virtual void Done(const ExitReport& report) = 0;
  };

  Task(TaskSpec spec, const SuperviseSettings& settings, ExecutionApi& api, const Clock& clock,
       Io& io, std::uint64_t seed);

  // The process is there and waits. Tells the API server, then the process.
  void Begin(pid_t pid);
  // One payload from the task's fd 0.
  void OnRequest(std::string payload);
  // The channel is out of step: what is read from it means nothing any more.
  void OnBrokenChannel();
  // One line, without its end, from the channel of log events.
  void OnLogEvent(std::string_view line) { io_.Log(lines_.FromEvent(line)); }
  void OnText(std::string_view line, bool is_error);
  void OnExit(const ProcessEnd& end);
  // Every stream of the task is at its end.
  void OnStreamsClosed();
  void Tick();
  // When Tick() has something to do at the latest.
  TimePoint due() const;

  void Kill(Launcher::Signal signal);
  // The supervisor itself has failed: the log says so. Nothing else may be called after it.
  void LogFault(const std::string& why) { io_.Log(lines_.Own(LogLines::kCritical, why)); }

  const TaskSpec& spec() const { return spec_; }
  const std::string& token() const { return api_.token(); }
  Masker& masker() { return masker_; }
  bool exited() const { return end_.has_value(); }

 private:
  // task.cc
  void OnStartAnswer(const ApiAnswer& answer);
  void Refuse(const ApiAnswer& answer);
  void HeartbeatIfDue();
  void OnHeartbeatAnswer(const ApiAnswer& answer);
  void Terminate(Duration escalation);
  bool MayBeat() const;

  // task_requests.cc
  void AnswerNext();
  void Handle(const std::string& payload);
  void HandleTerminal(const Route& route, TaskRequest request);
  void HandleTrigger(const Route& route, const TaskRequest& request);
  void AskApi(const Route& route, const TaskRequest& request);
  void MaskAnswer(const std::string& type, const std::string& body);
  void Answer(std::int64_t id, const Reply& reply);

  // task_outcome.cc: since Airflow 3.4
  bool Stopped() const;
  void HoldOutcome(TaskRequest request);
  void TellOutcome(const Route& route, std::string_view state, TaskRequest request);
  void DiscardOutcome();
  void StopOutcome();
  bool IsCleared(const ApiAnswer& answer) const;
  void EndCleared();
  void ArmExecutionTimeout(const TaskRequest& request);
  void EndOverrun();
  void SendOutcome();
  void Acknowledge();
  ApiRequest StateRequest(const std::string& state, const std::string& date,
                          const std::string& more) const;
  void SayUnreachable(const ApiAnswer& answer);

  // task_ending.cc
  void EndIfOver();
  void LogExit();
  void SendFinalState();
  void OnFinalState(const ApiAnswer& answer);
  void Finish();
  ExitReport Report() const;

  const TaskSpec spec_;
  const SuperviseSettings& settings_;
  const Clock& clock_;
  Io& io_;
  ApiSession api_;
  Masker masker_;
  const LogLines lines_;

  pid_t pid_ = 0;
  bool starting_ = false;  // the API server has not answered yet
  bool started_ = false;   // it said yes
  bool should_retry_ = false;
  bool killed_by_us_ = false;
  std::optional<ExitReport> refusal_;  // why it never ran
  std::string failure_;                // of the final state; the report's info

  std::deque<std::string> requests_;
  bool answering_ = false;
  bool in_answer_next_ = false;

  std::string terminal_;                     // the state that the task told; empty: none
  std::optional<ApiRequest> untold_;         // a terminal state that the API server did not take
  bool telling_ = false;                     // that state is on its way
  std::optional<TaskRequest> held_;          // an outcome that is told when the process has ended
  std::string rendered_map_index_ = "null";  // JSON
  TimePoint told_at_{};                      // of the terminal state; epoch: none

  TimePoint overrun_at_ = TimePoint::max();  // when execution_timeout is enforced
  std::string execution_timeout_;            // JSON

  TimePoint next_heartbeat_ = TimePoint::max();
  bool beating_ = false;
  int failed_heartbeats_ = 0;
  bool server_stopped_ = false;

  int expected_signal_ = 0;
  TimePoint escalate_at_ = TimePoint::max();
  std::optional<ProcessEnd> end_;
  TimePoint exited_at_{};
  bool streams_closed_ = false;
  bool ending_ = false;
};

}  // namespace zkexec
