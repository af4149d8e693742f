// SPDX-License-Identifier: Apache-2.0
#include "worker/lookout.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace zkexec {
namespace {

// With so much in sight, a partition that changed is not listed again at once: under load
// each of our own claims changes it. The pause grows with what a listing costs, or a
// backlog would be drained in the square of its length; it bounds how long a new entry of a
// higher priority stays unseen.
constexpr std::size_t kEnough = 50;
constexpr Duration kPause{100};
constexpr Duration kPausePerEntry{1};
constexpr Duration kPauseMax{1000};

Duration PauseAfter(std::size_t entries) {
  return std::min(kPauseMax, kPause + kPausePerEntry * static_cast<int>(entries));
}
// Dirty for longer than any pause: there was no room to look.
constexpr Duration kOverdue = kPauseMax * 3 / 2;
constexpr Duration kLookAround{1000};
constexpr Duration kSecondLook{300};
constexpr std::size_t kStolenAtOnce = 4;
constexpr std::size_t kRefusedMax = 10000;

}  // namespace

Lookout::Lookout(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
                 const Fleet& fleet, Callbacks callbacks)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      fleet_(fleet),
      callbacks_(std::move(callbacks)),
      random_(static_cast<std::minstd_rand::result_type>(options_.seed % 2147483646 + 1)) {}

void Lookout::Start(int partitions, const std::vector<std::string>& queues) {
  active_ = true;
  ++session_;
  queues_.clear();
  backlog_.Clear();
  overdue_ = 0;
  for (const auto& name : queues) {
    queues_[name].partitions.resize(static_cast<std::size_t>(partitions));
    ReadShare(name, queues_[name]);
  }
  next_relist_ = clock_.Now() + options_.relist_interval;
}

void Lookout::Stop() {
  active_ = false;
  ++session_;
  queues_.clear();
  backlog_.Clear();
  overdue_ = 0;
}

void Lookout::MarkDirty(Partition& partition) const {
  if (!partition.dirty) partition.dirty_since = clock_.Now();
  partition.dirty = true;
}

void Lookout::ReadShare(const std::string& name, Queue& queue) {
  queue.generation = fleet_.generation();
  const auto* shares = fleet_.Shares(name);
  const auto count = static_cast<int>(queue.partitions.size());
  std::set<int> mine;
  if (!fleet_.known()) {
    // In a moment. Until then nothing is looked at: a thousand workers that start together must
    // not all look at everything.
    queue.generation = 0;
    return;
  }
  if (shares == nullptr) {
    // Nobody is said to serve the queue, and we do.
    for (int i = 0; i < count; ++i) mine.insert(i);
    queue.workers = 1;
  } else {
    queue.workers = shares->workers();
    if (const auto* owned = shares->Owned(options_.worker); owned != nullptr) {
      mine.insert(owned->begin(), owned->end());
    } else {
      // More workers than partitions: one is watched together with its owner.
      mine.insert(
          static_cast<int>(StableHash(options_.worker) % static_cast<std::uint64_t>(count)));
    }
  }
  for (int i = 0; i < count; ++i) {
    auto& partition = queue.partitions[static_cast<std::size_t>(i)];
    const bool watched = mine.contains(i);
    if (watched && !partition.watched) MarkDirty(partition);
    partition.watched = watched;
  }
}

bool Lookout::OnChanged(const std::string& path) {
  for (auto& [name, queue] : queues_) {
    const auto parent = layout_.Queue(name) + "/";
    if (!path.starts_with(parent)) continue;
    const auto partition = static_cast<std::size_t>(std::atoi(path.c_str() + parent.size()));
    if (partition < queue.partitions.size()) MarkDirty(queue.partitions[partition]);
    return true;
  }
  return false;
}

void Lookout::Look(int free) {
  if (!active_ || free < 1) return;
  const auto now = clock_.Now();
  const bool relist = now >= next_relist_;
  if (relist) next_relist_ = now + options_.relist_interval;
  const bool around = backlog_.empty() && taken_.empty() && now >= next_look_around_;
  if (around) {
    // Neighbours that started together must not look together for ever.
    next_look_around_ = now + kLookAround * 3 / 4 + Duration(random_() % (kLookAround.count() / 2));
  }
  for (auto& [name, queue] : queues_) {
    if (queue.generation != fleet_.generation()) ReadShare(name, queue);
    if (around) LookAround(name, queue);
    for (std::size_t i = 0; i < queue.partitions.size(); ++i) {
      auto& partition = queue.partitions[i];
      if (relist && partition.watched) MarkDirty(partition);
      const bool second = partition.again_at != TimePoint{} && now >= partition.again_at;
      const bool changed =
          partition.watched && partition.dirty &&
          (backlog_.size() < kEnough || now - partition.listed >= PauseAfter(partition.entries));
      if ((second || changed) && !partition.listing) List(name, static_cast<int>(i));
    }
  }
}

void Lookout::LookAround(const std::string& name, Queue& queue) {
  const auto count = static_cast<int>(queue.partitions.size());
  const int share = (count + queue.workers - 1) / queue.workers;
  for (int i = 0; i < share; ++i) {
    const auto at = static_cast<int>(random_() % static_cast<unsigned>(count));
    const auto& partition = queue.partitions[static_cast<std::size_t>(at)];
    if (!partition.watched && !partition.listing) List(name, at);
  }
}

void Lookout::List(const std::string& name, int at) {
  auto& partition = queues_.at(name).partitions[static_cast<std::size_t>(at)];
  partition.listing = true;
  partition.overdue = partition.dirty && clock_.Now() - partition.dirty_since >= kOverdue;
  if (partition.overdue) ++overdue_;
  partition.dirty = false;
  partition.again_at = {};
  partition.listed = clock_.Now();
  const auto watch = partition.watched ? Watch::kYes : Watch::kNo;
  zk_.Children(layout_.Partition(name, at), watch,
               [this, name, at, session = session_](Result<std::vector<std::string>> names) {
                 if (session != session_) return;
                 const auto queue = queues_.find(name);
                 if (queue == queues_.end()) return;
                 auto& listed = queue->second.partitions[static_cast<std::size_t>(at)];
                 listed.listing = false;
                 const bool awaited = std::exchange(listed.overdue, false);
                 if (awaited) --overdue_;
                 if (names) {
                   OnNames(name, at, *names);
                 } else if (names.error().code != ErrorCode::kNotFound) {
                   MarkDirty(listed);
                 }  // Without its directory there is no watch: the slow timer asks again.
                 if ((names || awaited) && !empty()) callbacks_.found();
               });
}

std::set<std::string> Lookout::Usable(const std::string& queue, int partition,
                                      const std::vector<std::string>& names) {
  std::set<std::string> usable;
  for (const auto& name : names) {
    const Backlog::Item item{name, queue, partition};
    const auto path = Path(item);
    if (taken_.contains(path) || refused_.contains(path)) continue;
    if (EntryName::Decode(name)) {
      usable.insert(name);
    } else {
      Refuse(item);
      callbacks_.unreadable_name(item);
    }
  }
  return usable;
}

void Lookout::OnNames(const std::string& name, int at, const std::vector<std::string>& names) {
  auto usable = Usable(name, at, names);
  auto& partition = queues_.at(name).partitions[static_cast<std::size_t>(at)];
  partition.entries = names.size();
  if (partition.watched) {
    partition.seen.clear();
    backlog_.Replace(name, at, std::move(usable));
  } else {
    std::set<std::string> old;
    for (const auto& entry : usable) {
      if (old.size() < kStolenAtOnce && partition.seen.contains(entry)) old.insert(entry);
    }
    partition.again_at = usable.empty() ? TimePoint{} : clock_.Now() + kSecondLook;
    partition.seen = std::move(usable);
    backlog_.Replace(name, at, std::move(old));
  }
}

std::vector<Backlog::Item> Lookout::Take(std::size_t count) {
  auto items = backlog_.Take(count);
  for (const auto& item : items) taken_.insert(Path(item));
  return items;
}

void Lookout::PutBack(const Backlog::Item& item) {
  taken_.erase(Path(item));
  if (active_ && queues_.contains(item.queue)) backlog_.Add(item);
}

void Lookout::Refuse(const Backlog::Item& item) {
  if (refused_.size() >= kRefusedMax) refused_.clear();
  refused_.insert(Path(item));
  taken_.erase(Path(item));
}

}  // namespace zkexec
