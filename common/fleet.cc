// SPDX-License-Identifier: Apache-2.0
#include "common/fleet.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace zkexec {
namespace {

bool ServesQueue(const proto::Worker& worker, const std::string& queue) {
  return worker.state() == "active" &&
         std::find(worker.queues().begin(), worker.queues().end(), queue) != worker.queues().end();
}

}  // namespace

HashRing QueueRing(const std::map<std::string, proto::Worker>& workers, const std::string& queue) {
  std::vector<HashRing::Node> nodes;
  for (const auto& [name, worker] : workers) {
    if (ServesQueue(worker, queue)) nodes.push_back({name, static_cast<int>(worker.slots())});
  }
  return HashRing(nodes);
}

std::string PartitionKey(const std::string& queue, int partition) {
  return "partition/" + queue + "/" + std::to_string(partition);
}

Fleet::Fleet(Coordinator& zk, const Layout& layout, Left left)
    : zk_(zk), layout_(layout), left_(std::move(left)) {}

void Fleet::Start(int partitions) {
  partitions_ = partitions;
  Refresh();
}

void Fleet::Refresh() {
  zk_.Children(layout_.Workers(), Watch::kYes, [this](Result<std::vector<std::string>> names) {
    if (!names) return;  // the next refresh or session asks again
    const std::set<std::string> live(names->begin(), names->end());
    std::vector<std::string> gone;
    for (const auto& [name, worker] : workers_) {
      if (!live.contains(name)) gone.push_back(name);
    }
    for (const auto& name : gone) workers_.erase(name);
    if (!gone.empty()) Rebuild();
    for (const auto& name : gone) {
      if (left_) left_(name);
    }
    for (const auto& name : live) {
      // Watched: a worker that drains, or serves other queues, rewrites its node.
      zk_.Get(layout_.Worker(name), Watch::kYes, [this, name](Result<NodeData> node) {
        proto::Worker worker;
        if (!node || !worker.ParseFromString(node->data)) return;
        workers_[name] = worker;
        Rebuild();
      });
    }
  });
}

void Fleet::Rebuild() {
  std::set<std::string> queues;
  for (const auto& [name, worker] : workers_) {
    queues.insert(worker.queues().begin(), worker.queues().end());
  }
  rings_.clear();
  for (const auto& queue : queues) rings_[queue] = QueueRing(workers_, queue);
}

int Fleet::live_slots() const {
  int slots = 0;
  for (const auto& [name, worker] : workers_) {
    if (worker.state() == "active") slots += static_cast<int>(worker.slots());
  }
  return slots;
}

bool Fleet::Serves(const std::string& queue) const {
  const auto ring = rings_.find(queue);
  return ring != rings_.end() && !ring->second.empty();
}

int Fleet::PartitionFor(const std::string& queue, const std::string& route_key) const {
  const auto hash = StableHash(route_key);
  const auto any = static_cast<int>(hash % static_cast<std::uint64_t>(partitions_));
  const auto ring = rings_.find(queue);
  if (ring == rings_.end() || ring->second.empty()) return any;
  const auto& preferred = ring->second.Owner("key/" + route_key);
  std::vector<int> owned;
  for (int i = 0; i < partitions_; ++i) {
    if (ring->second.Owner(PartitionKey(queue, i)) == preferred) owned.push_back(i);
  }
  return owned.empty() ? any : owned[hash % owned.size()];
}

}  // namespace zkexec
