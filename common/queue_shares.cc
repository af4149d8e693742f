// SPDX-License-Identifier: Apache-2.0
#include "common/queue_shares.h"

#include <algorithm>

namespace zkexec {
namespace {

std::vector<std::string> PartitionKeys(const std::string& queue, int partitions) {
  std::vector<std::string> keys;
  for (int i = 0; i < partitions; ++i) keys.push_back(PartitionKey(queue, i));
  return keys;
}

}  // namespace

std::string PartitionKey(const std::string& queue, int partition) {
  return "partition/" + queue + "/" + std::to_string(partition);
}

QueueShares::QueueShares(const std::string& queue, int partitions)
    : owners_(PartitionKeys(queue, std::max(1, partitions))) {}

void QueueShares::Add(const std::string& worker, int slots) {
  nodes_.push_back({worker, slots});
  owners_.Add(nodes_.back());
  resolved_ = false;
  ring_.reset();
}

void QueueShares::Resolve() const {
  if (resolved_) return;
  resolved_ = true;
  owner_ = owners_.Owners();
  owned_.clear();
  for (std::size_t i = 0; i < owner_.size(); ++i) {
    owned_[nodes_[owner_[i]].name].push_back(static_cast<int>(i));
  }
}

const std::string& QueueShares::Owner(int partition) const {
  Resolve();
  return nodes_[owner_[static_cast<std::size_t>(partition)]].name;
}

const std::vector<int>* QueueShares::Owned(const std::string& worker) const {
  if (empty()) return nullptr;
  Resolve();
  const auto found = owned_.find(worker);
  return found == owned_.end() ? nullptr : &found->second;
}

const HashRing& QueueShares::ring() const {
  if (!ring_) ring_.emplace(nodes_);
  return *ring_;
}

}  // namespace zkexec
