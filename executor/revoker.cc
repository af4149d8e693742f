// SPDX-License-Identifier: Apache-2.0
#include "executor/revoker.h"

#include <vector>

#include "common/log.h"
#include "common/proto/zkexec.pb.h"

namespace zkexec {
namespace {

constexpr Duration kLookAgain{1000};

}  // namespace

Revoker::Revoker(Duration grace, Coordinator& zk, const Layout& layout, const Clock& clock,
                 Inspector& inspector)
    : grace_(grace), zk_(zk), layout_(layout), clock_(clock), inspector_(inspector) {}

void Revoker::Revoke(const std::string& dispatch, const Placer::Place& place) {
  if (pending_.contains(dispatch)) return;
  pending_[dispatch].place = place;
  if (active_) Step(dispatch);
}

void Revoker::Resume(int partitions) {
  active_ = true;
  partitions_ = partitions;
  for (auto& [dispatch, pending] : pending_) pending.busy = false;
}

void Revoker::Tick() {
  if (!active_) return;
  std::vector<std::string> due;
  for (const auto& [dispatch, pending] : pending_) {
    if (!pending.busy && clock_.Now() >= pending.next) due.push_back(dispatch);
  }
  for (const auto& dispatch : due) Step(dispatch);
}

Revoker::Pending* Revoker::Back(const std::string& dispatch) {
  const auto found = pending_.find(dispatch);
  if (found == pending_.end()) return nullptr;
  found->second.busy = false;
  return &found->second;
}

void Revoker::Step(const std::string& dispatch) {
  auto& pending = pending_.at(dispatch);
  pending.busy = true;
  pending.next = clock_.Now() + kLookAgain;
  if (pending.place.partition < 0) {
    Find(dispatch);
  } else if (!pending.place.entry.empty()) {
    RemoveEntry(dispatch);
  } else {
    LookAtRun(dispatch);
  }
}

void Revoker::Find(const std::string& dispatch) {
  const auto queue = pending_.at(dispatch).place.queue;
  inspector_.List({queue}, partitions_, [this, dispatch](Result<Inspector::Listing> listing) {
    auto* pending = Back(dispatch);
    if (pending == nullptr || !listing) return;
    for (const auto* places : {&listing->queued, &listing->running}) {
      const auto found = places->find(dispatch);
      if (found == places->end()) continue;
      pending->place = found->second;
      return Step(dispatch);
    }
    pending_.erase(dispatch);  // there is nothing to take back
  });
}

void Revoker::RemoveEntry(const std::string& dispatch) {
  const auto& place = pending_.at(dispatch).place;
  const auto path = layout_.Partition(place.queue, place.partition) + "/" + place.entry;
  zk_.Multi({Op::Remove(path)}, [this, dispatch](Result<std::vector<OpResult>> removed) {
    auto* pending = Back(dispatch);
    if (pending == nullptr) return;
    if (removed) {
      pending_.erase(dispatch);
    } else if (removed.error().code == ErrorCode::kNotFound) {
      pending->place.entry.clear();  // claimed meanwhile
      Step(dispatch);
    }
  });
}

void Revoker::LookAtRun(const std::string& dispatch) {
  const auto& place = pending_.at(dispatch).place;
  const auto path = layout_.RunningNode(place.queue, place.partition, dispatch);
  zk_.Get(path, Watch::kNo, [this, dispatch](Result<NodeData> node) {
    auto* pending = Back(dispatch);
    if (pending == nullptr) return;
    if (!node) {
      if (node.error().code == ErrorCode::kNotFound) pending_.erase(dispatch);  // it has ended
      return;
    }
    if (node->stat.num_children == 0) {
      if (pending->unheld_since == TimePoint{}) pending->unheld_since = clock_.Now();
      if (clock_.Now() - pending->unheld_since >= grace_) RemoveRun(dispatch);
      return;
    }
    pending->unheld_since = {};
    proto::Entry entry;
    if (pending->told || !entry.ParseFromString(node->data) || entry.worker().empty()) return;
    pending->busy = true;
    zk_.Multi({Op::Create(layout_.KillNode(entry.worker(), dispatch), "")},
              [this, dispatch](Result<std::vector<OpResult>> asked) {
                auto* again = Back(dispatch);
                if (again == nullptr) return;
                again->told = asked || asked.error().code == ErrorCode::kAlreadyExists;
                if (again->told || asked.error().code == ErrorCode::kUnavailable) return;
                spdlog::warn("cannot ask for a kill dispatch={} error=\"{}\"", dispatch,
                             asked.error().message);
              });
  });
}

void Revoker::RemoveRun(const std::string& dispatch) {
  auto& pending = pending_.at(dispatch);
  pending.busy = true;
  const auto path = layout_.RunningNode(pending.place.queue, pending.place.partition, dispatch);
  zk_.Multi({Op::Remove(path)}, [this, dispatch](Result<std::vector<OpResult>> removed) {
    if (Back(dispatch) != nullptr && removed) pending_.erase(dispatch);
  });
}

}  // namespace zkexec
