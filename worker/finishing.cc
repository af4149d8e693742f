// SPDX-License-Identifier: Apache-2.0
// The agent's results. A finish is, in one multi with others: remove claim and running
// node, create the result. While ZooKeeper is away they wait in the journal.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "worker/agent.h"

namespace zkexec {
namespace {

constexpr std::size_t kFinishBatch = 50;
constexpr int kFinishesUnderWayMax = 2;
constexpr Duration kRetry{1000};

}  // namespace

void Agent::FinishDue() {
  if (!ready_ || zk_.state() != SessionState::kConnected) return;
  while (finishes_under_way_ < kFinishesUnderWayMax) {
    std::vector<std::string> due;
    for (const auto& [id, run] : runs_) {
      if (run.state != State::kFinishing || run.busy || run.unsure) continue;
      if (clock_.Now() < run.retry_at) continue;
      due.push_back(id);
      if (due.size() == kFinishBatch) break;
    }
    // Behind one that is under way only a full one: what gathers meanwhile is the next.
    if (due.empty() || (finishes_under_way_ > 0 && due.size() < kFinishBatch)) return;
    Finish(due);
  }
}

void Agent::Finish(const std::vector<std::string>& dispatches) {
  std::vector<Op> ops;
  std::vector<int> run_of_op;
  for (std::size_t i = 0; i < dispatches.size(); ++i) {
    const auto& id = dispatches[i];
    auto& run = runs_.at(id);
    run.busy = true;
    if (!run.claim.empty()) ops.push_back(Op::Remove(run.claim));
    // Refused while another worker's claim is there.
    ops.push_back(Op::Remove(NodeOf(id, run)));
    proto::ResultInfo info;
    if (run.report.outcome != "success") {
      info.set_info(run.report.info);
      info.set_worker(run.holder);
      if (run.report.outcome == "token") info.set_lost_by(run.entry.lost_by());
    }
    ops.push_back(Op::Create(layout_.ResultNode(run.entry.scheduler(), id, run.report.outcome),
                             info.SerializeAsString()));
    run_of_op.resize(ops.size(), static_cast<int>(i));
  }
  ++finishes_under_way_;
  zk_.Multi(std::move(ops), [this, dispatches, run_of_op](Result<std::vector<OpResult>> result) {
    --finishes_under_way_;
    OnFinished(dispatches, run_of_op, result);
    FinishDue();
    Claim();
  });
}

void Agent::OnFinished(const std::vector<std::string>& dispatches,
                       const std::vector<int>& run_of_op,
                       const Result<std::vector<OpResult>>& result) {
  if (result) {
    for (const auto& id : dispatches) Drop(id);
    return;
  }
  const auto& error = result.error();
  const bool unknown =
      error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kSessionExpired;
  const int bad = error.failed_op >= 0 && error.failed_op < static_cast<int>(run_of_op.size())
                      ? run_of_op[static_cast<std::size_t>(error.failed_op)]
                      : -1;
  if (!unknown && bad < 0) spdlog::error("a result was refused error=\"{}\"", error.message);
  for (std::size_t i = 0; i < dispatches.size(); ++i) {
    const auto found = runs_.find(dispatches[i]);
    if (found == runs_.end()) continue;
    auto& run = found->second;
    run.busy = false;
    if (unknown) {
      run.unsure = true;
      Keep(dispatches[i], run);
      continue;
    }
    if (bad != static_cast<int>(i)) {
      if (bad < 0) run.retry_at = clock_.Now() + kRetry;
      continue;
    }
    const auto op = static_cast<std::size_t>(error.failed_op);
    const bool creating = op + 1 == run_of_op.size() || run_of_op[op + 1] != bad;
    if (!creating) {
      run.unsure = true;
    } else if (error.code == ErrorCode::kNotFound) {
      // The scheduler's directory of results is missing: make it, then try again.
      run.busy = true;
      EnsureNodes(zk_, {layout_.ResultDir(run.entry.scheduler())},
                  [this, id = dispatches[i]](Status) {
                    if (const auto later = runs_.find(id); later != runs_.end()) {
                      later->second.busy = false;
                    }
                    FinishDue();
                  });
    } else {
      // The result of an earlier hand-over under this id is still to be removed.
      run.retry_at = clock_.Now() + kRetry;
    }
  }
}

void Agent::Keep(const std::string& dispatch, Run& run) {
  if (run.kept) return;
  run.kept = true;
  journal_.Keep({dispatch, run.queue, run.partition, run.entry.scheduler(), run.report.outcome,
                 run.report.info, run.holder});
}

void Agent::Drop(const std::string& dispatch) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end()) return;
  if (found->second.kept) journal_.Forget(dispatch);
  runs_.erase(found);
}

}  // namespace zkexec
