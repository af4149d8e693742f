// SPDX-License-Identifier: Apache-2.0
// Router: which partition a dispatch goes to. Consistent hashing with bounded loads.
//
// The key's ring position names workers in order of preference; the first with
// a free slot gets it, so that a key stays where it is warm. When none has one, the
// first below 1.25 times the fleet's mean load does, so that a hot key spills
// over evenly. "Load" is what this scheduler has out; another scheduler's share
// is not seen, and what it makes wrong is mended by workers that steal.
//
// Threads: the owner's loop. Pure but for the Fleet that it borrows.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/fleet.h"

namespace zkexec {

// The key under which a route key lies on a queue's ring.
std::string RingKey(const std::string& route_key);
// For each route key the nodes that it prefers, up to `count`, on a ring of these nodes: what
// the router would try first, for those who place by the same ring.
std::vector<std::vector<std::string>> PreferredNodes(const std::vector<HashRing::Node>& nodes,
                                                     const std::vector<std::string>& route_keys,
                                                     std::size_t count);

class Router {
 public:
  explicit Router(const Fleet& fleet) : fleet_(fleet) {}

  int Choose(const std::string& queue, const std::string& route_key, const std::string& dispatch,
             int slots);

  // What is out in a partition counts as load of the worker that owns it.
  void Add(const std::string& queue, int partition, int slots) { Count(queue, partition, slots); }
  void Remove(const std::string& queue, int partition, int slots) {
    Count(queue, partition, -slots);
  }
  int LoadOf(const std::string& worker);

 private:
  void Count(const std::string& queue, int partition, int slots);
  // Loads are summed anew when shares have changed hands.
  void Update();

  const Fleet& fleet_;
  std::uint64_t generation_ = 0;
  std::map<std::string, std::map<int, int>> out_;  // slots by queue and partition; no zeros
  std::map<std::string, int> load_;                // slots by worker
  int total_ = 0;                                  // of load_
};

}  // namespace zkexec
