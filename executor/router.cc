// SPDX-License-Identifier: Apache-2.0
#include "executor/router.h"

#include <algorithm>

namespace zkexec {
namespace {

// So many workers are asked for room before the least loaded of them is taken.
constexpr std::size_t kPreferences = 32;
constexpr double kBound = 1.25;

}  // namespace

std::string RingKey(const std::string& route_key) { return "key/" + route_key; }

std::vector<std::vector<std::string>> PreferredNodes(const std::vector<HashRing::Node>& nodes,
                                                     const std::vector<std::string>& route_keys,
                                                     std::size_t count) {
  const HashRing ring(nodes);
  std::vector<std::vector<std::string>> preferred;
  preferred.reserve(route_keys.size());
  for (const auto& key : route_keys) preferred.push_back(ring.Preference(RingKey(key), count));
  return preferred;
}

void Router::Count(const std::string& queue, int partition, int slots) {
  auto& partitions = out_[queue];
  auto& here = partitions[partition];
  here += slots;
  if (here <= 0) partitions.erase(partition);
  if (generation_ != fleet_.generation()) return;  // summed at the next choice
  const auto* shares = fleet_.Shares(queue);
  if (shares == nullptr || partition >= fleet_.partitions()) return;
  load_[shares->Owner(partition)] += slots;
  total_ += slots;
}

void Router::Update() {
  if (generation_ == fleet_.generation()) return;
  generation_ = fleet_.generation();
  load_.clear();
  total_ = 0;
  for (const auto& [queue, partitions] : out_) {
    const auto* shares = fleet_.Shares(queue);
    if (shares == nullptr) continue;
    for (const auto& [partition, slots] : partitions) {
      if (partition >= fleet_.partitions()) continue;
      load_[shares->Owner(partition)] += slots;
      total_ += slots;
    }
  }
}

int Router::LoadOf(const std::string& worker) {
  Update();
  const auto found = load_.find(worker);
  return found == load_.end() ? 0 : found->second;
}

int Router::Choose(const std::string& queue, const std::string& route_key,
                   const std::string& dispatch, int slots) {
  Update();
  const auto spread = StableHash(dispatch);
  const auto* shares = fleet_.Shares(queue);
  if (shares == nullptr) {
    return static_cast<int>(spread % static_cast<std::uint64_t>(fleet_.partitions()));
  }
  const double mean = static_cast<double>(total_ + slots) / std::max(1, fleet_.live_slots());
  const std::vector<int>* bounded = nullptr;
  const std::vector<int>* least = nullptr;
  double least_load = 0;
  for (const auto& worker : shares->ring().Preference(RingKey(route_key), kPreferences)) {
    const auto* owned = shares->Owned(worker);
    if (owned == nullptr) continue;  // more workers than partitions
    const int capacity = std::max(1, static_cast<int>(fleet_.workers().at(worker).slots()));
    const int load = LoadOf(worker) + slots;
    if (load <= capacity) return (*owned)[spread % owned->size()];
    const double relative = static_cast<double>(load) / capacity;
    if (bounded == nullptr && relative <= kBound * mean) bounded = owned;
    if (least == nullptr || relative < least_load) {
      least = owned;
      least_load = relative;
    }
  }
  const auto* chosen = bounded != nullptr ? bounded : least;
  if (chosen == nullptr) {
    return static_cast<int>(spread % static_cast<std::uint64_t>(fleet_.partitions()));
  }
  return (*chosen)[spread % chosen->size()];
}

}  // namespace zkexec
