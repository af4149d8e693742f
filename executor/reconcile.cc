// SPDX-License-Identifier: Apache-2.0
// The core's questions after what it believes live. A dispatch only moves from queues
// to running to results, and back from running only by our own hand (or, for an
// adopted one, by that of a scheduler whose counter we have moved before). So
// what is in none of the three, looked at in this order after a sync, is gone.
#include <algorithm>
#include <memory>
#include <utility>

#include "common/log.h"
#include "executor/core.h"

namespace zkexec {

std::vector<std::string> Core::Queues() const {
  std::set<std::string> queues;
  for (const auto& [id, dispatch] : dispatches_) {
    if (!dispatch.place.queue.empty()) queues.insert(dispatch.place.queue);
  }
  return {queues.begin(), queues.end()};
}

void Core::Reconcile() {
  if (reconciling_ || !ready_) return;
  next_reconcile_ = clock_.Now() + options_.reconcile_interval;
  verify_ = false;
  if (dispatches_.empty() && fences_.empty()) {
    look_at_claims_ = false;
    return;
  }
  reconciling_ = true;
  // What changes from now on is none of this round's business.
  const auto round = ++round_;
  SendFences([this, round](Status fenced) {
    if (round != round_) return;
    if (!fenced) {
      reconciling_ = false;
      verify_ = true;
      return;
    }
    inspector_.List(Queues(), partitions_, [this, round](Result<Inspector::Listing> listing) {
      if (round == round_) OnListing(round, listing);
    });
  });
}

void Core::SendFences(Coordinator::StatusCallback done) {
  if (fences_.empty()) return done(Done{});
  zk_.Children(
      layout_.Producers(), Watch::kNo, [this, done](Result<std::vector<std::string>> names) {
        if (!names) return done(names.error());
        std::vector<std::string> fenced;
        for (const auto& name : *names) {
          const bool dead =
              std::any_of(fences_.begin(), fences_.end(),
                          [&name](const std::string& prefix) { return name.starts_with(prefix); });
          if (dead && name != options_.scheduler) fenced.push_back(name);
        }
        if (fenced.empty()) {
          fences_.clear();
          return done(Done{});
        }
        auto left = std::make_shared<std::size_t>(fenced.size());
        auto all = std::make_shared<Status>(Done{});
        for (const auto& name : fenced) {
          zk_.Multi({Op::Set(layout_.Producer(name), kFenceMark + options_.scheduler)},
                    [this, name, left, all, done](Result<std::vector<OpResult>> set) {
                      if (set) {
                        spdlog::info("fenced a dead scheduler scheduler={}", name);
                      } else if (set.error().code != ErrorCode::kNotFound) {
                        *all = set.error();
                      }
                      if (--*left > 0) return;
                      if (*all) fences_.clear();
                      done(*all);
                    });
        }
      });
}

void Core::OnListing(std::uint64_t round, const Result<Inspector::Listing>& listing) {
  if (!listing) {
    reconciling_ = false;
    verify_ = true;  // the next tick asks again
    return;
  }
  const bool look = std::exchange(look_at_claims_, false);
  std::set<std::string> missing;
  for (auto& [id, dispatch] : dispatches_) {
    if (dispatch.state == Dispatch::State::kWaiting || dispatch.round >= round) continue;
    const auto queued = listing->queued.find(id);
    const auto running = listing->running.find(id);
    if (queued == listing->queued.end() && running == listing->running.end()) {
      missing.insert(id);
      continue;
    }
    const int slots = dispatch.place.slots;
    dispatch.place = running != listing->running.end() ? running->second : queued->second;
    dispatch.place.slots = slots;
    if (dispatch.state == Dispatch::State::kToVerify) read_all_ = true;
    dispatch.state = Dispatch::State::kPlaced;
    if (!dispatch.counted) {
      router_.Add(dispatch.place.queue, dispatch.place.partition, slots);
      dispatch.counted = true;
    }
    if (look && dispatch.place.entry.empty()) losses_.Look(id, dispatch.place);
  }
  if (missing.empty() && !read_all_) {
    reconciling_ = false;
    return;
  }
  const auto listed = [this, round, missing](Status results) {
    if (round != round_) return;
    if (!results) {
      reconciling_ = false;
      verify_ = true;
      return;
    }
    read_all_ = false;
    // The reasons of failures are read after the listing; a sync is answered after them.
    zk_.Sync([this, round, missing](Status synced) {
      if (round != round_) return;
      reconciling_ = false;
      verify_ = !synced;
      if (synced) OnResultsListed(round, missing);
    });
  };
  // What was adopted ends in the directory of the scheduler that placed it.
  if (adopted_) {
    collector_.ListAllSchedulers(listed);
  } else {
    collector_.ListAll(listed);
  }
}

void Core::OnResultsListed(std::uint64_t round, const std::set<std::string>& missing) {
  for (const auto& id : missing) {
    const auto known = dispatches_.find(id);
    if (known == dispatches_.end() || known->second.round >= round) continue;
    if (known->second.state == Dispatch::State::kWaiting || collector_.Knows(id)) continue;
    Emit({id, "gone", "ZooKeeper knows neither an entry, a run nor a result of it", ""});
  }
}

}  // namespace zkexec
