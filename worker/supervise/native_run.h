// SPDX-License-Identifier: Apache-2.0
// NativeRun: one dispatch under native supervision: its task, the task's process and log,
// and a helper if it needs one. What connects them, and no decisions.
//
// All that is called on behalf of the run goes through its fence: an exception, which is a fault of
// the worker's, kills the task's process and is reported as the end of this run. Others go on.
//
// Threads: the owner's loop. Lifetime: borrows its seams; the child is lent by the launcher.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "worker/observer.h"
#include "worker/supervise/helper.h"
#include "worker/supervise/run_fence.h"
#include "worker/supervise/task.h"
#include "worker/supervise/task_log.h"
#include "worker/supervise/task_process.h"
#include "worker/zygote.h"

namespace zkexec {

class NativeRun : public Task::Io, public TaskProcess::Listener {
 public:
  using Over = std::function<void(const ExitReport& report)>;

  NativeRun(TaskSpec spec, const SuperviseSettings& settings, ExecutionApi& api, Zygote& zygote,
            Poller& poller, const Clock& clock, Observer& observer, std::uint64_t seed, Over over);
  ~NativeRun() override;

  // Errors: kUnavailable: its log can't be opened.
  Status OpenLog() { return log_.Open(settings_, task_.spec().log_path); }
  // The child is this run's from now on, and begins.
  void Begin(TaskProcess* process);
  void OnExit(const ProcessEnd& end);
  void Kill(Launcher::Signal signal);
  void Tick();
  // When Tick() has something to do at the latest.
  TimePoint due() const { return fence_.down() ? TimePoint::max() : task_.due(); }
  // The turn is over: what was logged in it is written.
  void Flush();

  bool begun() const { return process_ != nullptr; }
  bool kill_asked() const { return kill_asked_; }
  bool over() const { return over_told_; }

  void Guard(const std::function<void()>& call) override { fence_.Run(call); }
  void OnRequest(std::string payload) override { task_.OnRequest(std::move(payload)); }
  void OnBrokenChannel() override { task_.OnBrokenChannel(); }
  void OnLogEvent(std::string_view line) override { task_.OnLogEvent(line); }
  void OnText(std::string_view line, bool is_error) override { task_.OnText(line, is_error); }
  void OnStreamsClosed() override { task_.OnStreamsClosed(); }

  void Write(const std::string& frame) override;
  void SendLoggingChannel(std::int64_t id) override;
  void Signal(int number, bool whole_group) override;
  void Log(const std::string& lines) override;
  void AskHelper(const std::string& payload, std::function<void(std::string frame)> done) override;
  void UploadLog(std::function<void()> done) override;
  void CloseStreams() override;
  void Done(const ExitReport& report) override;

 private:
  void OnFault(const std::string& why);
  void TellFault();

  const SuperviseSettings& settings_;
  Zygote& zygote_;
  Poller& poller_;
  Observer& observer_;
  const Over over_;
  RunFence fence_;
  FencedApi api_;
  std::string fault_;    // why the fence is down
  bool exited_ = false;  // the process
  bool over_told_ = false;
  bool kill_asked_ = false;
  TaskLog log_;
  std::string unwritten_;
  TaskProcess* process_ = nullptr;
  std::unique_ptr<Helper> helper_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Task task_;
};

}  // namespace zkexec
