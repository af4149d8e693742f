// SPDX-License-Identifier: Apache-2.0
#include "common/fleet.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <utility>

namespace zkexec {
namespace {

constexpr Duration kPausePerWorker{2};
// Refresh() reads everybody again in so many calls.
constexpr std::size_t kRefreshParts = 12;
constexpr std::size_t kRefreshMax = 10;
// Between two nodes that were guessed.
constexpr Duration kUnreadPause{250};

bool ServesQueue(const proto::Worker& worker, const std::string& queue) {
  return worker.state() == "active" &&
         std::find(worker.queues().begin(), worker.queues().end(), queue) != worker.queues().end();
}

// What a worker's node says, within what a ring takes: others can write there, too.
int SlotsOf(const proto::Worker& worker) {
  constexpr std::uint32_t kMost = HashRing::kWeightMax;
  return static_cast<int>(std::min(worker.slots(), kMost));
}

bool SharesAlike(const proto::Worker& a, const proto::Worker& b) {
  return a.state() == b.state() && a.slots() == b.slots() &&
         std::equal(a.queues().begin(), a.queues().end(), b.queues().begin(), b.queues().end());
}

}  // namespace

Fleet::Fleet(Coordinator& zk, const Layout& layout, Strangers& strangers, Left left,
             Options options)
    : zk_(zk),
      layout_(layout),
      strangers_(strangers),
      left_(std::move(left)),
      options_(std::move(options)) {}

void Fleet::Start(int partitions) {
  partitions_ = partitions;
  known_ = false;
  listing_ = false;
  reading_ = 0;
  // Watches died with the old session: everybody is read again.
  raw_.clear();
  unread_.clear();
  anew_ = true;  // the number of partitions may be another
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
  ReadUnread(now);
  if (!changed_ || listing_ || now < next_list_) return;
  next_list_ = now + kPausePerWorker * static_cast<int>(workers_.size());
  List();
}

void Fleet::ReadUnread(TimePoint now) {
  if (unread_.empty() || now < next_unread_) return;
  next_unread_ = now + kUnreadPause;
  const auto name = std::move(unread_.front());
  unread_.pop_front();
  if (workers_.contains(name)) Read(name);
}

void Fleet::Refresh() {
  if (!listing_) List();
  std::vector<std::string> names;
  for (const auto& [name, worker] : workers_) names.push_back(name);
  const auto count = std::min(kRefreshMax, names.size() / kRefreshParts + 1);
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
    OnNames(*names);
  });
}

void Fleet::OnNames(const std::vector<std::string>& names) {
  const std::set<std::string> live(names.begin(), names.end());
  std::vector<std::string> gone;
  for (const auto& [name, worker] : workers_) {
    if (!live.contains(name)) gone.push_back(name);
  }
  for (const auto& name : gone) {
    workers_.erase(name);
    raw_.erase(name);
  }
  if (!gone.empty()) anew_ = rebuild_ = true;
  live_ = live.size();
  const bool guess = options_.guess && live_ > options_.watched_max;
  const std::set<std::string> unread(unread_.begin(), unread_.end());
  for (const auto& name : live) {
    if (raw_.contains(name) || unread.contains(name)) continue;
    if (!guess) {
      Read(name);
      continue;
    }
    unread_.push_back(name);
    if (!workers_.try_emplace(name, options_.guess()).second) continue;
    joined_.push_back(name);
    rebuild_ = true;
  }
  known_ = known_ || reading_ == 0;
  if (!gone.empty() || (rebuild_ && reading_ == 0)) Rebuild();
  for (const auto& name : gone) {
    if (left_) left_(name);
  }
}

void Fleet::Read(const std::string& name) {
  ++reading_;
  // A worker that drains, or serves other queues, rewrites its node.
  const auto watch = live_ <= options_.watched_max ? Watch::kYes : Watch::kNo;
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
  const auto [there, joined] = workers_.try_emplace(name, worker);
  if (joined) {
    joined_.push_back(name);
  } else if (SharesAlike(there->second, worker)) {
    there->second = std::move(worker);
    return;
  } else {
    there->second = std::move(worker);
    anew_ = true;
  }
  rebuild_ = true;
}

void Fleet::Rebuild() {
  ++generation_;
  if (anew_) shares_.clear();
  for (auto& [queue, shares] : shares_) {
    for (const auto& name : joined_) {
      const auto& worker = workers_.at(name);
      if (ServesQueue(worker, queue)) shares.Add(name, SlotsOf(worker));
    }
  }
  joined_.clear();
  rebuild_ = anew_ = false;
  live_slots_ = 0;
  for (const auto& [name, worker] : workers_) {
    if (worker.state() == "active") live_slots_ += SlotsOf(worker);
  }
}

const QueueShares* Fleet::Shares(const std::string& queue) const {
  auto found = shares_.find(queue);
  if (found == shares_.end()) {
    found = shares_.emplace(queue, QueueShares(queue, partitions_)).first;
    for (const auto& [name, worker] : workers_) {
      if (ServesQueue(worker, queue)) found->second.Add(name, SlotsOf(worker));
    }
  }
  return found->second.empty() ? nullptr : &found->second;
}

}  // namespace zkexec
