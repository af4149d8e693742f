// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace zkexec::sim {
namespace {

constexpr Duration kSessionTimeout{10000};
constexpr Duration kLease{8000};
constexpr int kPartitions = 3;

}  // namespace

void Processes::End(const std::string& id, const std::string& outcome) {
  running_.erase(id);
  ended_.push_back({id, outcome, outcome == "success" ? "" : "simulated"});
}

void Processes::Step() {
  if (running_.empty()) return;
  auto at = running_.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(random_() % running_.size()));
  const auto id = at->first;
  if (at->second.killed) {
    history_.Finished(id, "failed");
    return End(id, "failed");
  }
  if (!at->second.passed) {
    at->second.passed = true;
    auto& record = history_.records().at(id);
    if (record.task && !record.gate && random_() % 20 == 0) {
      record.token_refused = true;
      return End(id, "token");
    }
    if (!history_.PassGate(id)) End(id, "already_running");
    return;
  }
  if (random_() % 3 != 0) return;
  const std::string outcome = random_() % 8 == 0 ? "failed" : "success";
  history_.Finished(id, outcome);
  End(id, outcome);
}

World::World(std::uint64_t seed, Plan plan)
    : random_(seed),
      plan_(plan),
      layout_(*Layout::Make("/zk", "team")),
      sealer_(*Sealer::Make("a secret of some length")),
      history_(server_, layout_) {
  fault_percent_ = plan_.calm ? 0 : 2 + Pick(10);
  server_.on_commit = [this](const std::vector<Op>& ops, SessionId session) {
    const bool by_worker =
        std::any_of(workers_.begin(), workers_.end(),
                    [session](const auto& worker) { return worker->zk->session() == session; });
    history_.Committed(ops, by_worker, plan_.calm);
    for (const auto& op : ops) {
      if (plan_.trace.empty() || op.path.find(plan_.trace) == std::string::npos) continue;
      static constexpr const char* kKinds[] = {"create", "remove", "set", "check"};
      spdlog::debug("commit session={} {} {}", session, kKinds[static_cast<int>(op.kind)], op.path);
    }
  };
  const int workers = plan_.calm ? 1 : 1 + Pick(3);
  for (int i = 0; i < workers; ++i) AddWorker("host" + std::to_string(i));
  const int schedulers = plan_.calm ? 1 : 1 + Pick(2);
  for (int i = 0; i < schedulers; ++i) AddScheduler();
}

World::~World() {
  for (auto& worker : workers_) worker->agent.reset();
  for (auto& scheduler : schedulers_) scheduler->core.reset();
}

void World::AddWorker(const std::string& host) {
  auto worker = std::make_unique<Worker>();
  auto& one = *worker;
  one.host = host;
  one.name = host + "-" + std::to_string(++named_);
  one.zk = std::make_unique<FakeCoordinator>(server_, clock_);
  one.zk->SetLease(kLease);
  one.zk->SetMutator(plan_.mutator);
  one.processes = std::make_unique<Processes>(one.name, history_, random_);
  one.processes->session = [&one] { return one.zk->session(); };
  Agent::Options options;
  options.worker = one.name;
  options.queues = {"default"};
  options.slots = 1 + Pick(4);
  options.partitions = kPartitions;
  options.kill_grace = Duration{2000};
  one.agent = std::make_unique<Agent>(options, *one.zk, layout_, *one.processes, clock_, sealer_,
                                      one.observer, journals_[host]);
  workers_.push_back(std::move(worker));
  one.zk->Connect();
}

Scheduler& World::AddScheduler() {
  auto scheduler = std::make_unique<Scheduler>();
  auto& one = *scheduler;
  one.name = "job-" + std::to_string(++named_) + "-x";
  one.zk = std::make_unique<FakeCoordinator>(server_, clock_);
  one.zk->SetLease(kLease);
  one.zk->SetMutator(plan_.mutator);
  Core::Options options;
  options.scheduler = one.name;
  options.partitions = kPartitions;
  // Far too soon, to see that it does no harm.
  if (Chance(50)) options.sweep_after = Duration{1000};
  one.core =
      std::make_unique<Core>(options, *one.zk, layout_, clock_, sealer_,
                             [&one](Event event) { one.events.push_back(std::move(event)); });
  schedulers_.push_back(std::move(scheduler));
  one.zk->Connect();
  return one;
}

Placement World::Make(const std::string& dispatch) {
  const auto& record = history_.records().at(dispatch);
  return {dispatch,
          "default",
          record.task ? "task" : "callback",
          "bundle||dag" + std::to_string(record.priority) + ".py",
          1,
          record.priority,
          "{}",
          dispatch};
}

std::vector<FakeCoordinator*> World::Clients() {
  std::vector<FakeCoordinator*> clients;
  for (auto& worker : workers_) {
    if (!worker->stopped) clients.push_back(worker->zk.get());
  }
  for (auto& scheduler : schedulers_) clients.push_back(scheduler->zk.get());
  return clients;
}

FakeCoordinator& World::AnyClient() {
  const auto clients = Clients();
  return *clients[static_cast<std::size_t>(Pick(static_cast<int>(clients.size())))];
}

void World::Tick(Worker& worker) {
  if (worker.stopped) return;
  worker.processes->Deliver(*worker.agent);
  worker.agent->Tick();
}

void World::Tick(Scheduler& scheduler) {
  scheduler.core->Tick();
  if (!scheduler.dead_for_airflow) TakeEvents(scheduler);
}

// What the executor's Python side does with events.
void World::TakeEvents(Scheduler& scheduler) {
  const auto events = std::exchange(scheduler.events, {});
  std::vector<std::string> taken;
  for (const auto& event : events) {
    taken.push_back(event.dispatch_id);
    const auto& record = history_.records().at(event.dispatch_id);
    if (!scheduler.accepted.contains(event.dispatch_id)) continue;
    if (event.outcome == "token" && !record.revoked) {
      if (scheduler.placed.contains(event.dispatch_id)) continue;
      // The heir does not have the workload: Airflow makes another dispatch of the task.
      history_.Revoked(event.dispatch_id);
      history_.records().at(event.dispatch_id).orphaned = true;
    }
    if (event.outcome == "fenced" && scheduler.dead_for_airflow) continue;
    scheduler.accepted.erase(event.dispatch_id);
    history_.Ended(event.dispatch_id, event.outcome);
  }
  scheduler.core->Acknowledge(taken);
  for (const auto& event : events) {
    if (event.outcome == "token" && scheduler.accepted.contains(event.dispatch_id)) {
      scheduler.core->Place(Make(event.dispatch_id));
    }
  }
}

void World::PlaceOne() {
  if (placed_ >= plan_.dispatches) return;
  std::string id("d");
  id += std::to_string(++placed_);
  std::vector<Scheduler*> live;
  for (auto& scheduler : schedulers_) {
    if (!scheduler->dead_for_airflow) live.push_back(scheduler.get());
  }
  auto& scheduler = *live[static_cast<std::size_t>(Pick(static_cast<int>(live.size())))];
  history_.Accepted(id, Chance(75), Pick(3));
  scheduler.accepted.insert(id);
  scheduler.placed.insert(id);
  scheduler.core->Place(Make(id));
}

void World::EndSilentSessions() {
  const auto limit = clock_.Now() - kSessionTimeout;
  std::erase_if(orphans_, [&](const Orphan& orphan) {
    if (orphan.heard > limit) return false;
    server_.EndSession(orphan.session);
    return true;
  });
  // Nobody tells the client: it may believe in the session for as long as its lease says.
  for (auto* zk : server_.clients) {
    if (zk->session() != 0 && zk->heard() <= limit) server_.EndSession(zk->session());
  }
}

void World::Pass(Duration time) {
  clock_.Advance(time);
  for (auto* zk : Clients()) {
    if (zk->pending() > 0) continue;
    zk->Heard();  // a ping
    if (zk->session() != 0 && zk->state() == SessionState::kConnected &&
        !server_.Alive(zk->session())) {
      zk->Expire();
      zk->Connect();
    }
  }
  EndSilentSessions();
}

void World::Move() {
  auto& zk = AnyClient();
  if (Chance(15)) {
    zk.Process();
  } else {
    for (int i = Pick(6); i >= 0; --i) zk.Deliver();
  }
}

void World::Step() {
  const int what = Pick(100);
  if (what < 60) {
    Move();
  } else if (what < 70) {
    Pass(Duration{Pick(200)});
    for (auto& worker : workers_) Tick(*worker);
    for (auto& scheduler : schedulers_) Tick(*scheduler);
    const auto clients = Clients();
    if (std::all_of(clients.begin(), clients.end(),
                    [](const auto* zk) { return zk->pending() == 0; })) {
      history_.Beat();
    }
  } else if (what < 73) {
    Pass(Duration{Pick(3000)});
  } else if (what < 85) {
    auto& worker = *workers_[static_cast<std::size_t>(Pick(static_cast<int>(workers_.size())))];
    worker.processes->Step();
    if (Chance(50) && !worker.stopped) worker.processes->Deliver(*worker.agent);
  } else if (what < 92) {
    PlaceOne();
  } else if (Chance(fault_percent_)) {
    last_fault_ = clock_.Now();
    Break();
  }
}

// Everything that is broken is mended, and time passes until all has ended.
void World::Calm() {
  for (auto& worker : workers_) {
    if (worker->stopped) WakeWorker(*worker);
  }
  if (std::all_of(workers_.begin(), workers_.end(),
                  [](const auto& worker) { return worker->agent->draining(); })) {
    AddWorker("host0");
  }
  std::erase_if(schedulers_, [&](auto& scheduler) {
    if (!scheduler->dead_for_airflow) return false;
    orphans_.push_back({scheduler->zk->session(), clock_.Now()});
    return true;
  });
  while (placed_ < plan_.dispatches) PlaceOne();
  for (int round = 0; round < 1200 && history_.violation().empty(); ++round) {
    for (auto* zk : Clients()) {
      if (zk->state() != SessionState::kConnected) {
        zk->Connect();
      } else if (!server_.Alive(zk->session())) {
        zk->Expire();
      }
      zk->Settle();
    }
    Pass(Duration{100});
    history_.Beat();
    for (auto& worker : workers_) {
      for (int i = 0; i < 4; ++i) worker->processes->Step();
      Tick(*worker);
      worker->zk->Settle();
    }
    for (auto& scheduler : schedulers_) {
      scheduler->zk->Settle();
      Tick(*scheduler);
      scheduler->zk->Settle();
    }
    // What is left to do after the last event: acknowledgements.
    if (round > 150 && round % 50 == 0 && history_.AllEnded()) break;
  }
}

std::string World::Run() {
  for (int step = 0; step < plan_.steps && history_.violation().empty(); ++step) Step();
  Calm();
  history_.ExpectAllEnded();
  for (const auto& worker : workers_) {
    spdlog::debug("at the end worker={} ready={} draining={} runs={} slots_used={}", worker->name,
                  worker->agent->ready(), worker->agent->draining(), worker->agent->running(),
                  worker->agent->slots_used());
  }
  return history_.violation();
}

}  // namespace zkexec::sim
