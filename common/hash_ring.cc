// SPDX-License-Identifier: Apache-2.0
#include "common/hash_ring.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace zkexec {
namespace {

// Points per unit of the mean weight: 160 keep the shares of equal nodes within
// about 10 % of each other, and a ring of 1,000 workers below 3 MB.
constexpr int kPointsPerNode = 160;

constexpr std::uint64_t kFnvBasis = 14695981039346656037ULL;

std::uint64_t Fnv(std::uint64_t hash, std::string_view text) {
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 1099511628211ULL;
  }
  return hash;
}

// FNV's high bits are weak for short keys that differ at the end only.
std::uint64_t Mix(std::uint64_t hash) {
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdULL;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53ULL;
  hash ^= hash >> 33;
  return hash;
}

// The hashes of "<name>#0", "<name>#1" and so on. A node's points depend on its own weight
// alone, not on the others': a join must move nothing but the joiner's share.
template <typename Use>
void EachPoint(const HashRing::Node& node, const Use& use) {
  constexpr int kReferenceWeight = 16;
  const int weight = std::clamp(node.weight, 1, HashRing::kWeightMax);
  const int points = std::max(1, weight * kPointsPerNode / kReferenceWeight);
  const auto head = Fnv(kFnvBasis, node.name + "#");
  for (int i = 0; i < points; ++i) {
    char digits[12];
    const auto end = std::to_chars(digits, digits + sizeof digits, i).ptr;
    use(Mix(Fnv(head, {digits, static_cast<std::size_t>(end - digits)})));
  }
}

}  // namespace

std::uint64_t StableHash(std::string_view key) { return Mix(Fnv(kFnvBasis, key)); }

HashRing::HashRing(const std::vector<Node>& nodes) {
  if (nodes.empty()) return;
  auto sorted = nodes;
  std::sort(sorted.begin(), sorted.end(),
            [](const Node& a, const Node& b) { return a.name < b.name; });
  for (const auto& node : sorted) {
    const auto index = static_cast<std::uint32_t>(names_.size());
    names_.push_back(node.name);
    EachPoint(node, [this, index](std::uint64_t hash) { points_.push_back({hash, index}); });
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

RingOwners::RingOwners(const std::vector<std::string>& keys) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    arcs_.push_back({StableHash(keys[i]), i, false, 0, 0});
  }
  std::sort(arcs_.begin(), arcs_.end(), [](const Arc& a, const Arc& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.key < b.key;
  });
  // Two buckets an arc: to look for a point's arc takes a step or two.
  const auto buckets = std::bit_ceil(2 * arcs_.size() + 2);
  shift_ = 64 - std::countr_zero(buckets);
  std::uint32_t below = 0;
  for (std::size_t i = 0; i < buckets; ++i) {
    while (below < arcs_.size() && arcs_[below].begin >> shift_ < i) ++below;
    bucket_.push_back(below);
  }
}

RingOwners::Arc& RingOwners::ArcOf(std::uint64_t hash) {
  std::size_t next = bucket_[hash >> shift_];
  while (next < arcs_.size() && arcs_[next].begin <= hash) ++next;
  // Below the first lies the end of the last: it is a ring.
  return next == 0 ? arcs_.back() : arcs_[next - 1];
}

void RingOwners::Add(const HashRing::Node& node) {
  const auto index = static_cast<std::uint32_t>(names_.size());
  names_.push_back(node.name);
  if (arcs_.empty()) return;
  EachPoint(node, [this, index](std::uint64_t hash) {
    auto& arc = ArcOf(hash);
    const auto distance = hash - arc.begin;
    // Between points with the same hash HashRing takes the first name.
    const bool first = !arc.hit || distance < arc.distance ||
                       (distance == arc.distance && names_[index] < names_[arc.node]);
    if (!first) return;
    arc.hit = true;
    arc.distance = distance;
    arc.node = index;
  });
}

std::vector<std::uint32_t> RingOwners::Owners() const {
  std::vector<std::uint32_t> owners(arcs_.size());
  // Without a point of its own a key belongs to the owner of the next one.
  std::uint32_t node = 0;
  for (std::size_t step = 2 * arcs_.size(); step > 0; --step) {
    const auto& arc = arcs_[(step - 1) % arcs_.size()];
    if (arc.hit) node = arc.node;
    owners[arc.key] = node;
  }
  return owners;
}

}  // namespace zkexec
