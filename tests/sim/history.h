// SPDX-License-Identifier: Apache-2.0
// History: what happened to each dispatch in a simulated world, and the rules that
// it must not break. The first broken one is kept.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/layout.h"
#include "tests/fakes/fake_server.h"

namespace zkexec::sim {

class History {
 public:
  struct Record {
    bool task = true;  // Airflow refuses its second start; nobody refuses a callback's
    int priority = 0;
    int starts = 0;
    int put_backs = 0;  // by its scheduler, after its worker was lost
    bool gate = false;  // Airflow has taken it for running
    bool revoked = false;
    bool orphaned = false;  // revoked by a scheduler that died before it was done
    int queued = 0;         // the beat at which it last came into its queue
    bool token_refused = false;
    std::set<std::string> finished;  // what its processes came to
    std::string outcome;             // the event that ended it for Airflow; empty: none yet
  };

  History(const FakeServer& server, const Layout& layout) : server_(server), layout_(layout) {}

  void Accepted(const std::string& dispatch, bool task, int priority);
  void Revoked(const std::string& dispatch) { records_.at(dispatch).revoked = true; }

  // R2, and the lease: whoever starts it holds it in ZooKeeper at that moment.
  void Started(const std::string& dispatch, const std::string& worker, SessionId session);
  // R2: false if Airflow refuses it, because it has started before.
  bool PassGate(const std::string& dispatch);
  void Finished(const std::string& dispatch, const std::string& outcome);
  // R5: killed because it was lost to its worker: then ZooKeeper must say so.
  void KilledAsLost(const std::string& dispatch, const std::string& worker);
  // R1, R3, R4: the event must be true.
  void Ended(const std::string& dispatch, const std::string& outcome);
  // R1 and R8, at each commit. `lone_worker`: nobody else could have taken what was waiting.
  void Committed(const std::vector<Op>& ops, bool by_worker, bool lone_worker);

  // Time passed, with no message under way.
  void Beat() { ++beat_; }
  // Everything accepted has ended, and ZooKeeper holds nothing of it any more.
  bool AllEnded() const;
  void ExpectAllEnded();

  std::map<std::string, Record>& records() { return records_; }
  const std::map<std::string, Record>& records() const { return records_; }
  const std::string& violation() const { return violation_; }
  void Violate(const std::string& rule, const std::string& what);
  // Where ZooKeeper holds the dispatch: "queues", "running", "results"; empty: nowhere.
  std::string Where(const std::string& dispatch) const;

 private:
  std::string HolderOf(const std::string& dispatch) const;
  void CheckOrder(const std::string& claimed);

  const FakeServer& server_;
  const Layout layout_;
  std::map<std::string, Record> records_;
  std::string violation_;
  int beat_ = 0;
};

}  // namespace zkexec::sim
