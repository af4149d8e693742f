// SPDX-License-Identifier: Apache-2.0
// Core: what the executor knows and decides, in the scheduler process. Pure: it
// sees ZooKeeper through Coordinator and time through Clock.
//
//   Place ─▶ Placer ─▶ queues/ … a worker … results/ ─▶ Collector ─▶ Event
//   a worker's node gone ─▶ its running nodes without a claim ─▶ Event "lost"
//   Adopt ─▶ Inspector: queued, running, finished, or Event "gone"
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
#include "executor/placer.h"

namespace zkexec {

class Core : public Coordinator::Listener {
 public:
  struct Options {
    std::string scheduler;  // unique to this incarnation; one path component
    std::string host;
    std::int64_t pid = 0;
    int partitions = 64;
    std::size_t workload_bytes_max = 512 * 1024;
    Duration poll_interval{5000};     // of results, and of the fleet
    Duration suspect_interval{1000};  // between looks at runs whose claim is gone
    Duration audit_interval{60000};   // between looks at every run, unprompted
    Duration loss_grace{4000};        // for a worker to claim its runs again
  };

  Core(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
       const Sealer& sealer, EventSink sink);
  ~Core() override;

  void Place(Placement placement);
  // Takes over what another scheduler placed. Verified once a session is there;
  // what ZooKeeper doesn't know ends as "gone".
  void Adopt(const std::string& dispatch, const std::string& queue);
  // Queued: removed. Held: its worker is told to kill it. No event follows.
  void Revoke(const std::string& dispatch);
  // Its event reached Airflow; what ZooKeeper holds of it may go.
  void Acknowledge(const std::string& dispatch) { collector_.Acknowledge(dispatch); }
  // Work that is due. Call at least every 100 ms and after every turn of the loop.
  void Tick();

  std::size_t outstanding() const { return dispatches_.size(); }
  std::size_t unplaced() const { return placer_.waiting(); }
  bool ready() const { return ready_; }
  const Fleet& fleet() const { return fleet_; }
  const std::string& last_error() const { return last_error_; }

  void OnSession(SessionState state) override;
  void OnChanged(const std::string& path) override;

 private:
  struct Dispatch {
    enum class State { kWaiting, kPlaced, kToVerify };
    State state = State::kWaiting;
    Placer::Place place;
    // While its running node has no claim.
    bool suspected = false;
    TimePoint suspected_since{};
  };

  void Begin();
  void OnTree(int partitions);
  void Emit(Event event);
  void Verify();
  void LookForLost();
  void Judge(const std::string& dispatch, const Placer::Place& place);
  void DeclareLost(const std::string& dispatch, const Placer::Place& place);
  void Kill(const Placer::Place& place, const std::string& dispatch);
  std::vector<std::string> Queues() const;

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const EventSink sink_;
  Fleet fleet_;
  Placer placer_;
  Collector collector_;
  Inspector inspector_;

  bool ready_ = false;
  bool beginning_ = false;
  TimePoint begin_again_at_{};
  int partitions_ = 0;
  TimePoint next_poll_{};
  TimePoint next_suspect_{};
  TimePoint next_audit_{};
  bool suspect_all_ = false;  // a worker left: look at every run
  bool looking_ = false;
  bool verifying_ = false;
  std::string last_error_;
  std::map<std::string, Dispatch> dispatches_;
};

}  // namespace zkexec
