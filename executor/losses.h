// SPDX-License-Identifier: Apache-2.0
// Losses: finds runs whose worker is gone, and settles what becomes of them.
//
// A running node without a claim has lost its holder. If its incarnation's control
// node is gone as well, the worker's guardian has killed everything and said so:
// then it is settled at once. Otherwise the worker may only have lost its session, and
// has the grace to claim its run again.
//
// What surely started is reported lost; the rest is put back into its queue, where
// Airflow decides at the start whether it had started after all. Both remove the
// running node, which ZooKeeper refuses while a claim exists: that is the gate.
//
// Threads: the owner's loop. Session: call Reset() in each new one.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"
#include "executor/placer.h"

namespace zkexec {

class Losses {
 public:
  // Its running node is removed: report it.
  using Lost = std::function<void(const std::string& dispatch, const std::string& worker)>;
  // Not known to have started: put it back. Its running node is still there.
  using Unstarted =
      std::function<void(const proto::Entry& entry, const Placer::Place& running, int version)>;

  Losses(Duration grace, Coordinator& zk, const Layout& layout, const Clock& clock, Lost lost,
         Unstarted unstarted);

  // Looks whether this run is held.
  void Look(const std::string& dispatch, const Placer::Place& running);
  // Looks again at those that were not held. Call about once a second.
  void LookAgain();
  void Forget(const std::string& dispatch) { suspects_.erase(dispatch); }
  void Reset() { suspects_.clear(); }

 private:
  struct Suspect {
    Placer::Place place;
    TimePoint since{};
    bool busy = false;
  };
  void Examine(const std::string& dispatch);
  void Settle(const std::string& dispatch, const proto::Entry& entry, int version);

  const Duration grace_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const Lost lost_;
  const Unstarted unstarted_;
  std::map<std::string, Suspect> suspects_;
};

}  // namespace zkexec
