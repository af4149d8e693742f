// SPDX-License-Identifier: Apache-2.0
// What can break in a simulated world.
#include <algorithm>
#include <utility>

#include "tests/sim/world.h"

namespace zkexec::sim {

void World::Break() {
  const std::pair<const char*, std::function<void()>> kinds[] = {
      {"worker killed", [this] { CrashWorker(true); }},
      {"worker's host gone", [this] { CrashWorker(false); }},
      {"worker stopped", [this] { StopWorker(); }},
      {"scheduler killed", [this] { CrashScheduler(false); }},
      {"scheduler taken for dead", [this] { CrashScheduler(true); }},
      {"connection lost", [this] { CutOff(AnyClient()); }},
      {"session expired",
       [this] {
         auto& zk = AnyClient();
         zk.Expire();
         if (Chance(70)) zk.Connect();
       }},
      {"ZooKeeper away", [this] { Outage(); }},
      {"message lost", [this] { LoseMessage(); }},
      {"message lost", [this] { LoseMessage(); }},
      {"message lost", [this] { LoseMessage(); }},
      {"revoked", [this] { RevokeOne(); }},
      {"command twice", [this] { CommandTwice(); }},
      {"garbage", [this] { PutGarbage(); }},
      {"worker drained",
       [this] {
         auto& worker =
             *workers_[static_cast<std::size_t>(Pick(static_cast<int>(workers_.size())))];
         if (worker.stopped || workers_.size() < 2 || worker.agent->draining()) return;
         worker.agent->Drain();
         worker.processes->draining = true;
         AddWorker("host" + std::to_string(Pick(3)));
       }},
      {"worker added",
       [this] {
         if (workers_.size() < 5) AddWorker("host" + std::to_string(Pick(3)));
       }},
  };
  const auto& [name, fault] = kinds[static_cast<std::size_t>(Pick(std::size(kinds)))];
  ++faults_[name];
  fault();
}

void World::CrashWorker(bool guarded) {
  const auto at = workers_.begin() + Pick(static_cast<int>(workers_.size()));
  auto& worker = **at;
  const auto session = worker.zk->session();
  const auto heard = worker.zk->heard();
  const auto name = worker.name;
  const auto host = worker.host;
  // Its requests may have reached the server, or may not.
  for (int i = Pick(4); i > 0; --i) worker.zk->Process();
  worker.agent.reset();
  workers_.erase(at);
  if (guarded) {
    for (const auto& command : server_.Names(layout_.Control(name))) {
      server_.Erase(layout_.Control(name) + "/" + command);
    }
    if (server_.Has(layout_.Control(name))) server_.Erase(layout_.Control(name));
    server_.EndSession(session);
  } else {
    orphans_.push_back({session, heard});
  }
  if (Chance(80) || workers_.empty()) AddWorker(Chance(60) ? host : "host9");
}

void World::StopWorker() {
  auto& worker = *workers_[static_cast<std::size_t>(Pick(static_cast<int>(workers_.size())))];
  if (worker.stopped) return WakeWorker(worker);
  // What it has asked for is done, and it does not hear of it.
  for (int i = Pick(6); i > 0; --i) worker.zk->Process();
  worker.stopped = true;
  if (workers_.size() > 1 && Chance(50)) return;
  // For longer than its session lives, while the others go on; then it believes that no time
  // has passed.
  for (int i = 0; i < 3; ++i) {
    Pass(Duration{4000});
    for (auto* zk : Clients()) zk->Settle();
    for (auto& scheduler : schedulers_) Tick(*scheduler);
  }
  WakeWorker(worker);
}

void World::WakeWorker(Worker& worker) {
  worker.stopped = false;
  // It goes on as if no time had passed, before the client sees what has become of its session.
  for (int i = Pick(5); i > 0; --i) {
    if (Chance(50)) worker.zk->Deliver();
    if (Chance(50)) Tick(worker);
  }
  if (!server_.Alive(worker.zk->session())) {
    worker.zk->Expire();
    worker.zk->Connect();
  }
}

void World::CrashScheduler(bool zombie) {
  std::vector<std::size_t> live;
  for (std::size_t i = 0; i < schedulers_.size(); ++i) {
    if (!schedulers_[i]->dead_for_airflow) live.push_back(i);
  }
  const auto at = live[static_cast<std::size_t>(Pick(static_cast<int>(live.size())))];
  // What was never connected was never given anything to place.
  if (!server_.Has(layout_.Producer(schedulers_[at]->name))) return;
  // A zombie's process is still there, and what it has under way arrives some time.
  auto& heir = AddScheduler();
  auto& dead = *schedulers_[at];
  heir.core->Fence(dead.name);
  for (const auto& id : dead.accepted) {
    heir.accepted.insert(id);
    heir.core->Adopt(id, "default");
  }
  for (const auto& id : dead.revoked) history_.records().at(id).orphaned = true;
  dead.accepted.clear();
  dead.dead_for_airflow = true;
  if (zombie) return;
  for (int i = Pick(4); i > 0; --i) dead.zk->Process();
  orphans_.push_back({dead.zk->session(), dead.zk->heard()});
  schedulers_.erase(schedulers_.begin() + static_cast<std::ptrdiff_t>(at));
}

void World::CutOff(FakeCoordinator& zk) {
  for (int i = Pick(4); i > 0; --i) zk.Process();
  zk.Disconnect();
  if (Chance(60)) zk.Connect();
}

// All are cut off; no session ends while no server counts the time.
void World::Outage() {
  for (auto* zk : Clients()) {
    for (int i = Pick(3); i > 0; --i) zk->Process();
    zk->Disconnect();
  }
  for (int i = 0; i < 20; ++i) {
    clock_.Advance(Duration{Pick(4000)});
    for (auto& worker : workers_) {
      worker->processes->Step();
      Tick(*worker);
    }
    for (auto& scheduler : schedulers_) Tick(*scheduler);
    for (auto* zk : Clients()) zk->Deliver();
  }
  for (auto& orphan : orphans_) orphan.heard = clock_.Now();
  for (auto* zk : Clients()) zk->Connect();
}

void World::LoseMessage() {
  auto& zk = AnyClient();
  if (Chance(50)) {
    zk.LoseNextReply();
  } else {
    zk.LoseNextRequest();
  }
}

void World::RevokeOne() {
  for (auto& scheduler : schedulers_) {
    if (scheduler->dead_for_airflow || scheduler->accepted.empty()) continue;
    auto at = scheduler->accepted.begin();
    std::advance(at, Pick(static_cast<int>(scheduler->accepted.size())));
    const auto id = *at;
    scheduler->accepted.erase(at);
    scheduler->revoked.insert(id);
    history_.Revoked(id);
    scheduler->core->Revoke(id);
    return;
  }
}

void World::CommandTwice() {
  for (const auto& [id, record] : history_.records()) {
    if (!record.revoked) continue;
    for (const auto& worker : workers_) {
      const auto path = layout_.KillNode(worker->name, id);
      if (server_.Has(layout_.Control(worker->name))) server_.Put(path, "");
    }
  }
}

void World::PutGarbage() {
  const auto partition = Pick(3);
  if (!server_.Has(layout_.Partition("default", partition))) return;
  switch (Pick(4)) {
    case 0: server_.Put(layout_.Partition("default", partition) + "/lock-0000000001", "x"); break;
    case 1:
      server_.Put(layout_.Partition("default", partition) + "/" +
                      EntryName{2, clock_.UnixMs(), "garbage"}.Encode(),
                  "\xff not an entry");
      break;
    case 2: server_.Put(layout_.RunningPartition("default", partition) + "/stranger", ""); break;
    default: server_.Put(layout_.Workers() + "/stranger", "\xff\xfe"); break;
  }
}

}  // namespace zkexec::sim
