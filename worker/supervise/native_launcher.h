// SPDX-License-Identifier: Apache-2.0
// NativeLauncher: the Launcher that supervises tasks itself, all of them from the owner's
// loop, and hands to the zygote, and so to Airflow's supervisor, what is not its to run.
//
//   Start ─▶ native? ──no──▶ the zygote runs it
//              └yes─▶ choose a warm process or the zygote ─▶ a child, idle or forked ─▶ Task
//
// Threads:  the owner's loop.
// Lifetime: borrows its seams; dies before the zygote.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/event_loop.h"
#include "worker/launcher.h"
#include "worker/observer.h"
#include "worker/supervise/execution_api.h"
#include "worker/supervise/memory.h"
#include "worker/supervise/native_run.h"
#include "worker/supervise/poller.h"
#include "worker/supervise/python_warm_process.h"
#include "worker/supervise/task_spec.h"
#include "worker/supervise/warm_processes.h"
#include "worker/zygote.h"

namespace zkexec {

class NativeLauncher : public Launcher, public ForkServer::Listener, public PollSource {
 public:
  struct Options {
    bool on = true;
    bool required = false;                 // configured: native, whatever the version
    std::string refusal;                   // why no task is native; empty: none
    std::set<std::string> foreign_queues;  // whose tasks are not Python's
    int idle_children = 1;                 // kept ready by each server in use
    SuperviseSettings settings;
    WarmProcesses::Options warm;
    PythonWarmProcess::Options process;

    // From the zygote's handshake.
    static Options Make(const nlohmann::json& handshake);
  };

  // Without `api` (null) no task is native, and the options say why.
  NativeLauncher(Options options, Zygote& zygote, ExecutionApi* api, EventLoop& loop,
                 const Clock& clock, Observer& observer);
  ~NativeLauncher() override;

  void SetListener(Launcher::Listener* listener);

  void Start(const std::string& dispatch_id, const std::string& workload) override;
  void Kill(const std::string& dispatch_id, Signal signal) override;

  void OnSpawned(int child, pid_t pid, int pidfd) override;
  void OnEnded(int child, const ProcessEnd& end) override;
  void OnForkFailed(int child, const std::string& why) override;
  void OnLost(ForkServer& server) override;

  Request Prepare() override;
  void Ready(short revents) override;

  // Of the running tasks, without those of Airflow's supervisor: the sum of what each had
  // when it was looked at last. Looks at one now and then: it takes the kernel a while.
  std::int64_t MeasureMemory();
  std::int64_t warm_memory_bytes() const { return warm_.memory_bytes(); }
  std::size_t warm_processes() const { return warm_.size(); }

 private:
  struct Child {
    ForkServer* server = nullptr;
    std::unique_ptr<TaskProcess> process;
    std::string run;  // its dispatch; empty: idle
    bool spawned = false;
    TimePoint assigned_at{};
    TimePoint replace_at = TimePoint::max();  // when another is forked ahead in its place
    std::int64_t memory = 0;
  };
  WarmProcesses::Parts WarmParts();
  // Makes a call for a run. What it throws is reported as the run's end.
  void Guard(const std::string& dispatch_id, const std::function<void()>& call);
  void StartNative(const std::string& dispatch_id, const std::string& workload);
  std::string WhyNotNative(const Result<TaskSpec>& spec) const;
  void ForkFor(const std::string& dispatch_id, ForkServer& server);
  int Fork(ForkServer& server, std::string* why);
  void KeepIdle(ForkServer& server);
  void Replace(Child& child);
  // Has another server fork for runs whose own does not.
  void ReplaceSilent();
  void Assign(int child, const std::string& dispatch_id);
  void OnChildExit(int child);
  void Remove(std::map<int, Child>::iterator child);
  void ReportLater(ExitReport report);

  const Options options_;
  Zygote& zygote_;
  ExecutionApi* const api_;
  EventLoop& loop_;
  const Clock& clock_;
  Observer& observer_;
  Launcher::Listener* listener_ = nullptr;
  Poller poller_;
  MeasuringPace pace_;
  WarmProcesses warm_;
  std::map<std::string, std::unique_ptr<NativeRun>> runs_;
  std::map<int, Child> children_;
  int next_child_ = 0;
  int measured_ = 0;                                    // the child that was looked at last
  std::vector<std::pair<TimePoint, int>> unexplained_;  // ended, but nobody said how
  std::vector<ExitReport> reports_;                     // for the next turn
  TimePoint next_tick_{};
};

}  // namespace zkexec
