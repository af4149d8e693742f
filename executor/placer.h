// SPDX-License-Identifier: Apache-2.0
// Placer: puts workloads into the queues, each exactly once.
//
// One multi at a time; whatever gathers meanwhile is the next batch. Each multi
// moves the producer's counter by one at its expected version, so that after a
// lost reply the counter says whether the batch was applied. Without it, a
// retried create could bring back an entry that was claimed and finished.
//
// Threads: the owner's loop. Session: survives its loss; call Resume() in the
// new one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/fleet.h"
#include "common/layout.h"
#include "common/seal.h"
#include "executor/dispatch.h"

namespace zkexec {

class Placer {
 public:
  struct Options {
    std::string scheduler;
    std::size_t workload_bytes_max = 512 * 1024;  // sealed
    std::size_t batch_entries_max = 50;
    std::size_t batch_bytes_max = 256 * 1024;
  };
  // Where a placed dispatch lies.
  struct Place {
    std::string queue;
    int partition = 0;
    std::string entry;  // its name in the partition
  };
  using Placed = std::function<void(const std::string& dispatch, const Place& place)>;
  using Rejected = std::function<void(const std::string& dispatch, const std::string& why)>;

  // Borrows everything but the options.
  Placer(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
         const Sealer& sealer, const Fleet& fleet, Placed placed, Rejected rejected);

  void Add(Placement placement);
  // Forgets one that was not sent yet. False if it was sent, or is unknown.
  bool Withdraw(const std::string& dispatch);
  // A session is there and the tree exists: settles what was under way, goes on.
  void Resume(int partitions);
  // No session: stop sending.
  void Suspend();
  // Sends the next batch if nothing is under way.
  void Pump();

  std::size_t waiting() const { return waiting_.size() + batch_.size(); }

 private:
  struct Item {
    std::string dispatch;
    std::string queue;
    std::string route_key;
    int priority = 0;
    std::string data;  // the serialised proto::Entry
    std::int64_t enqueued_unix_ms = 0;
    Place place;
  };

  void Send();
  void OnSent(Result<std::vector<OpResult>> result);
  void Settle();
  void BatchApplied();
  void BatchAgain();
  void MakeQueue(const std::string& queue);
  void ReadCounter(std::function<void(int version)> then);

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const Sealer& sealer_;
  const Fleet& fleet_;
  const Placed placed_;
  const Rejected rejected_;

  std::deque<Item> waiting_;
  std::vector<Item> batch_;  // sent, or to be settled
  bool active_ = false;
  bool busy_ = false;
  bool one_by_one_ = false;  // after a refusal that does not say whose fault it was
  int partitions_ = 0;
  int version_ = -1;              // of the counter, before the batch; -1: not read yet
  std::set<std::string> queues_;  // whose partitions exist
};

}  // namespace zkexec
