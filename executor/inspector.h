// SPDX-License-Identifier: Apache-2.0
// Inspector: finds where dispatches are. Absence is decidable: a dispatch only
// moves from queues to running to results, so what is in none of the three,
// looked at in this order after a sync, is gone.
//
// Threads: the owner's loop. Session: a listing that a lost session cuts short
// reports the error; ask again.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/coordinator.h"
#include "common/layout.h"
#include "executor/placer.h"

namespace zkexec {

class Inspector {
 public:
  struct Listing {
    std::map<std::string, Placer::Place> queued;   // by dispatch
    std::map<std::string, Placer::Place> running;  // by dispatch; entry is empty
  };
  using Listed = std::function<void(Result<Listing>)>;

  Inspector(Coordinator& zk, const Layout& layout);

  // Everything that lies in `queues`, waiting and running. One listing per
  // partition; none of the data is read.
  void List(const std::vector<std::string>& queues, int partitions, Listed done);

 private:
  Coordinator& zk_;
  const Layout layout_;
};

}  // namespace zkexec
