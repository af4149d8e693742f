// SPDX-License-Identifier: Apache-2.0
// Lookout: which partitions this worker looks at, when, and what it saw there.
//
// Its own share (by the ring) is watched, and listed anew when a watch fired and
// there is room for what it may show; a slow timer lists it anyway. While it is
// idle it also looks into a few partitions of others, taken at random so that the
// fleet together sees each about once a second, and takes what has waited there for
// two looks: no herd, no contest with an owner that is only a moment behind.
//
// While there is no room nothing is listed. So when room appears after a while, changes from that
// time are read before anything is taken: else a full worker would start an old entry of a low
// priority though a newer one of a higher priority waits beside it.
//
// Threads: the owner's loop. Session: Stop() when it ends, Start() in the next.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/fleet.h"
#include "common/layout.h"
#include "worker/backlog.h"

namespace zkexec {

class Lookout {
 public:
  struct Options {
    std::string worker;
    Duration relist_interval{5000};
    std::uint64_t seed = 0;  // of the choice of others' partitions
  };
  struct Callbacks {
    std::function<void()> found;                                // there is something to take
    std::function<void(const Backlog::Item&)> unreadable_name;  // told once for each
  };

  Lookout(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
          const Fleet& fleet, Callbacks callbacks);

  // `queues` are those to look after from now on; their partitions exist.
  void Start(int partitions, const std::vector<std::string>& queues);
  void Stop();
  // A watch fired. False if it was not one of ours.
  bool OnChanged(const std::string& path);
  // Lists what is due. `free`: for how many entries there is room. Call at every tick
  // and when room has appeared.
  void Look(int free);

  // Nothing to take, or nothing yet: an answer that may change the order is under way.
  bool empty() const { return backlog_.empty() || overdue_ > 0; }
  Backlog::Item Best() const { return backlog_.Best(); }
  // Each item taken must be given back by exactly one of the two that follow.
  std::vector<Backlog::Item> Take(std::size_t count);
  void PutBack(const Backlog::Item& item);
  void Done(const Backlog::Item& item) { taken_.erase(Path(item)); }
  // It is of no use to this worker: never shown again.
  void Refuse(const Backlog::Item& item);

 private:
  struct Partition {
    bool watched = false;
    bool dirty = false;
    TimePoint dirty_since{};
    bool listing = false;
    bool overdue = false;  // being listed after it was dirty for long
    TimePoint listed{};
    std::size_t entries = 0;     // when it was last listed
    TimePoint again_at{};        // a second look at another's partition; epoch: none due
    std::set<std::string> seen;  // at the first look
  };
  struct Queue {
    std::uint64_t generation = 0;  // of the fleet, when the share was read
    int workers = 1;
    std::vector<Partition> partitions;
  };

  std::string Path(const Backlog::Item& item) const {
    return layout_.Partition(item.queue, item.partition) + "/" + item.name;
  }
  void MarkDirty(Partition& partition) const;
  void ReadShare(const std::string& name, Queue& queue);
  void LookAround(const std::string& name, Queue& queue);
  void List(const std::string& name, int partition);
  void OnNames(const std::string& name, int partition, const std::vector<std::string>& names);
  std::set<std::string> Usable(const std::string& queue, int partition,
                               const std::vector<std::string>& names);

  const Options options_;
  Coordinator& zk_;
  const Layout layout_;
  const Clock& clock_;
  const Fleet& fleet_;
  const Callbacks callbacks_;
  std::minstd_rand random_;

  bool active_ = false;
  std::uint64_t session_ = 0;  // tells late answers of an earlier session
  std::map<std::string, Queue> queues_;
  Backlog backlog_;
  int overdue_ = 0;                // partitions
  std::set<std::string> taken_;    // paths
  std::set<std::string> refused_;  // paths
  TimePoint next_relist_{};
  TimePoint next_look_around_{};
};

}  // namespace zkexec
