// SPDX-License-Identifier: Apache-2.0
#include "common/fleet.h"

#include <algorithm>
#include <set>
#include <utility>

namespace zkexec {
namespace {

constexpr Duration kPausePerWorker{2};
// Refresh() reads everybody again in so many calls.
constexpr std::size_t kRefreshParts = 12;

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

QueueShares ShareOut(const std::map<std::string, proto::Worker>& workers, const std::string& queue,
                     int partitions) {
  QueueShares shares;
  shares.ring = QueueRing(workers, queue);
  shares.owner.resize(static_cast<std::size_t>(partitions));
  if (shares.ring.empty()) return shares;
  for (int i = 0; i < partitions; ++i) {
    const auto& owner = shares.ring.Owner(PartitionKey(queue, i));
    shares.owner[static_cast<std::size_t>(i)] = owner;
    shares.owned[owner].push_back(i);
  }
  return shares;
}

Fleet::Fleet(Coordinator& zk, const Layout& layout, Strangers& strangers, Left left,
             std::size_t watched_max)
    : zk_(zk),
      layout_(layout),
      strangers_(strangers),
      left_(std::move(left)),
      watched_max_(watched_max) {}

void Fleet::Start(int partitions) {
  partitions_ = partitions;
  known_ = false;
  listing_ = false;
  reading_ = 0;
  // Watches died with the old session: everybody is read again.
  raw_.clear();
  Rebuild();
  List();
}

bool Fleet::OnChanged(const std::string& path) {
  const auto prefix = layout_.Workers() + "/";
  if (path == layout_.Workers()) {
    changed_ = true;
  } else if (path.starts_with(prefix)) {
    Read(path.substr(prefix.size()));
  } else {
    return false;
  }
  return true;
}

void Fleet::Tick(TimePoint now) {
  if (rebuild_) Rebuild();
  if (!changed_ || listing_ || now < next_list_) return;
  next_list_ = now + kPausePerWorker * static_cast<int>(workers_.size());
  List();
}

void Fleet::Refresh() {
  if (!listing_) List();
  std::vector<std::string> names;
  for (const auto& [name, worker] : workers_) names.push_back(name);
  const auto count = names.size() / kRefreshParts + 1;
  for (std::size_t i = 0; i < count && i < names.size(); ++i) {
    Read(names[reread_++ % names.size()]);
  }
}

void Fleet::List() {
  listing_ = true;
  changed_ = false;
  zk_.Children(layout_.Workers(), Watch::kYes, [this](Result<std::vector<std::string>> names) {
    listing_ = false;
    if (!names) {
      changed_ = names.error().code == ErrorCode::kUnavailable;
      return;
    }
    const std::set<std::string> live(names->begin(), names->end());
    std::vector<std::string> gone;
    for (const auto& [name, worker] : workers_) {
      if (!live.contains(name)) gone.push_back(name);
    }
    for (const auto& name : gone) {
      workers_.erase(name);
      raw_.erase(name);
    }
    if (!gone.empty()) Rebuild();
    for (const auto& name : gone) {
      if (left_) left_(name);
    }
    live_ = live.size();
    for (const auto& name : live) {
      if (!raw_.contains(name)) Read(name);
    }
    known_ = known_ || reading_ == 0;
  });
}

void Fleet::Read(const std::string& name) {
  ++reading_;
  // A worker that drains, or serves other queues, rewrites its node.
  const auto watch = live_ <= watched_max_ ? Watch::kYes : Watch::kNo;
  zk_.Get(layout_.Worker(name), watch, [this, name](Result<NodeData> node) {
    if (reading_ > 0) --reading_;
    known_ = known_ || reading_ == 0;
    if (node) Keep(name, *node);
    // Who comes with others is not worth a ring of its own.
    if (rebuild_ && reading_ == 0) Rebuild();
  });
}

void Fleet::Keep(const std::string& name, const NodeData& node) {
  const auto known = raw_.find(name);
  if (known != raw_.end() && known->second == node.data) return;
  proto::Worker worker;
  if (!worker.ParseFromString(node.data)) {
    strangers_.Met(layout_.Worker(name), "not the node of a worker");
    return;
  }
  raw_[name] = node.data;
  workers_[name] = std::move(worker);
  rebuild_ = true;
}

void Fleet::Rebuild() {
  rebuild_ = false;
  ++generation_;
  shares_.clear();
  live_slots_ = 0;
  for (const auto& [name, worker] : workers_) {
    if (worker.state() == "active") live_slots_ += static_cast<int>(worker.slots());
  }
}

const QueueShares* Fleet::Shares(const std::string& queue) const {
  auto found = shares_.find(queue);
  if (found == shares_.end()) {
    found = shares_.emplace(queue, ShareOut(workers_, queue, partitions_)).first;
  }
  return found->second.ring.empty() ? nullptr : &found->second;
}

}  // namespace zkexec
