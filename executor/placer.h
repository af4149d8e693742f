// SPDX-License-Identifier: Apache-2.0
// Placer: puts workloads into the queues, each exactly once.
//
// Whatever gathers while multis are under way is the next one; further multis go out
// behind the first only when they are full. Each moves the producer's counter by one at
// its expected version and leaves its mark there. So after lost replies the counter says
// how many were applied, and after another scheduler has moved it, that we are fenced.
// Without it, a repeated create could bring back an entry that was claimed and finished.
//
// Threads: the owner's loop. Session: survives its loss; call Resume() in the
// new one.
#pragma once

#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"
#include "common/seal.h"
#include "executor/dispatch.h"
#include "executor/router.h"

namespace zkexec {

// What an adopter writes into the counter of a scheduler that it takes for dead.
inline constexpr char kFenceMark[] = "fenced by ";

class Placer {
 public:
  struct Options {
    std::string scheduler;
    std::size_t workload_bytes_max = 512 * 1024;  // sealed
    std::size_t batch_entries_max = 50;
    std::size_t batch_bytes_max = 256 * 1024;
    std::size_t in_flight_max = 4;
  };
  // Where a dispatch lies.
  struct Place {
    std::string queue;
    int partition = -1;  // -1: not known yet
    std::string entry;   // its name in the partition; empty once it is claimed
    int slots = 1;
  };
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnPlaced(const std::string& dispatch, const Place& place) = 0;
    // It can't be placed, now or ever.
    virtual void OnRejected(const std::string& dispatch, const std::string& why) = 0;
    // Another scheduler has taken over all that was ours, placed or not.
    virtual void OnFenced() = 0;
    // It was not put back: its run has ended, or is held again.
    virtual void OnStillRunning(const std::string& dispatch, const std::string& queue) = 0;
  };

  // Borrows everything but the options.
  Placer(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
         const Sealer& sealer, Router& router, Listener& listener);

  void Add(Placement placement);
  // Puts a run that has lost its holder back into its queue, in one transaction with the
  // removal of its running node, which ZooKeeper refuses while somebody holds it.
  // `version` is that of the running node when nobody was seen to hold it: one that was held
  // and marked since then stays.
  void PutBack(proto::Entry entry, const Place& running, int version);
  // Forgets one that was not sent yet. False if it was sent, or is unknown.
  bool Withdraw(const std::string& dispatch);
  // A session is there and the tree exists: settles what was under way, goes on.
  void Resume(int partitions);
  // No session: stop sending.
  void Suspend();
  // Sends what can be sent.
  void Pump();

  std::size_t waiting() const;

 private:
  struct Item {
    std::string dispatch;
    std::string route_key;
    int priority = 0;
    std::string data;  // the serialised proto::Entry
    std::int64_t enqueued_unix_ms = 0;
    std::string running;  // the node to remove first; empty for a new dispatch
    int running_version = -1;
    Place place;
  };
  struct Batch {
    std::uint64_t number = 0;
    int version = 0;   // of the counter, before it
    std::string mark;  // what it leaves in the counter
    std::vector<Item> items;
    std::vector<int> item_of_op;  // -1 for the counter
    std::optional<Result<std::vector<OpResult>>> reply;
  };

  void Send();
  void OnReply(std::uint64_t number, Result<std::vector<OpResult>> reply);
  void Applied(const Batch& batch);
  void Recover();
  void Refused(const Error& error);
  void BackToWaiting();
  void Settle();
  void OnCounter(const Result<NodeData>& counter);
  void Fenced(int version, const std::string& mark);
  void MakeQueue(const std::string& queue);

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const Sealer& sealer_;
  Router& router_;
  Listener& listener_;

  std::deque<Item> waiting_;
  std::deque<Batch> flight_;  // oldest first
  std::uint64_t next_number_ = 1;
  std::size_t unanswered_ = 0;
  bool active_ = false;
  bool busy_ = false;        // making a queue or reading the counter
  bool recovering_ = false;  // a multi failed: nothing is sent until all are settled
  bool one_by_one_ = false;  // after a refusal that does not say whose fault it was
  int partitions_ = 0;
  int version_ = -1;              // of the counter, before the first in flight; -1: not read yet
  std::string mark_;              // what the counter holds at that version
  const std::string guid_;        // of our marks
  std::set<std::string> queues_;  // whose partitions exist
};

}  // namespace zkexec
