// SPDX-License-Identifier: Apache-2.0
#include "common/hash_ring.h"

#include <algorithm>

namespace zkexec {
namespace {

// Points per unit of the mean weight: 160 keep the shares of equal nodes within
// about 10 % of each other, and a ring of 1,000 workers below 3 MB.
constexpr int kPointsPerNode = 160;

}  // namespace

std::uint64_t StableHash(std::string_view key) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : key) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  // FNV's high bits are weak for short keys that differ at the end only.
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdULL;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53ULL;
  hash ^= hash >> 33;
  return hash;
}

HashRing::HashRing(const std::vector<Node>& nodes) {
  if (nodes.empty()) return;
  auto sorted = nodes;
  std::sort(sorted.begin(), sorted.end(),
            [](const Node& a, const Node& b) { return a.name < b.name; });
  // A node's points depend on its own weight alone, not on the others': a join
  // must move nothing but the joiner's share.
  constexpr int kReferenceWeight = 16;
  for (const auto& node : sorted) {
    const int weight = std::max(1, node.weight);
    const int points = std::max(1, weight * kPointsPerNode / kReferenceWeight);
    const auto index = static_cast<std::uint32_t>(names_.size());
    names_.push_back(node.name);
    for (int i = 0; i < points; ++i) {
      points_.push_back({StableHash(node.name + "#" + std::to_string(i)), index});
    }
  }
  std::sort(points_.begin(), points_.end(), [](const Point& a, const Point& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.node < b.node;
  });
}

std::size_t HashRing::First(std::string_view key) const {
  const auto hash = StableHash(key);
  const auto it =
      std::lower_bound(points_.begin(), points_.end(), hash,
                       [](const Point& point, std::uint64_t h) { return point.hash < h; });
  return it == points_.end() ? 0 : static_cast<std::size_t>(it - points_.begin());
}

const std::string& HashRing::Owner(std::string_view key) const {
  return names_[points_[First(key)].node];
}

std::vector<std::string> HashRing::Preference(std::string_view key, std::size_t count) const {
  std::vector<std::string> chosen;
  if (points_.empty()) return chosen;
  count = std::min(count, names_.size());
  std::vector<bool> seen(names_.size(), false);
  for (std::size_t i = First(key), step = 0; chosen.size() < count && step < points_.size();
       i = (i + 1) % points_.size(), ++step) {
    const auto node = points_[i].node;
    if (seen[node]) continue;
    seen[node] = true;
    chosen.push_back(names_[node]);
  }
  return chosen;
}

}  // namespace zkexec
