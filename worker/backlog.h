// SPDX-License-Identifier: Apache-2.0
// Backlog: the entries that this worker has seen waiting, best first. A view: an
// entry in it may be gone, the claim decides.
//
// Not thread-safe; used on the owner's loop.
#pragma once

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace zkexec {

class Backlog {
 public:
  struct Item {
    std::string name;  // sorts by priority, then by age
    std::string queue;
    int partition = 0;

    bool operator<(const Item& other) const {
      return std::tie(name, queue, partition) < std::tie(other.name, other.queue, other.partition);
    }
    bool operator==(const Item& other) const = default;
  };

  // What one partition holds now; replaces what it held before.
  void Replace(const std::string& queue, int partition, std::set<std::string> names) {
    auto& held = partitions_[{queue, partition}];
    size_ += names.size() - held.size();
    held = std::move(names);
    if (held.empty()) partitions_.erase({queue, partition});
  }
  void Add(const Item& item) {
    if (partitions_[{item.queue, item.partition}].insert(item.name).second) ++size_;
  }
  void Clear() {
    partitions_.clear();
    size_ = 0;
  }
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  // The best of all. REQUIRES: !empty().
  Item Best() const {
    const auto best = std::min_element(
        partitions_.begin(), partitions_.end(),
        [](const auto& a, const auto& b) { return *a.second.begin() < *b.second.begin(); });
    return {*best->second.begin(), best->first.first, best->first.second};
  }
  // Takes up to `count` of the best out, best first.
  std::vector<Item> Take(std::size_t count) {
    std::vector<Item> heads;
    for (const auto& [where, names] : partitions_) {
      heads.push_back({*names.begin(), where.first, where.second});
    }
    const auto worse = [](const Item& a, const Item& b) { return b < a; };
    std::make_heap(heads.begin(), heads.end(), worse);
    std::vector<Item> taken;
    while (taken.size() < count && !heads.empty()) {
      std::pop_heap(heads.begin(), heads.end(), worse);
      auto item = std::move(heads.back());
      heads.pop_back();
      const auto held = partitions_.find({item.queue, item.partition});
      held->second.erase(held->second.begin());
      --size_;
      if (held->second.empty()) {
        partitions_.erase(held);
      } else {
        heads.push_back({*held->second.begin(), item.queue, item.partition});
        std::push_heap(heads.begin(), heads.end(), worse);
      }
      taken.push_back(std::move(item));
    }
    return taken;
  }

 private:
  std::map<std::pair<std::string, int>, std::set<std::string>> partitions_;  // none is empty
  std::size_t size_ = 0;
};

}  // namespace zkexec
