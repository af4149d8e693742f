// SPDX-License-Identifier: Apache-2.0
// The actors of a simulated world: workers with their processes, and schedulers.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "executor/core.h"
#include "tests/fakes/fake_coordinator.h"
#include "tests/fakes/memory_journal.h"
#include "tests/sim/history.h"
#include "worker/agent.h"

namespace zkexec::sim {

using Random = std::mt19937_64;

// The processes of one worker. They go on while the worker itself is stopped.
class Processes : public Launcher {
 public:
  Processes(std::string worker, History& history, Random& random)
      : worker_(std::move(worker)), history_(history), random_(random) {}

  void Start(const std::string& id, const std::string&) override {
    history_.Started(id, worker_, session ? session() : 0);
    running_[id] = {};
  }
  void Kill(const std::string& id, Signal signal) override {
    const auto found = running_.find(id);
    if (found == running_.end()) return;
    found->second.killed = true;
    if (signal == Signal::kKill && !draining) history_.KilledAsLost(id, worker_);
  }
  // One process takes one step.
  void Step();
  // Reports that the worker has not heard yet.
  void Deliver(Launcher::Listener& listener) {
    auto due = std::exchange(ended_, {});
    for (const auto& report : due) listener.OnExit(report);
  }
  bool empty() const { return running_.empty(); }

  std::function<SessionId()> session;
  bool draining = false;

 private:
  struct Process {
    bool passed = false;
    bool killed = false;
  };
  void End(const std::string& id, const std::string& outcome);

  const std::string worker_;
  History& history_;
  Random& random_;
  std::map<std::string, Process> running_;
  std::vector<ExitReport> ended_;
};

struct Worker {
  std::string name;
  std::string host;
  std::unique_ptr<FakeCoordinator> zk;
  std::unique_ptr<Processes> processes;
  Observer observer;
  std::unique_ptr<Agent> agent;
  bool stopped = false;  // SIGSTOP
};

struct Scheduler {
  std::string name;
  std::unique_ptr<FakeCoordinator> zk;
  std::vector<Event> events;  // its process has them; Airflow does not yet
  std::unique_ptr<Core> core;
  std::set<std::string> accepted;  // what Airflow thinks is its business
  std::set<std::string> revoked;
  std::set<std::string> placed;   // by itself: it has their workloads
  bool dead_for_airflow = false;  // but its process may still be there
};

}  // namespace zkexec::sim
