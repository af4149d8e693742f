// SPDX-License-Identifier: Apache-2.0
// World: the real cores of executors and workers on a fake ZooKeeper and a fake clock,
// driven from a seed. One step: a message moves, a process works, time
// passes, somebody places something, or something breaks.
//
// Deterministic: the same seed gives the same history.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/seal.h"
#include "tests/sim/actors.h"
#include "tests/sim/history.h"

namespace zkexec::sim {

struct Plan {
  int steps = 700;
  int dispatches = 14;
  FakeCoordinator::Mutator* mutator = nullptr;  // breaks something on purpose
  std::string trace;                            // logs commits that touch such a path
  bool calm = false;                            // no faults, and one worker
};

class World {
 public:
  World(std::uint64_t seed, Plan plan);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Runs to the end. Empty, or the rule that was broken and how.
  std::string Run();
  const std::map<std::string, int>& faults() const { return faults_; }
  const History& history() const { return history_; }

 private:
  // world.cc
  void Step();
  void Move();
  void Pass(Duration time);
  void Tick(Worker& worker);
  void Tick(Scheduler& scheduler);
  void TakeEvents(Scheduler& scheduler);
  void PlaceOne();
  void Calm();
  void EndSilentSessions();
  void AddWorker(const std::string& host);
  Scheduler& AddScheduler();

  // faults.cc
  void Break();
  void CrashWorker(bool guarded);
  void StopWorker();
  void WakeWorker(Worker& worker);
  void CrashScheduler(bool zombie);
  void CutOff(FakeCoordinator& zk);
  void Outage();
  void LoseMessage();
  void RevokeOne();
  void CommandTwice();
  void PutGarbage();

  int Pick(int count) { return static_cast<int>(random_() % static_cast<std::uint64_t>(count)); }
  bool Chance(int percent) { return Pick(100) < percent; }
  Placement Make(const std::string& dispatch);
  std::vector<FakeCoordinator*> Clients();
  FakeCoordinator& AnyClient();

  Random random_;
  const Plan plan_;
  FakeServer server_;
  FakeClock clock_;
  const Layout layout_;
  const Sealer sealer_;
  History history_;
  std::map<std::string, MemoryJournal> journals_;  // by host: they outlive the workers
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<Scheduler>> schedulers_;
  struct Orphan {
    SessionId session;
    TimePoint heard;
  };
  std::vector<Orphan> orphans_;  // sessions of the dead that ZooKeeper still believes in
  std::map<std::string, int> faults_;
  int fault_percent_ = 0;
  int placed_ = 0;
  int named_ = 0;
  TimePoint last_fault_{};
};

}  // namespace zkexec::sim
