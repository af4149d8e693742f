// SPDX-License-Identifier: Apache-2.0
// Backlog: the entries that this worker has seen waiting, best first. A view: an
// entry in it may be gone, the claim decides.
//
// Not thread-safe; used on the owner's loop.
#pragma once

#include <set>
#include <string>
#include <tuple>
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
  void Replace(const std::string& queue, int partition, const std::vector<std::string>& names) {
    std::erase_if(items_, [&](const Item& item) {
      return item.partition == partition && item.queue == queue;
    });
    for (const auto& name : names) items_.insert({name, queue, partition});
  }
  void Remove(const Item& item) { items_.erase(item); }
  void Clear() { items_.clear(); }
  bool empty() const { return items_.empty(); }
  std::size_t size() const { return items_.size(); }
  // Up to `count` of the best.
  std::vector<Item> Best(std::size_t count) const {
    std::vector<Item> best;
    for (auto it = items_.begin(); it != items_.end() && best.size() < count; ++it) {
      best.push_back(*it);
    }
    return best;
  }

 private:
  std::set<Item> items_;
};

}  // namespace zkexec
