// SPDX-License-Identifier: Apache-2.0
// Admin: one-shot questions to the tree, for the command line.
//
// Threads: each call makes its own session on the calling thread and blocks for
//          at most `timeout`. Read-only.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/proto/zkexec.pb.h"
#include "common/result.h"
#include "executor/one_shot.h"

namespace zkexec {

struct WorkerView {
  proto::Worker worker;
  int running = 0;
};

struct QueueView {
  std::string queue;
  int depth = 0;
  int running = 0;
  std::optional<double> oldest_age_s;
  int workers = 0;  // active ones that serve it
};

// Errors: kUnavailable (no answer in time), kInvalid, kNotFound (no tree there).
Result<std::vector<WorkerView>> InspectWorkers(const AdminOptions& options);
Result<std::vector<QueueView>> InspectQueues(const AdminOptions& options);

}  // namespace zkexec
