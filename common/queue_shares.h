// SPDX-License-Identifier: Apache-2.0
// QueueShares: which worker looks after which partition of one queue, by consistent
// hashing weighted with slots. Producers and workers must build it alike.
//
// Not thread-safe; used on the owner's loop.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/hash_ring.h"

namespace zkexec {

class QueueShares {
 public:
  QueueShares(const std::string& queue, int partitions);

  // REQUIRES: a worker that has not been added yet. One that leaves: begin anew.
  void Add(const std::string& worker, int slots);
  bool empty() const { return nodes_.empty(); }
  int workers() const { return static_cast<int>(nodes_.size()); }

  // The references are valid until the next Add().
  // REQUIRES: !empty().
  const std::string& Owner(int partition) const;
  // Ascending; null if the worker owns none: there are more workers than partitions.
  const std::vector<int>* Owned(const std::string& worker) const;
  // For other keys than partitions. Costs some MB in a fleet of a thousand: made when it is
  // first asked for, which a worker never does.
  const HashRing& ring() const;

 private:
  void Resolve() const;

  std::vector<HashRing::Node> nodes_;
  RingOwners owners_;
  // Made when first asked for after an Add().
  mutable bool resolved_ = false;
  mutable std::vector<std::uint32_t> owner_;  // by partition: an index into nodes_
  mutable std::map<std::string, std::vector<int>> owned_;
  mutable std::optional<HashRing> ring_;
};

// The key under which a partition lies on its queue's ring.
std::string PartitionKey(const std::string& queue, int partition);

}  // namespace zkexec
