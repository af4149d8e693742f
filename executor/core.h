// SPDX-License-Identifier: Apache-2.0
// Core: what the executor knows and decides, in the scheduler process. Pure: it
// sees ZooKeeper through Coordinator and time through Clock.
//
//   Place ─▶ Placer ─▶ queues/ … a worker … results/ ─▶ Collector ─▶ Event
//   a run without a holder ─▶ Losses ─▶ Event "lost", or back to Placer
//   Reconcile, Adopt ─▶ Inspector: queued, running, finished, or Event "gone"
//   Revoke ─▶ Revoker
//
// Its memory is a cache of ZooKeeper: Reconcile asks, in the background and in
// bulk, after everything that it believes live.
//
// Threads:  every method on the owner's loop thread.
// Lifetime: borrows its seams, which must outlive it.
// Session:  survives its loss: in the next session it registers again, settles
//           what was under way and lists what it missed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/fleet.h"
#include "common/layout.h"
#include "common/seal.h"
#include "executor/collector.h"
#include "executor/dispatch.h"
#include "executor/inspector.h"
#include "executor/losses.h"
#include "executor/placer.h"
#include "executor/revoker.h"
#include "executor/router.h"
#include "executor/sweeper.h"

namespace zkexec {

class Core : public Coordinator::Listener, private Placer::Listener {
 public:
  struct Options {
    std::string scheduler;  // unique to this incarnation; one path component
    std::string host;
    std::int64_t pid = 0;
    int partitions = 64;
    std::size_t workload_bytes_max = 512 * 1024;
    Duration poll_interval{5000};        // of results, and of the fleet
    Duration suspect_interval{500};      // between looks at runs whose claim is gone
    Duration reconcile_interval{15000};  // between questions after everything out
    Duration claims_interval{60000};     // between looks at every claim, unprompted
    Duration loss_grace{2000};           // for a worker to claim its runs again
    Duration sweep_after{3600000};       // what the dead left is kept for so long
  };

  Core(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
       const Sealer& sealer, EventSink sink);
  ~Core() override;

  void Place(Placement placement);
  // Takes over what another scheduler placed. Verified once a session is there;
  // what ZooKeeper doesn't know ends as "gone".
  void Adopt(const std::string& dispatch, const std::string& queue);
  // Schedulers whose names start with this are dead, Airflow says: what they still have
  // under way must not arrive any more. Before the next verification.
  void Fence(const std::string& scheduler_prefix);
  // Queued: removed. Held: its worker is told to kill it. No event follows.
  void Revoke(const std::string& dispatch);
  // Their events reached Airflow; what ZooKeeper holds of them may go.
  void Acknowledge(const std::vector<std::string>& dispatches) {
    collector_.Acknowledge(dispatches);
  }
  // Work that is due. Call at least every 100 ms and after every turn of the loop.
  void Tick();

  std::size_t outstanding() const { return dispatches_.size(); }
  bool Believes(const std::string& dispatch) const { return dispatches_.contains(dispatch); }
  std::size_t unplaced() const { return placer_.waiting(); }
  bool ready() const { return ready_; }
  const Fleet& fleet() const { return fleet_; }
  // How many nodes under our root were not ours.
  std::uint64_t strangers() const { return strangers_.count(); }
  const std::string& last_error() const { return last_error_; }

  void OnSession(SessionState state) override;
  void OnChanged(const std::string& path) override;

 private:
  struct Dispatch {
    enum class State { kWaiting, kPlaced, kToVerify };
    State state = State::kWaiting;
    Placer::Place place;
    bool counted = false;     // as load, by the router
    std::uint64_t round = 0;  // of the reconciliation during which its state last changed
  };

  void Begin();
  void OnTree(int partitions);
  void Emit(Event event);
  void Forget(const std::string& dispatch);

  void OnPlaced(const std::string& dispatch, const Placer::Place& place) override;
  void OnRejected(const std::string& dispatch, const std::string& why) override;
  void OnFenced() override;
  void OnStillRunning(const std::string& dispatch, const std::string& queue) override;
  void PutBack(const proto::Entry& entry, const Placer::Place& running, int version);

  // reconcile.cc
  void Reconcile();
  void SendFences(Coordinator::StatusCallback done);
  void OnListing(std::uint64_t round, const Result<Inspector::Listing>& listing);
  void OnResultsListed(std::uint64_t round, const std::set<std::string>& missing);
  std::vector<std::string> Queues() const;

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const EventSink sink_;
  Strangers strangers_;
  Fleet fleet_;
  Router router_;
  Placer placer_;
  Collector collector_;
  Inspector inspector_;
  Losses losses_;
  Revoker revoker_;
  Sweeper sweeper_;

  bool ready_ = false;
  bool beginning_ = false;
  TimePoint begin_again_at_{};
  int partitions_ = 0;
  TimePoint next_poll_{};
  TimePoint next_suspect_{};
  TimePoint next_reconcile_{};
  TimePoint next_claims_{};
  bool look_at_claims_ = false;  // of every run of ours, with the next reconciliation
  bool verify_ = false;          // something was adopted, or a reconciliation failed
  bool adopted_ = false;         // ever: then the results of all schedulers are read
  bool read_all_ = false;        // and must be for what was adopted lately
  bool reconciling_ = false;
  std::uint64_t round_ = 1;
  std::set<std::string> fences_;  // prefixes of dead schedulers' names, not fenced yet
  std::string last_error_;
  std::map<std::string, Dispatch> dispatches_;
  // Those that came back for a fresh token, which a lost worker may have started before: should
  // Airflow refuse the next start, then they are that worker's loss.
  std::map<std::string, std::string> lost_by_;
  std::set<std::string> revoked_unplaced_;  // on their way into a queue when they were revoked
};

}  // namespace zkexec
