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

}  // namespace

Core::Core(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
           const Sealer& sealer, EventSink sink)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      sink_(std::move(sink)),
      fleet_(zk, layout, [this](const std::string&) { suspect_all_ = true; }),
      placer_(
          {options_.scheduler, options_.workload_bytes_max}, zk, layout, clock, sealer, fleet_,
          [this](const std::string& dispatch, const Placer::Place& place) {
            const auto known = dispatches_.find(dispatch);
            if (known == dispatches_.end()) return;  // its result was faster
            known->second.state = Dispatch::State::kPlaced;
            known->second.place = place;
          },
          [this](const std::string& dispatch, const std::string& why) {
            Emit({dispatch, "rejected", why, ""});
          }),
      collector_(
          options_.scheduler, zk, layout,
          [this](const std::string& dispatch) { return dispatches_.contains(dispatch); },
          [this](Event event) { Emit(std::move(event)); }),
      inspector_(zk, layout) {
  zk_.SetListener(this);
}

Core::~Core() { zk_.SetListener(nullptr); }

void Core::Emit(Event event) {
  dispatches_.erase(event.dispatch_id);
  sink_(std::move(event));
}

void Core::Place(Placement placement) {
  dispatches_[placement.dispatch_id] = {};
  placer_.Add(std::move(placement));
  placer_.Pump();
}

void Core::OnSession(SessionState state) {
  if (state == SessionState::kConnected) {
    if (!ready_) Begin();
  } else if (state == SessionState::kExpired || state == SessionState::kAuthFailed) {
    spdlog::warn("executor session ended state={}", ToString(state));
    ready_ = false;
    placer_.Suspend();
    collector_.Suspend();
  }
}

void Core::OnChanged(const std::string& path) {
  if (!ready_) return;
  if (path == layout_.Workers() || path.starts_with(layout_.Workers() + "/")) {
    fleet_.Refresh();
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
                  zk_.Multi({Op::Create(layout_.Scheduler(options_.scheduler),
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
  suspect_all_ = true;
  next_poll_ = clock_.Now() + options_.poll_interval;
  Verify();
}

void Core::Tick() {
  const auto now = clock_.Now();
  if (!ready_) {
    if (zk_.state() == SessionState::kConnected && now >= begin_again_at_) Begin();
    return;
  }
  placer_.Pump();
  if (now >= next_poll_) {
    next_poll_ = now + options_.poll_interval;
    fleet_.Refresh();
    collector_.Poll();
  }
  if (now >= next_audit_) {
    next_audit_ = now + options_.audit_interval;
    suspect_all_ = suspect_all_ || !dispatches_.empty();
  }
  if (now >= next_suspect_) {
    next_suspect_ = now + options_.suspect_interval;
    const bool suspects = std::any_of(dispatches_.begin(), dispatches_.end(),
                                      [](const auto& one) { return one.second.suspected; });
    if (suspect_all_ || suspects) LookForLost();
    Verify();
  }
}

std::vector<std::string> Core::Queues() const {
  std::set<std::string> queues;
  for (const auto& [id, dispatch] : dispatches_) {
    if (!dispatch.place.queue.empty()) queues.insert(dispatch.place.queue);
  }
  return {queues.begin(), queues.end()};
}

void Core::Adopt(const std::string& dispatch, const std::string& queue) {
  if (dispatches_.contains(dispatch)) return;
  auto& adopted = dispatches_[dispatch];
  adopted.state = Dispatch::State::kToVerify;
  adopted.place.queue = queue;
}

void Core::Verify() {
  if (verifying_ || !ready_) return;
  std::set<std::string> queues;
  std::set<std::string> asked;
  for (const auto& [id, dispatch] : dispatches_) {
    if (dispatch.state != Dispatch::State::kToVerify) continue;
    asked.insert(id);
    queues.insert(dispatch.place.queue);
  }
  if (asked.empty()) return;
  verifying_ = true;
  inspector_.List(
      {queues.begin(), queues.end()}, partitions_,
      [this, asked](Result<Inspector::Listing> listing) {
        if (!listing) {
          verifying_ = false;
          return;  // the next tick asks again
        }
        for (const auto& id : asked) {
          const auto known = dispatches_.find(id);
          if (known == dispatches_.end()) continue;
          for (const auto* places : {&listing->queued, &listing->running}) {
            const auto found = places->find(id);
            if (found == places->end()) continue;
            known->second.state = Dispatch::State::kPlaced;
            known->second.place = found->second;
            break;
          }
        }
        // What is in neither may have a result; reading those takes it off the list.
        collector_.AdoptDeadSchedulers([this, asked](Status listed) {
          // The reasons of failures are read after this; a sync is answered after them.
          zk_.Sync([this, asked, listed](Status synced) {
            verifying_ = false;
            if (!listed || !synced) return;
            suspect_all_ = true;
            for (const auto& id : asked) {
              const auto known = dispatches_.find(id);
              if (known == dispatches_.end() || known->second.state != Dispatch::State::kToVerify) {
                continue;
              }
              Emit({id, "gone", "ZooKeeper knows neither an entry, a run nor a result of it", ""});
            }
          });
        });
      });
}

void Core::LookForLost() {
  if (looking_) return;
  looking_ = true;
  suspect_all_ = false;
  inspector_.List(Queues(), partitions_, [this](Result<Inspector::Listing> listing) {
    looking_ = false;
    if (!listing) {
      suspect_all_ = true;
      return;
    }
    for (const auto& [id, place] : listing->running) {
      if (dispatches_.contains(id)) Judge(id, place);
    }
  });
}

void Core::Judge(const std::string& dispatch, const Placer::Place& place) {
  const auto path = layout_.RunningNode(place.queue, place.partition, dispatch);
  zk_.Exists(path, Watch::kNo, [this, dispatch, place](Result<NodeStat> stat) {
    const auto known = dispatches_.find(dispatch);
    if (known == dispatches_.end()) return;
    auto& run = known->second;
    if (!stat || stat->num_children > 0) {
      run.suspected = false;
      return;
    }
    if (!run.suspected) {
      run.suspected = true;
      run.suspected_since = clock_.Now();
    } else if (clock_.Now() - run.suspected_since >= options_.loss_grace) {
      DeclareLost(dispatch, place);
    }
  });
}

void Core::DeclareLost(const std::string& dispatch, const Placer::Place& place) {
  const auto path = layout_.RunningNode(place.queue, place.partition, dispatch);
  zk_.Get(path, Watch::kNo, [this, dispatch, path](Result<NodeData> node) {
    if (!node) return;
    proto::Entry entry;
    const std::string worker = entry.ParseFromString(node->data) ? entry.worker() : "";
    // The gate: ZooKeeper refuses if a claim has come back meanwhile, and only
    // one scheduler's removal succeeds.
    zk_.Multi({Op::Remove(path)}, [this, dispatch, worker](Result<std::vector<OpResult>> removed) {
      if (!removed || !dispatches_.contains(dispatch)) return;
      Emit({dispatch, "lost",
            "worker " + (worker.empty() ? "(unknown)" : worker) +
                " lost: its ZooKeeper session ended and it did not claim the run again",
            worker});
    });
  });
}

void Core::Revoke(const std::string& dispatch) {
  const auto known = dispatches_.find(dispatch);
  if (known == dispatches_.end()) return;
  const auto place = known->second.place;
  dispatches_.erase(known);
  if (placer_.Withdraw(dispatch) || place.queue.empty()) return;
  if (place.entry.empty()) return Kill(place, dispatch);
  const auto entry = layout_.Partition(place.queue, place.partition) + "/" + place.entry;
  zk_.Multi({Op::Remove(entry)}, [this, dispatch, place](Result<std::vector<OpResult>> removed) {
    if (removed || removed.error().code != ErrorCode::kNotFound) return;
    Kill(place, dispatch);
  });
}

void Core::Kill(const Placer::Place& place, const std::string& dispatch) {
  const auto path = layout_.RunningNode(place.queue, place.partition, dispatch);
  zk_.Get(path, Watch::kNo, [this, dispatch](Result<NodeData> node) {
    proto::Entry entry;
    if (!node || !entry.ParseFromString(node->data) || entry.worker().empty()) return;
    zk_.Multi({Op::Create(layout_.KillNode(entry.worker(), dispatch), "")},
              [dispatch](Result<std::vector<OpResult>> asked) {
                if (asked || asked.error().code == ErrorCode::kAlreadyExists) return;
                spdlog::warn("cannot ask for a kill dispatch={} error=\"{}\"", dispatch,
                             asked.error().message);
              });
  });
}

}  // namespace zkexec
