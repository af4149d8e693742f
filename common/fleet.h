// SPDX-License-Identifier: Apache-2.0
// Fleet: the live workers, as ZooKeeper shows them, and who looks after which
// partition. Wrong views are harmless: the claim decides.
//
// Threads: the owner's loop. Session: call Start() again in each new one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"
#include "common/queue_shares.h"
#include "common/strangers.h"

namespace zkexec {

class Fleet {
 public:
  using Left = std::function<void(const std::string& worker)>;
  using Guess = std::function<proto::Worker()>;
  struct Options {
    // In a larger fleet its members' nodes are not watched, only read now and then: a million
    // watches, a thousand workers on a thousand, fill a server's memory.
    std::size_t watched_max;
    // What a member of a larger fleet is taken for until its node has been read, which then
    // happens a few at a time: so are a million reads spread over minutes. None: all are read
    // at once.
    Guess guess;
  };

  // Borrows `zk` and `strangers`. `left` is called when a worker's node is gone.
  Fleet(Coordinator& zk, const Layout& layout, Strangers& strangers, Left left, Options options);

  void Start(int partitions);
  // A watch fired. False if it was not one of ours.
  bool OnChanged(const std::string& path);
  // Reads what has changed. Call at every tick, and when a watch fired. In a large fleet
  // joins and leaves are gathered: a thousand workers must not list a thousand names a
  // thousand times while they start.
  void Tick(TimePoint now);
  // Lists the workers, whatever the watches say, and reads a few of them again. Call now and then.
  void Refresh();
  // The fleet has been read, or guessed, at least once in this session.
  bool known() const { return known_; }

  const std::map<std::string, proto::Worker>& workers() const { return workers_; }
  int live_slots() const { return live_slots_; }  // of the active ones
  int partitions() const { return partitions_; }
  // Grows whenever a share may have changed hands.
  std::uint64_t generation() const { return generation_; }
  // Null while nobody active serves the queue. Valid until the next change of generation.
  const QueueShares* Shares(const std::string& queue) const;

 private:
  void List();
  void OnNames(const std::vector<std::string>& names);
  void ReadUnread(TimePoint now);
  void Read(const std::string& name);
  void Keep(const std::string& name, const NodeData& node);
  void Rebuild();

  Coordinator& zk_;
  const Layout layout_;
  Strangers& strangers_;
  const Left left_;
  const Options options_;
  int partitions_ = 1;
  int live_slots_ = 0;
  std::uint64_t generation_ = 0;
  bool known_ = false;
  bool changed_ = false;  // who is there
  bool rebuild_ = false;  // workers_ has changed
  bool anew_ = false;     // by more than those who joined
  bool listing_ = false;
  std::size_t live_ = 0;  // at the last listing
  std::size_t reading_ = 0;
  TimePoint next_list_{};
  std::size_t reread_ = 0;  // where Refresh() goes on reading
  std::map<std::string, proto::Worker> workers_;
  std::map<std::string, std::string> raw_;  // their nodes' contents, to see what has changed
  std::vector<std::string> joined_;         // since shares_ was up to date
  std::deque<std::string> unread_;          // guessed
  TimePoint next_unread_{};
  mutable std::map<std::string, QueueShares> shares_;  // made when first asked for
};

}  // namespace zkexec
