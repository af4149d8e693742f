// SPDX-License-Identifier: Apache-2.0
// Agent: the worker's decisions. Registers, claims, starts, finishes, drains.
//
// A run's life:
//
//   entry ─claim─▶ kClaimed ─start─▶ kRunning ─exit─▶ kFinishing ─result─▶ gone
//                     │ (only under a live lease)
//   claim with a lost reply ─▶ kInDoubt ─ZooKeeper asked─▶ kClaimed, or not ours
//
// Threads:  the owner's loop. Lifetime: borrows its seams.
// Session:  runs survive its loss. In the next session each is claimed again; one
//           whose node is gone was declared lost meanwhile, and is killed. Nothing
//           is started without a live lease.
#pragma once

#include <cstdint>
#include <deque>
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
#include "worker/backlog.h"
#include "worker/launcher.h"
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
    int partitions = 64;             // for a tree that does not exist yet
    Duration relist_interval{5000};  // looks without a watch: the safety net
    Duration drain_timeout{600000};  // then the tasks are ended
    Duration kill_grace{10000};      // from SIGTERM to SIGKILL
  };

  Agent(Options options, Coordinator& zk, const Layout& layout, Launcher& launcher,
        const Clock& clock, const Sealer& sealer, Observer& observer);
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
  int running() const { return static_cast<int>(runs_.size()); }
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
    proto::Entry entry;  // without the sealed workload once it runs
    std::string queue;
    int partition = 0;
    std::string workload;  // cleared at the start
    std::string claim;     // path of our claim; empty while we hold none
    int slots = 1;
    TimePoint started{};
    bool kill_asked = false;
    bool revoked = false;    // killed because its scheduler asked, not by our drain
    bool abandoned = false;  // declared lost by others: no result is due
    TimePoint kill_at{};     // SIGKILL is due; unset: epoch
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

  void Begin();
  void Register(int partitions);
  void Fail(const Error& error);
  void UpdateNode();
  proto::Worker Self(const Controls& controls) const;
  proto::Worker Self() const { return Self(controls_); }

  void Relist();
  void ListPartition(const std::string& queue, int partition);
  bool Owns(const std::string& queue, int partition) const;
  // Nothing new is taken: told to stop, or about to learn whether we are.
  bool Holds() const { return draining_ || obeying_ || !controls_.pause.empty(); }
  bool Serves(const std::string& queue) const;
  void Claim();
  void Fetch(std::vector<Backlog::Item> items);
  void TryClaim(std::vector<Run> batch, std::vector<Backlog::Item> items);
  void Refuse(const Backlog::Item& item, const std::string& reason, const std::string& why);
  bool Accept(const Backlog::Item& item, const NodeData& node, Run* run);
  void Settle(const std::string& dispatch);
  void ClaimAgain(const std::string& dispatch);
  // Of the children of a running node: the path of our claim, empty without one.
  std::string OurClaim(const std::string& running_node,
                       const std::vector<std::string>& names) const;

  void StartDue();
  void EscalateKills();
  void Finish(const std::string& dispatch);
  void OnFinished(const std::string& dispatch, const Result<std::vector<OpResult>>& result);
  void Drop(const std::string& dispatch);
  // commands.cc. Commands are obeyed one at a time: each is removed in the multi
  // that makes it true in our node.
  void ListControl();
  void ObeyNext();
  void StopObeying();
  void Obey(const std::string& path, const proto::Command& command);
  void Confirm(const std::string& path, const proto::Command& command, const Controls& next);
  void Adopt(const Controls& next);
  void Reject(const std::string& path, const std::string& why);

  void Revoke(const std::string& dispatch);
  void Kill(const std::string& dispatch, Launcher::Signal signal);

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  Launcher& launcher_;
  const Clock& clock_;
  const Sealer& sealer_;
  Observer& observer_;
  Fleet fleet_;
  const std::string guid_;  // of our claims, to know them after a lost reply
  const std::int64_t started_unix_ms_;
  Controls controls_;

  bool ready_ = false;
  bool launcher_ready_ = true;
  bool beginning_ = false;
  TimePoint begin_again_at_{};
  int partitions_ = 0;
  TimePoint next_relist_{};
  bool claiming_ = false;
  bool draining_ = false;
  TimePoint drain_until_{};
  bool ending_ = false;  // the drain's time is over
  std::string last_error_;
  Backlog backlog_;
  std::map<std::string, HashRing> rings_;  // by queue
  std::set<std::string> refused_;          // entries and commands, by path: told once
  std::map<std::string, Run> runs_;        // by dispatch
  bool obeying_ = false;                   // from the listing of commands to the last one's end
  bool list_again_ = false;                // control/ changed meanwhile
  bool in_doubt_ = false;                  // a command's reply was lost: our node may be old
  std::deque<std::string> commands_;       // names, in the order to obey
};

}  // namespace zkexec
