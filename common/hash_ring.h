// SPDX-License-Identifier: Apache-2.0
// HashRing: consistent hashing over weighted nodes. Pure, and the same on every
// host and in every version: producers and workers must agree on it.
//
// Immutable after construction; safe to read from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zkexec {

// FNV-1a with a final mix. Part of the protocol: never change it.
std::uint64_t StableHash(std::string_view key);

class HashRing {
 public:
  // A weight comes from a znode that others write, and costs ten points a unit in the memory of
  // everybody who routes: more than this counts as this. Part of the protocol.
  static constexpr int kWeightMax = 10'000;

  struct Node {
    std::string name;
    int weight = 1;  // its share is proportional; a worker's is its slots
  };

  HashRing() = default;
  // Order of `nodes` does not matter; a weight below 1 counts as 1, above kWeightMax as that.
  explicit HashRing(const std::vector<Node>& nodes);

  bool empty() const { return points_.empty(); }
  // The node that owns `key`. REQUIRES: !empty().
  const std::string& Owner(std::string_view key) const;
  // Up to `count` different nodes, the owner first.
  std::vector<std::string> Preference(std::string_view key, std::size_t count) const;

 private:
  struct Point {
    std::uint64_t hash;
    std::uint32_t node;
  };
  std::vector<std::string> names_;
  std::vector<Point> points_;  // sorted by hash
  std::size_t First(std::string_view key) const;
};

// RingOwners: who owns each of a few keys on a ring that is never made. Its answers are
// HashRing::Owner's, but it keeps of each node only the points that decide, so that a
// thousand nodes need some KB instead of some MB, and one that joins costs only its own
// points. A node that leaves: begin anew.
//
// Not thread-safe.
class RingOwners {
 public:
  explicit RingOwners(const std::vector<std::string>& keys);
  // REQUIRES: a name that has not been added yet.
  void Add(const HashRing::Node& node);
  bool empty() const { return names_.empty(); }
  // In the order in which they were added.
  const std::vector<std::string>& names() const { return names_; }
  // For each key the index into names() of its owner. REQUIRES: !empty().
  std::vector<std::uint32_t> Owners() const;

 private:
  // From a key's hash to the next one's: the first point in it owns the key.
  struct Arc {
    std::uint64_t begin = 0;
    std::size_t key = 0;
    bool hit = false;
    std::uint64_t distance = 0;  // of the first point, from `begin`
    std::uint32_t node = 0;
  };
  Arc& ArcOf(std::uint64_t hash);

  std::vector<Arc> arcs_;              // sorted by `begin`
  std::vector<std::uint32_t> bucket_;  // by a hash's highest bits: how many arcs begin below
  int shift_ = 0;
  std::vector<std::string> names_;
};

}  // namespace zkexec
