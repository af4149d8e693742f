// SPDX-License-Identifier: Apache-2.0
// The agent's life: sessions, its own node, drain.
#include "worker/agent.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/tree.h"
#include "worker/plain_text.h"

namespace zkexec {
namespace {

constexpr Duration kBeginAgain{1000};
// What a change in a larger fleet means for our share we learn within a minute: until then
// idle workers steal what lies with the wrong one.
constexpr std::size_t kWatchedWorkersMax = 100;

}  // namespace

Agent::Agent(Options options, Coordinator& zk, const Layout& layout, Launcher& launcher,
             const Clock& clock, const Sealer& sealer, Observer& observer, Journal& journal)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      launcher_(launcher),
      clock_(clock),
      sealer_(sealer),
      observer_(observer),
      journal_(journal),
      guid_(RandomHex()),
      started_unix_ms_(clock.UnixMs()),
      controls_{options_.slots, options_.queues, "", ""},
      fleet_(zk, layout, strangers_, {}, {kWatchedWorkersMax, [this] { return Guess(); }}),
      lookout_({options_.worker, options_.relist_interval, StableHash(options_.worker)}, zk, layout,
               clock, fleet_,
               {[this] { Claim(); },
                [this](const Backlog::Item& item) {
                  Refuse(item, "unreadable", "its name is not an entry's");
                }}) {
  zk_.SetListener(this);
}

Agent::~Agent() { zk_.SetListener(nullptr); }

int Agent::slots_used() const {
  int used = 0;
  for (const auto& [id, run] : runs_) {
    if (run.state != State::kFinishing) used += run.slots;
  }
  return used;
}

int Agent::CountRuns(State state) const {
  return static_cast<int>(std::count_if(
      runs_.begin(), runs_.end(), [state](const auto& one) { return one.second.state == state; }));
}

proto::Worker Agent::Self(const Controls& controls) const {
  proto::Worker self;
  self.set_name(options_.worker);
  self.set_host(options_.host);
  self.set_pid(options_.pid);
  self.set_state(draining_ ? "draining" : controls.pause.empty() ? "active" : controls.pause);
  self.set_comment(controls.comment);
  for (const auto& queue : controls.queues) self.add_queues(queue);
  self.set_slots(static_cast<std::uint32_t>(controls.slots));
  self.set_version(options_.version);
  self.set_http_port(static_cast<std::uint32_t>(options_.http_port));
  self.set_started_unix_ms(started_unix_ms_);
  self.set_protocol_version(kProtocolVersion);
  return self;
}

proto::Worker Agent::Guess() const {
  proto::Worker worker;
  worker.set_state("active");
  for (const auto& queue : options_.queues) worker.add_queues(queue);
  worker.set_slots(static_cast<std::uint32_t>(options_.slots));
  return worker;
}

void Agent::OnSession(SessionState state) {
  if (state == SessionState::kConnected) {
    if (!ready_) Begin();
    return;
  }
  if (state != SessionState::kExpired && state != SessionState::kAuthFailed) return;
  spdlog::warn("session ended; runs go on state={} runs={}", ToString(state), runs_.size());
  ready_ = false;
  StopObeying();
  stray_claims_.clear();  // they went with the session
  lookout_.Stop();
  for (auto& [id, run] : runs_) {
    run.claim.clear();
    run.unsure = true;
  }
}

void Agent::Fail(const Error& error) {
  beginning_ = false;
  begin_again_at_ = clock_.Now() + kBeginAgain;
  if (last_error_ != error.message) {
    spdlog::error("worker cannot use ZooKeeper error=\"{}\"", error.message);
  }
  last_error_ = error.message;
}

void Agent::Begin() {
  if (beginning_) return;
  beginning_ = true;
  EnsureTree(zk_, layout_, options_.partitions, [this](Result<int> tree) {
    if (!tree) return Fail(tree.error());
    const int partitions = *tree;
    EnsureNodes(zk_, {layout_.Control(options_.worker)}, [this, partitions](Status made) {
      if (!made) return Fail(made.error());
      const auto queues = controls_.queues;
      if (queues.empty()) return Register(partitions);
      const auto left = std::make_shared<std::size_t>(queues.size());
      for (const auto& name : queues) {
        EnsureQueue(zk_, layout_, name, partitions, [this, partitions, left](Status queue) {
          if (!queue) return Fail(queue.error());
          if (--*left == 0) Register(partitions);
        });
      }
    });
  });
}

void Agent::Register(int partitions) {
  // The check: a sweeper may take us for dead until our node is there.
  zk_.Multi({Op::Check(layout_.Control(options_.worker)),
             Op::Create(layout_.Worker(options_.worker), Self().SerializeAsString(),
                        NodeMode::kEphemeral)},
            [this, partitions](Result<std::vector<OpResult>> created) {
              // Ours of a moment ago, whose reply was lost: names are unique to an incarnation.
              if (!created && created.error().code != ErrorCode::kAlreadyExists) {
                return Fail(created.error());
              }
              OnRegistered(partitions);
              // It may hold what we were before a drain that began meanwhile.
              if (!created || draining_) UpdateNode();
            });
}

void Agent::OnRegistered(int partitions) {
  beginning_ = false;
  ready_ = true;
  last_error_.clear();
  spdlog::info("registered worker={} root={} slots={} queues={}", options_.worker, layout_.base(),
               controls_.slots, controls_.queues.size());
  TakeOverJournal();
  ExamineDue();
  fleet_.Start(partitions);
  ListControl();
  lookout_.Start(partitions, controls_.queues);
  next_refresh_ = clock_.Now() + options_.relist_interval;
  Claim();
}

// Results that an earlier incarnation on this host could not bring to ZooKeeper any more.
void Agent::TakeOverJournal() {
  if (std::exchange(journal_read_, true)) return;
  for (auto& record : journal_.TakeOver()) {
    spdlog::info("result of an earlier worker found in the journal dispatch={} worker={}",
                 record.dispatch_id, record.worker);
    Run run;
    run.state = State::kFinishing;
    run.unsure = true;
    run.kept = true;
    run.queue = record.queue;
    run.partition = record.partition;
    run.holder = record.worker;
    run.entry.set_dispatch_id(record.dispatch_id);
    run.entry.set_scheduler(record.scheduler);
    run.report = {record.dispatch_id, record.outcome, PlainText(record.info, kInfoBytesMax)};
    runs_.emplace(record.dispatch_id, std::move(run));
  }
}

void Agent::OnChanged(const std::string& path) {
  if (!ready_) return;
  if (fleet_.OnChanged(path)) {
    fleet_.Tick(clock_.Now());
  } else if (path == layout_.Control(options_.worker)) {
    ListControl();
  } else if (lookout_.OnChanged(path)) {
    lookout_.Look(Free());
  }
}

void Agent::Tick() {
  const auto now = clock_.Now();
  EscalateKills();
  if (draining_ && !ending_ && now >= drain_until_) {
    ending_ = true;
    if (!runs_.empty()) {
      spdlog::warn("drain time is over; ending tasks runs={}", runs_.size());
    }
    std::vector<std::string> ids;
    for (const auto& [id, run] : runs_) ids.push_back(id);
    for (const auto& id : ids) Kill(id, Launcher::Signal::kTerminate, "drain");
  }
  if (!ready_) {
    if (zk_.state() == SessionState::kConnected && now >= begin_again_at_) Begin();
    return;
  }
  if (now >= next_refresh_) {
    next_refresh_ = now + options_.relist_interval;
    fleet_.Refresh();
    ListControl();
    RemoveStrayClaims();
  }
  fleet_.Tick(now);
  ExamineDue();
  FinishDue();
  MarkDue();
  StartDue();
  Claim();
}

void Agent::Drain() {
  if (draining_) {
    drain_until_ = clock_.Now();
    return;
  }
  draining_ = true;
  drain_until_ = clock_.Now() + options_.drain_timeout;
  spdlog::info("draining: no more claims runs={} timeout_s={}", runs_.size(),
               options_.drain_timeout.count() / 1000);
  UpdateNode();
}

void Agent::UpdateNode() {
  if (!ready_) return;
  zk_.Multi({Op::Set(layout_.Worker(options_.worker), Self().SerializeAsString())},
            [](Result<std::vector<OpResult>> written) {
              // Session lost or closing: the node is gone, and nobody places here any more.
              if (!written && written.error().code == ErrorCode::kInternal) {
                spdlog::warn("cannot tell my state error=\"{}\"", written.error().message);
              }
            });
}

}  // namespace zkexec
