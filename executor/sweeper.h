// SPDX-License-Identifier: Apache-2.0
// Sweeper: removes what incarnations left behind that ended without saying so: control/<worker>
// and the empty results/<scheduler>. Both come and go with every restart of a pod; without a sweep
// they would gather for ever.
//
// It waits until it has seen one without its owner for long. An owner that comes back meanwhile is
// safe: the removal is one multi with the creation of the owner's own node, which fails if that
// exists, and an owner registers in one multi with a check of what it needs.
//
// Threads: the owner's loop. Session: a look that a lost session cuts short is repeated.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/layout.h"

namespace zkexec {

class Sweeper {
 public:
  // `after`: for how long an owner must have been missing.
  Sweeper(Duration after, Coordinator& zk, const Layout& layout, const Clock& clock);

  // Looks around if it is time to. Call at every tick while connected.
  void Tick();

 private:
  struct Place {
    std::string remains;         // its children are named after their owners
    std::string owners;          // theirs are the live ones
    bool with_commands = false;  // commands that nobody will obey go along; nothing else does
  };

  void Look(const Place& place);
  void Compare(const Place& place, const std::vector<std::string>& remains,
               const std::set<std::string>& owners);
  void SweepCommands(const Place& place, const std::string& name);
  void Sweep(const Place& place, const std::string& name, std::vector<Op> before);

  const Duration after_;
  Coordinator& zk_;
  const Clock& clock_;
  const std::vector<Place> places_;
  TimePoint next_look_{};
  std::map<std::string, TimePoint> alone_since_;  // by path of what remains
};

}  // namespace zkexec
