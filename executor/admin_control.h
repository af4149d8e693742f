// SPDX-License-Identifier: Apache-2.0
// AdminControl: one-shot orders to workers, for the command line.
//
// Threads: each call makes its own session on the calling thread, and blocks for
//          little more than `timeout`.
// Session: an order whose reply is lost may have been given; every order may be
//          given twice, so the person repeats it.
#pragma once

#include <string>
#include <vector>

#include "common/proto/zkexec.pb.h"
#include "common/result.h"
#include "executor/one_shot.h"

namespace zkexec {

struct CommandOutcome {
  proto::Worker worker;  // as its node is now; only the name if it has none
  // Why it did not obey: nothing has changed. Empty: it has removed the command,
  // and `worker` says what is true now (a command that it refuses changes nothing).
  std::string problem;
};

// Gives `command` to each of `workers` (names of incarnations) and waits until
// they have obeyed. What is not obeyed in time is taken back. One outcome each,
// in their order. Errors: kUnavailable, kInvalid.
Result<std::vector<CommandOutcome>> SendCommand(const AdminOptions& options,
                                                const std::vector<std::string>& workers,
                                                const proto::Command& command);

// Whom to kill: a dispatch id, or the label of its task, of which the number of
// the try is not known: `label_head` + digits + `label_tail`.
struct KillTarget {
  std::string dispatch;
  std::string label_head;
  std::string label_tail;

  bool Matches(const std::string& dispatch_id, const std::string& label) const;
};

struct KillOutcome {
  enum class Kind {
    kEnded,       // it was running; it is not any more
    kAsked,       // its worker was told, but it was still running when the time was over
    kWorkerGone,  // its worker is gone: its scheduler decides about it
    kQueued,      // it waits in a queue; nothing was done
    kUnknown,     // neither running nor queued
    kAmbiguous,   // several match; nothing was done
  };
  Kind kind = Kind::kUnknown;
  std::vector<proto::Entry> entries;  // what matches; sealed is empty
};

// Has the holder of the dispatch end it, and waits until it has.
// Errors: kUnavailable, kInvalid.
Result<KillOutcome> KillDispatch(const AdminOptions& options, const KillTarget& target);

}  // namespace zkexec
