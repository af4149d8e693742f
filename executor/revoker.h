// SPDX-License-Identifier: Apache-2.0
// Revoker: takes dispatches back. Queued: removed. Held: its worker is told to
// kill it, and the dispatch is looked after until nothing of it is left.
//
// Threads: the owner's loop. Session: what a lost session cut short is tried again.
#pragma once

#include <map>
#include <string>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/layout.h"
#include "executor/inspector.h"
#include "executor/placer.h"

namespace zkexec {

class Revoker {
 public:
  Revoker(Duration grace, Coordinator& zk, const Layout& layout, const Clock& clock,
          Inspector& inspector);

  // `place` may lack the partition: then it is looked for.
  void Revoke(const std::string& dispatch, const Placer::Place& place);
  void Resume(int partitions);
  void Suspend() { active_ = false; }
  // Work that is due. Call at least every second.
  void Tick();

 private:
  struct Pending {
    Placer::Place place;
    bool busy = false;
    bool told = false;  // its worker
    TimePoint next{};
    TimePoint unheld_since{};  // epoch: held, or not looked at yet
  };
  void Step(const std::string& dispatch);
  void Find(const std::string& dispatch);
  void RemoveEntry(const std::string& dispatch);
  void LookAtRun(const std::string& dispatch);
  void RemoveRun(const std::string& dispatch);
  // The pending revocation, no longer busy; null if it is settled already.
  Pending* Back(const std::string& dispatch);

  const Duration grace_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  Inspector& inspector_;
  bool active_ = false;
  int partitions_ = 0;
  std::map<std::string, Pending> pending_;
};

}  // namespace zkexec
