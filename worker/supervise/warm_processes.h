// SPDX-License-Identifier: Apache-2.0
// WarmProcesses: which process a task is forked from: a warm process that has imported what the
// task's DAG file imports at its top, else one with nothing but Airflow, else the zygote. Starts,
// shares, renews and retires warm processes, and bounds their memory.
//
// Nobody waits for one: a task that comes while its process is being prepared imports itself.
//
// Threads:  the owner's loop. Lifetime: borrows zygote, clock and observer.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "worker/observer.h"
#include "worker/supervise/import_lists.h"
#include "worker/supervise/memory.h"
#include "worker/supervise/warm_process.h"

namespace zkexec {

class WarmProcesses {
 public:
  struct Options {
    bool on = true;
    std::int64_t memory_bytes = std::int64_t{1} << 30;
  };
  // What it is made of, given by its owner.
  struct Parts {
    // Starts a process for a list; its events come later.
    std::function<std::unique_ptr<WarmProcess>(const std::string& list, WarmProcess::Listener)>
        start;
    std::function<bool()> can_start;
    ImportLists::Scan scan;
    std::function<std::int64_t(pid_t)> memory;
    // Told of each process that tasks can be forked from; may fork at once.
    std::function<void(ForkServer&)> ready;
  };
  struct Choice {
    ForkServer& server;
    // A fixed word: warm; unknown, preparing: why not yet; off, starting: the zygote.
    std::string how;
  };

  // `zygote` forks what no warm process does.
  WarmProcesses(Options options, Parts parts, ForkServer& zygote, const Clock& clock,
                Observer& observer);

  Choice Choose(const DagFile& file);
  // One child of the server has ended or failed to come, or one more was asked for.
  void CountChild(const ForkServer& server, int change);
  // A server that is no longer chosen; nothing new is forked from it.
  bool Retired(const ForkServer& server) const;
  // The server does not do what it is asked to: it is chosen no more for a while.
  void GiveUp(const ForkServer& server);
  // The zygote died, and every warm process with it.
  void LoseAll();
  void Tick();
  // Whether Tick() is wanted though nothing runs.
  bool Incomplete() const;

  // Of those that are ready.
  std::size_t size() const;
  std::int64_t memory_bytes() const { return memory_; }

 private:
  struct Entry {
    bool Is(WarmProcess::State state) const {
      return current != nullptr && current->facts().state == state;
    }

    std::unique_ptr<WarmProcess> current;
    TimePoint used{};
    int wanted = 0;  // since there is none
    // Its imports can't be made ahead: those before `fits` can.
    bool unfit = false;
    std::size_t fits = 0;
    TimePoint unfit_until{};
    TimePoint ready_at{};
    bool died = false;        // one of it, young
    std::string same_as;      // another list, of a process that does as well; empty: none
    pid_t measured = 0;       // the process that `memory` is of
    std::int64_t memory = 0;  // when it was looked at last
  };
  // The list whose process serves this one.
  const std::string& Resolve(const std::string& list);
  WarmProcess* Usable(const std::string& list);
  // Has become wanted `times` more often.
  void Want(const std::string& list, int times);
  void Start(const std::string& list);
  void OnSettled(const std::string& list);
  void OnUnfit(const std::string& list, Entry& entry);
  void OnDeath(const std::string& list, Entry& entry);
  void Distrust(const std::string& list, Entry& entry, const std::string& reason);
  void ShareWith(const std::string& list, Entry& entry);
  void Retire(Entry& entry);
  void MeasureMemory();
  void BoundMemory();

  const Options options_;
  const Parts parts_;
  ForkServer& zygote_;
  const Clock& clock_;
  Observer& observer_;
  ImportLists lists_;
  std::map<std::string, Entry> entries_;
  std::vector<std::unique_ptr<WarmProcess>> retired_;
  std::map<const ForkServer*, int> children_;
  MeasuringPace pace_;
  std::string last_measured_;
  std::int64_t memory_ = 0;
  TimePoint next_look_{};
  TimePoint base_again_{};
};

}  // namespace zkexec
