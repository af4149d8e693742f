// SPDX-License-Identifier: Apache-2.0
// Journal: where results wait while ZooKeeper is away, so that the worker's own
// death in that time loses none. What the agent needs of it, and no more.
#pragma once

#include <string>
#include <vector>

namespace zkexec {

// The result of a run that has ended, with what it takes to commit it.
struct JournalRecord {
  std::string dispatch_id;
  std::string queue;
  int partition = 0;
  std::string scheduler;  // whose results/ gets it
  std::string outcome;
  std::string info;
  std::string worker;  // the incarnation that ran it, as the running node names it

  bool operator==(const JournalRecord&) const = default;
};

// Threads: the owner's loop. Errors: none reach the caller: a journal that can't
// be written is logged and counted, and the record then lives in memory only.
class Journal {
 public:
  virtual ~Journal() = default;
  // Durable when it returns. Keeping a dispatch again replaces its record.
  virtual void Keep(const JournalRecord& record) = 0;
  // It is in ZooKeeper now, or nobody wants it any more. Unknown ids are ignored.
  virtual void Forget(const std::string& dispatch_id) = 0;
  // What dead incarnations of this host's workers left, each once; from now on
  // this journal keeps it, until Forget().
  virtual std::vector<JournalRecord> TakeOver() = 0;
};

}  // namespace zkexec
