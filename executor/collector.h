// SPDX-License-Identifier: Apache-2.0
// Collector: reads results, hands them on, deletes them once they were taken.
//
// A result's name says dispatch and outcome, so one listing answers for all;
// only what did not succeed is read for its reason. A watch tells of new ones,
// and the owner's slow timer asks anyway. A result stays until whoever got it says
// so: a crash before that shows it again, to this scheduler or to its heir.
//
// Threads: the owner's loop. Session: call Resume() in each new one.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/coordinator.h"
#include "common/layout.h"
#include "common/strangers.h"
#include "executor/dispatch.h"

namespace zkexec {

class Collector {
 public:
  // True if the dispatch is one of ours: then it is handed on. False
  // leaves it in a dead scheduler's directory, and deletes it in our own.
  using Wanted = std::function<bool(const std::string& dispatch)>;

  // Borrows all but the name and the two functions.
  Collector(std::string scheduler, Coordinator& zk, const Layout& layout, Strangers& strangers,
            Wanted wanted, EventSink sink);

  void Resume();
  void Suspend();
  // The watch on a results directory fired.
  void OnChanged(const std::string& path);
  // The events of these dispatches were taken: their results may go.
  void Acknowledge(const std::vector<std::string>& dispatches);
  // A result of it was seen, and its event is not out yet.
  bool Knows(const std::string& dispatch) const { return known_.contains(dispatch); }
  // Lists everything again, whatever the watches said.
  void Poll();
  // The same, and says when all is listed.
  void ListAll(Coordinator::StatusCallback done);
  // From now on the results of all schedulers are read: what one has placed may have been
  // adopted, and adopted again. Only what is wanted is taken.
  void ListAllSchedulers(Coordinator::StatusCallback done);

 private:
  void List(const std::string& dir, Coordinator::StatusCallback done);
  void Apply(const std::string& dir, const std::vector<std::string>& names);
  void Read(const std::string& dir, const std::string& name, Event event);
  void HandOn(const std::string& dir, const std::string& name, Event event);
  void Remove(const std::string& dir, const std::vector<std::string>& names);
  void SendRemovals();
  bool IsOwn(const std::string& dir) const { return dir == layout_.ResultDir(scheduler_); }

  const std::string scheduler_;
  Coordinator& zk_;
  const Layout layout_;
  Strangers& strangers_;
  const Wanted wanted_;
  const EventSink sink_;

  bool active_ = false;
  std::set<std::string> dirs_;
  std::set<std::string> reading_;  // full paths whose reason is under way
  std::set<std::string> known_;    // dispatches: seen, not handed on
  struct HandedOn {
    std::string dir;
    std::string name;
  };
  std::map<std::string, HandedOn> handed_on_;  // by dispatch; not acknowledged yet
  // Full paths that must go, until ZooKeeper has said that they have: a result that was
  // acknowledged must never be read as that of a later placement under the same id.
  std::set<std::string> to_remove_;
  bool removing_ = false;
};

}  // namespace zkexec
