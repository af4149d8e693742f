// SPDX-License-Identifier: Apache-2.0
// HashRing: consistent hashing over weighted nodes. Pure, and the same on every
// host and in every version: producers and workers must agree on it.
//
// Immutable after construction; safe to read from any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zkexec {

// FNV-1a with a final mix. Part of the protocol: never change it.
std::uint64_t StableHash(std::string_view key);

class HashRing {
 public:
  struct Node {
    std::string name;
    int weight = 1;  // its share is proportional; a worker's is its slots
  };

  HashRing() = default;
  // Order of `nodes` does not matter; a weight below 1 counts as 1.
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

}  // namespace zkexec
