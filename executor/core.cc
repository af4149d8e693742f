// SPDX-License-Identifier: Apache-2.0
#include "executor/core.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/proto/zkexec.pb.h"
#include "common/tree.h"

namespace zkexec {
namespace {

constexpr Duration kBeginAgain{1000};
// There are few schedulers, and each wants to know the live slots.
constexpr std::size_t kWatchedWorkersMax = 10000;

}  // namespace

Core::Core(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
           const Sealer& sealer, EventSink sink)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      sink_(std::move(sink)),
      fleet_(zk, layout, strangers_,
             [this](const std::string& worker) {
               spdlog::info("worker left worker={}", worker);
               look_at_claims_ = true;
             },
             {kWatchedWorkersMax, {}}),
      router_(fleet_),
      placer_({options_.scheduler, options_.workload_bytes_max}, zk, layout, clock, sealer, router_,
              *this),
      collector_(
          options_.scheduler, zk, layout, strangers_,
          [this](const std::string& dispatch) { return dispatches_.contains(dispatch); },
          [this](Event event) { Emit(std::move(event)); }),
      inspector_(zk, layout),
      losses_(
          options_.loss_grace, zk, layout, clock,
          [this](const std::string& dispatch, const std::string& worker) {
            if (!dispatches_.contains(dispatch)) return;
            Emit({dispatch, "lost",
                  "worker " + (worker.empty() ? "(unknown)" : worker) +
                      " lost: its ZooKeeper session ended and it did not claim the run again",
                  worker});
          },
          [this](const proto::Entry& entry, const Placer::Place& running, int version) {
            PutBack(entry, running, version);
          }),
      revoker_(options_.loss_grace, zk, layout, clock, inspector_),
      sweeper_(options_.sweep_after, zk, layout, clock) {
  zk_.SetListener(this);
}

Core::~Core() { zk_.SetListener(nullptr); }

void Core::Forget(const std::string& dispatch) {
  const auto known = dispatches_.find(dispatch);
  if (known == dispatches_.end()) return;
  const auto& place = known->second.place;
  if (known->second.counted) router_.Remove(place.queue, place.partition, place.slots);
  losses_.Forget(dispatch);
  dispatches_.erase(known);
}

void Core::Emit(Event event) {
  Forget(event.dispatch_id);
  if (!event.lost_by.empty()) lost_by_[event.dispatch_id] = event.lost_by;
  sink_(std::move(event));
}

void Core::Place(Placement placement) {
  Forget(placement.dispatch_id);
  revoked_unplaced_.erase(placement.dispatch_id);
  dispatches_[placement.dispatch_id].round = round_;
  if (const auto lost = lost_by_.extract(placement.dispatch_id)) placement.lost_by = lost.mapped();
  placer_.Add(std::move(placement));
  placer_.Pump();
}

void Core::OnPlaced(const std::string& dispatch, const Placer::Place& place) {
  const auto known = dispatches_.find(dispatch);
  if (known == dispatches_.end()) {
    // Its result was faster; or it was revoked on its way.
    router_.Remove(place.queue, place.partition, place.slots);
    if (revoked_unplaced_.erase(dispatch) > 0) revoker_.Revoke(dispatch, place);
    return;
  }
  known->second.state = Dispatch::State::kPlaced;
  known->second.place = place;
  known->second.counted = true;
  known->second.round = round_;
}

void Core::OnRejected(const std::string& dispatch, const std::string& why) {
  if (revoked_unplaced_.erase(dispatch) > 0) return;
  Emit({dispatch, "rejected", why, ""});
}

void Core::OnFenced() {
  revoked_unplaced_.clear();
  std::vector<std::string> all;
  for (const auto& [id, dispatch] : dispatches_) all.push_back(id);
  for (const auto& id : all) {
    Emit({id, "fenced", "another scheduler took this scheduler's work over", ""});
  }
}

void Core::PutBack(const proto::Entry& entry, const Placer::Place& running, int version) {
  const auto known = dispatches_.find(entry.dispatch_id());
  if (known == dispatches_.end()) return;
  auto& dispatch = known->second;
  if (dispatch.counted) {
    router_.Remove(dispatch.place.queue, dispatch.place.partition, dispatch.place.slots);
  }
  dispatch.counted = false;
  dispatch.state = Dispatch::State::kWaiting;
  dispatch.place = running;
  dispatch.round = round_;
  placer_.PutBack(entry, running, version);
  placer_.Pump();
}

void Core::OnStillRunning(const std::string& dispatch, const std::string& queue) {
  const auto known = dispatches_.find(dispatch);
  if (known == dispatches_.end()) {
    if (revoked_unplaced_.erase(dispatch) > 0) revoker_.Revoke(dispatch, {queue, -1, "", 1});
    return;
  }
  known->second.state = Dispatch::State::kPlaced;
  known->second.round = round_;
}

void Core::OnSession(SessionState state) {
  if (state == SessionState::kConnected) {
    if (!ready_) Begin();
  } else if (state == SessionState::kExpired || state == SessionState::kAuthFailed) {
    spdlog::warn("executor session ended state={}", ToString(state));
    ready_ = false;
    reconciling_ = false;
    ++round_;  // what is under way belongs to no round any more
    placer_.Suspend();
    collector_.Suspend();
    revoker_.Suspend();
    losses_.Reset();
  }
}

void Core::OnChanged(const std::string& path) {
  if (!ready_) return;
  if (fleet_.OnChanged(path)) {
    fleet_.Tick(clock_.Now());
  } else {
    collector_.OnChanged(path);
  }
}

void Core::Begin() {
  if (beginning_) return;
  beginning_ = true;
  const auto fail = [this](const Error& error) {
    beginning_ = false;
    begin_again_at_ = clock_.Now() + kBeginAgain;
    if (last_error_ != error.message) {
      spdlog::error("executor cannot use ZooKeeper error=\"{}\"", error.message);
    }
    last_error_ = error.message;
  };
  EnsureTree(zk_, layout_, options_.partitions, [this, fail](Result<int> tree) {
    if (!tree) return fail(tree.error());
    const int partitions = *tree;
    EnsureNodes(zk_, {layout_.Producer(options_.scheduler), layout_.ResultDir(options_.scheduler)},
                [this, fail, partitions](Status made) {
                  if (!made) return fail(made.error());
                  proto::Scheduler self;
                  self.set_name(options_.scheduler);
                  self.set_host(options_.host);
                  self.set_pid(options_.pid);
                  self.set_started_unix_ms(clock_.UnixMs());
                  self.set_protocol_version(kProtocolVersion);
                  // The check: a sweeper may take us for dead until our node is there.
                  zk_.Multi({Op::Check(layout_.ResultDir(options_.scheduler)),
                             Op::Create(layout_.Scheduler(options_.scheduler),
                                        self.SerializeAsString(), NodeMode::kEphemeral)},
                            [this, fail, partitions](Result<std::vector<OpResult>> created) {
                              // Ours of a moment ago, whose reply was lost; the name is unique.
                              if (!created && created.error().code != ErrorCode::kAlreadyExists) {
                                return fail(created.error());
                              }
                              OnTree(partitions);
                            });
                });
  });
}

void Core::OnTree(int partitions) {
  beginning_ = false;
  ready_ = true;
  last_error_.clear();
  partitions_ = partitions;
  spdlog::info("executor connected scheduler={} root={} partitions={}", options_.scheduler,
               layout_.base(), partitions);
  fleet_.Start(partitions);
  collector_.Resume();
  placer_.Resume(partitions);
  revoker_.Resume(partitions);
  look_at_claims_ = true;
  next_poll_ = clock_.Now() + options_.poll_interval;
  Reconcile();
}

void Core::Tick() {
  const auto now = clock_.Now();
  if (!ready_) {
    if (zk_.state() == SessionState::kConnected && now >= begin_again_at_) Begin();
    return;
  }
  fleet_.Tick(now);
  sweeper_.Tick();
  placer_.Pump();
  if (now >= next_poll_) {
    next_poll_ = now + options_.poll_interval;
    fleet_.Refresh();
    collector_.Poll();
  }
  if (now >= next_claims_) {
    next_claims_ = now + options_.claims_interval;
    look_at_claims_ = true;
  }
  if (now >= next_suspect_) {
    next_suspect_ = now + options_.suspect_interval;
    losses_.LookAgain();
    revoker_.Tick();
  }
  if (look_at_claims_ || verify_ || !fences_.empty() || now >= next_reconcile_) Reconcile();
}

void Core::Adopt(const std::string& dispatch, const std::string& queue) {
  if (dispatches_.contains(dispatch)) return;
  auto& adopted = dispatches_[dispatch];
  adopted.state = Dispatch::State::kToVerify;
  adopted.place.queue = queue;
  adopted.round = round_;
  adopted_ = true;
  verify_ = true;
}

void Core::Fence(const std::string& scheduler_prefix) {
  if (!options_.scheduler.starts_with(scheduler_prefix)) fences_.insert(scheduler_prefix);
}

void Core::Revoke(const std::string& dispatch) {
  const auto known = dispatches_.find(dispatch);
  if (known == dispatches_.end()) return;
  const auto state = known->second.state;
  const auto place = known->second.place;
  Forget(dispatch);
  if (placer_.Withdraw(dispatch)) return;
  if (state == Dispatch::State::kWaiting) {
    revoked_unplaced_.insert(dispatch);
  } else {
    revoker_.Revoke(dispatch, place);
  }
}

}  // namespace zkexec
