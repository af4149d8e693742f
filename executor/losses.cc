// SPDX-License-Identifier: Apache-2.0
#include "executor/losses.h"

#include <utility>
#include <vector>

#include "common/log.h"

namespace zkexec {

Losses::Losses(Duration grace, Coordinator& zk, const Layout& layout, const Clock& clock, Lost lost,
               Unstarted unstarted)
    : grace_(grace),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      lost_(std::move(lost)),
      unstarted_(std::move(unstarted)) {}

void Losses::Look(const std::string& dispatch, const Placer::Place& running) {
  if (suspects_.contains(dispatch)) return;
  const auto path = layout_.RunningNode(running.queue, running.partition, dispatch);
  zk_.Exists(path, Watch::kNo, [this, dispatch, running](Result<NodeStat> stat) {
    if (!stat || stat->num_children > 0 || suspects_.contains(dispatch)) return;
    suspects_[dispatch] = {running, clock_.Now(), false};
    Examine(dispatch);
  });
}

void Losses::LookAgain() {
  std::vector<std::string> idle;
  for (const auto& [dispatch, suspect] : suspects_) {
    if (!suspect.busy) idle.push_back(dispatch);
  }
  for (const auto& dispatch : idle) Examine(dispatch);
}

void Losses::Examine(const std::string& dispatch) {
  auto& suspect = suspects_.at(dispatch);
  suspect.busy = true;
  const auto path = layout_.RunningNode(suspect.place.queue, suspect.place.partition, dispatch);
  zk_.Get(path, Watch::kNo, [this, dispatch](Result<NodeData> node) {
    const auto found = suspects_.find(dispatch);
    if (found == suspects_.end()) return;
    if (!node) {
      found->second.busy = false;
      if (node.error().code == ErrorCode::kNotFound) suspects_.erase(found);  // it has ended
      return;
    }
    if (node->stat.num_children > 0) {
      suspects_.erase(found);  // held again
      return;
    }
    proto::Entry entry;
    if (!entry.ParseFromString(node->data)) entry.set_started(true);  // not to be run by anybody
    zk_.Exists(layout_.Control(entry.worker().empty() ? "-" : entry.worker()), Watch::kNo,
               [this, dispatch, entry, version = node->stat.version](Result<NodeStat> control) {
                 const auto suspected = suspects_.find(dispatch);
                 if (suspected == suspects_.end()) return;
                 suspected->second.busy = false;
                 if (!control && control.error().code != ErrorCode::kNotFound) return;
                 const bool over = !control && !entry.worker().empty();
                 if (over || clock_.Now() - suspected->second.since >= grace_) {
                   Settle(dispatch, entry, version);
                 }
               });
  });
}

void Losses::Settle(const std::string& dispatch, const proto::Entry& entry, int version) {
  auto& suspect = suspects_.at(dispatch);
  if (!entry.started() && !entry.sealed().empty()) {
    const auto place = suspect.place;
    suspects_.erase(dispatch);
    spdlog::warn("worker lost; its run goes back to its queue worker={} dispatch={} label=\"{}\"",
                 entry.worker(), dispatch, entry.label());
    return unstarted_(entry, place, version);
  }
  suspect.busy = true;
  const auto path = layout_.RunningNode(suspect.place.queue, suspect.place.partition, dispatch);
  zk_.Multi({Op::Remove(path)},
            [this, dispatch, worker = entry.worker()](Result<std::vector<OpResult>> removed) {
              const auto found = suspects_.find(dispatch);
              if (found == suspects_.end()) return;
              found->second.busy = false;
              if (!removed) return;  // looked at again
              suspects_.erase(found);
              lost_(dispatch, worker);
            });
}

}  // namespace zkexec
