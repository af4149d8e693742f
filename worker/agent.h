// SPDX-License-Identifier: Apache-2.0
// Agent: the worker's decisions. Registers, claims, starts, finishes, drains.
//
// A run's life:
//
//   entry ─claim─▶ kClaimed ─start─▶ kRunning ─exit─▶ kFinishing ─result─▶ gone
//                     │ (only under a live lease)
//   claim with a lost reply ─▶ kInDoubt ─ZooKeeper asked─▶ kClaimed, or not ours
//
// Files: agent.cc its life; commands.cc its operators; claiming.cc from the queue to a claim;
// starting.cc starts and kills; holding.cc what ZooKeeper says of our runs; finishing.cc results.
//
// Threads:  the owner's loop. Lifetime: borrows its seams.
// Session:  runs survive its loss. In the next session each is claimed again; one
//           whose node is gone, or names another worker, was lost to us meanwhile,
//           and is killed. Nothing is started without a live lease.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/fleet.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"
#include "common/seal.h"
#include "worker/journal.h"
#include "worker/launcher.h"
#include "worker/lookout.h"
#include "worker/observer.h"

namespace zkexec {

class Agent : public Coordinator::Listener, public Launcher::Listener {
 public:
  struct Options {
    std::string worker;  // unique to this incarnation; one path component
    std::string host;
    std::int64_t pid = 0;
    std::string version;
    int http_port = 0;
    std::vector<std::string> queues;
    int slots = 16;
    // What an operator's command may make of slots.
    int slots_max = std::numeric_limits<int>::max();
    int partitions = 64;             // for a tree that does not exist yet
    Duration relist_interval{5000};  // looks without a watch: the safety net
    Duration drain_timeout{600000};  // then the tasks are ended
    Duration kill_grace{10000};      // from SIGTERM to SIGKILL
  };

  Agent(Options options, Coordinator& zk, const Layout& layout, Launcher& launcher,
        const Clock& clock, const Sealer& sealer, Observer& observer, Journal& journal);
  ~Agent() override;

  // Work that is due. Call after every turn of the loop and every 100 ms.
  void Tick();
  // Stop claiming; finish what runs. Call once; a second call ends the tasks now.
  void Drain();
  // Nothing is claimed while the launcher can't start anything.
  void SetLauncherReady(bool ready) { launcher_ready_ = ready; }
  // Drained: nothing runs and every result is in ZooKeeper.
  bool drained() const { return draining_ && runs_.empty(); }

  bool ready() const { return ready_; }
  bool draining() const { return draining_; }
  // All that we hold: claimed, running, or with a result that is not in ZooKeeper yet.
  int running() const { return static_cast<int>(runs_.size()); }
  // Of these: what a process runs, and results that wait for ZooKeeper.
  int executing() const { return CountRuns(State::kRunning); }
  int results_waiting() const { return CountRuns(State::kFinishing); }
  int slots() const { return controls_.slots; }
  int slots_used() const;
  const std::string& last_error() const { return last_error_; }

  void OnSession(SessionState state) override;
  void OnChanged(const std::string& path) override;
  void OnExit(const ExitReport& report) override;

 private:
  enum class State { kInDoubt, kClaimed, kRunning, kFinishing };
  struct Run {
    State state = State::kClaimed;
    proto::Entry entry;  // without the sealed workload once it is claimed
    std::string queue;
    int partition = 0;
    std::string holder;    // the worker that its running node must name
    std::string workload;  // cleared at the start
    std::string claim;     // path of our claim; empty while we hold none
    int slots = 1;
    TimePoint claimed{};
    TimePoint started{};
    bool unsure = false;  // what ZooKeeper says of it must be read before it is touched
    bool marked = false;  // its running node says that it has started
    bool kill_asked = false;
    bool revoked = false;    // killed because its scheduler asked, not by our drain
    bool abandoned = false;  // lost to us: no result is due
    bool kept = false;       // its result is in the journal
    TimePoint kill_at{};     // SIGKILL is due; unset: epoch
    TimePoint retry_at{};    // of its finish
    ExitReport report;
    bool busy = false;  // an operation on its nodes is under way
  };
  // What an operator can change while we run; survives the session.
  struct Controls {
    int slots = 0;
    std::vector<std::string> queues;
    std::string pause;  // draining or maintenance, as the node says it; empty: none
    std::string comment;

    bool operator==(const Controls&) const = default;
  };
  using Runs = std::map<std::string, Run>;  // by dispatch

  // agent.cc
  int CountRuns(State state) const;
  void Begin();
  void Register(int partitions);
  void OnRegistered(int partitions);
  void TakeOverJournal();
  void Fail(const Error& error);
  void UpdateNode();
  proto::Worker Self(const Controls& controls) const;
  proto::Worker Self() const { return Self(controls_); }
  // What we take others for in a large fleet: configured like us, as most are.
  proto::Worker Guess() const;

  // commands.cc. Commands are obeyed one at a time: each is removed in the multi
  // that makes it true in our node.
  void ListControl();
  void ObeyNext();
  void StopObeying();
  void Obey(const std::string& path, const proto::Command& command);
  void Confirm(const std::string& path, const proto::Command& command, const Controls& next);
  void Adopt(const Controls& next);
  void Reject(const std::string& path, const std::string& why);

  // claiming.cc
  // Nothing new is taken: told to stop, or about to learn whether we are.
  bool Holds() const { return draining_ || obeying_ || !controls_.pause.empty(); }
  int Free() const;
  void Claim();
  void Fetch(std::vector<Backlog::Item> items);
  void OnFetched(const std::vector<Backlog::Item>& items,
                 const std::vector<Result<NodeData>>& nodes);
  void TryClaim(std::vector<Run> batch, std::vector<Backlog::Item> items);
  void OnClaimed(std::vector<Run> batch, std::vector<Backlog::Item> items,
                 const Result<std::vector<OpResult>>& result);
  void Refuse(const Backlog::Item& item, const std::string& reason, const std::string& why);
  bool Accept(const Backlog::Item& item, const NodeData& node, Run* run);

  // starting.cc
  void StartDue();
  void MarkDue();
  void Mark(const std::vector<std::string>& dispatches);
  void Revoke(const std::string& dispatch);
  // `cause`: a word of Observer::OnKilled.
  void Kill(const std::string& dispatch, Launcher::Signal signal, const char* cause);
  void EscalateKills();

  // holding.cc
  void ExamineDue();
  void Examine(const std::string& dispatch);
  void OnExamined(const std::string& dispatch, const Result<NodeData>& node,
                  const Result<std::vector<std::string>>& claims);
  void ClaimAgain(const std::string& dispatch, int version);
  void Abandon(const std::string& dispatch);
  void RemoveStrayClaims();
  std::string NodeOf(const std::string& dispatch, const Run& run) const;
  // Of the children of a running node: the path of our claim, empty without one.
  std::string OurClaim(const std::string& running_node,
                       const std::vector<std::string>& names) const;

  // finishing.cc
  void FinishDue();
  void Finish(const std::vector<std::string>& dispatches);
  void OnFinished(const std::vector<std::string>& dispatches, const std::vector<int>& run_of_op,
                  const Result<std::vector<OpResult>>& result);
  void Keep(const std::string& dispatch, Run& run);
  void Drop(const std::string& dispatch);

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  Launcher& launcher_;
  const Clock& clock_;
  const Sealer& sealer_;
  Observer& observer_;
  Journal& journal_;
  const std::string guid_;  // of our claims, to know them after a lost reply
  const std::int64_t started_unix_ms_;
  Controls controls_;
  Strangers strangers_;
  Fleet fleet_;
  Lookout lookout_;

  bool ready_ = false;
  bool launcher_ready_ = true;
  bool beginning_ = false;
  bool journal_read_ = false;
  TimePoint begin_again_at_{};
  TimePoint next_refresh_{};  // of fleet and commands, whatever the watches say
  int claims_under_way_ = 0;
  int reserved_ = 0;           // slots for what is being claimed
  std::string blocked_entry_;  // the best entry, which needs more room than there was
  int blocked_slots_ = 0;
  int finishes_under_way_ = 0;
  bool draining_ = false;
  TimePoint drain_until_{};
  bool ending_ = false;  // the drain's time is over
  std::string last_error_;
  Runs runs_;
  std::set<std::string> stray_claims_;  // paths of claims of ours that must go
  bool obeying_ = false;                // from the listing of commands to the last one's end
  bool list_again_ = false;             // control/ changed meanwhile
  bool in_doubt_ = false;               // a command's reply was lost: our node may be old
  std::deque<std::string> commands_;    // names, in the order to obey
  std::set<std::string> refused_;       // commands, by path: told once
};

}  // namespace zkexec
