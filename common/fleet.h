// SPDX-License-Identifier: Apache-2.0
// Fleet: the live workers, as ZooKeeper shows them, and which partition an entry
// goes to. Wrong views are harmless: the partition only says who looks first.
//
// Threads: the owner's loop. Session: call Start() again in each new one.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/coordinator.h"
#include "common/hash_ring.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"

namespace zkexec {

class Fleet {
 public:
  using Left = std::function<void(const std::string& worker)>;

  // Borrows `zk`. `left` is called when a worker's node is gone.
  Fleet(Coordinator& zk, const Layout& layout, Left left);

  void Start(int partitions);
  // Call when the watch on layout.Workers() fired, and now and then besides.
  void Refresh();

  const std::map<std::string, proto::Worker>& workers() const { return workers_; }
  int live_slots() const;
  bool Serves(const std::string& queue) const;

  // Same key, same worker, while the fleet stays as it is.
  int PartitionFor(const std::string& queue, const std::string& route_key) const;

 private:
  void Rebuild();

  Coordinator& zk_;
  const Layout layout_;
  const Left left_;
  int partitions_ = 1;
  std::map<std::string, proto::Worker> workers_;
  std::map<std::string, HashRing> rings_;  // by queue, over the active workers that serve it
};

// The ring of one queue's partitions and keys. Producers and workers must build
// it alike: active workers that serve `queue`, weighted by slots.
HashRing QueueRing(const std::map<std::string, proto::Worker>& workers, const std::string& queue);
// The key under which a partition lies on its queue's ring.
std::string PartitionKey(const std::string& queue, int partition);

}  // namespace zkexec
