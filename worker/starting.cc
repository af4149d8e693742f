// SPDX-License-Identifier: Apache-2.0
// The agent's starts and kills.
//
// A run is marked as started in its running node: a task when it has lasted for a
// second (many a task never pays for it; one that is lost before is put back, and
// Airflow refuses its second start if there was a first), anything else before it
// starts, because nobody refuses a callback's second start.
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "worker/agent.h"
#include "worker/plain_text.h"

namespace zkexec {
namespace {

constexpr Duration kMarkAfter{1000};
constexpr std::size_t kMarkBatch = 50;

}  // namespace

void Agent::StartDue() {
  if (zk_.state() != SessionState::kConnected || clock_.Now() >= zk_.lease_until()) return;
  std::vector<std::string> to_mark;
  for (auto& [id, run] : runs_) {
    if (run.state != State::kClaimed || run.claim.empty() || run.unsure || run.busy) continue;
    if (run.kill_asked) {
      run.state = State::kFinishing;
      // What a drain hands back unstarted is placed again, and costs no try.
      run.report = run.revoked ? ExitReport{id, "killed", "killed before it started"}
                               : ExitReport{id, "token", "handed back by a draining worker"};
      continue;
    }
    if (run.entry.kind() != "task" && !run.marked) {
      to_mark.push_back(id);
      continue;
    }
    run.started = clock_.Now();
    observer_.OnStartDelay(std::chrono::duration<double>(run.started - run.claimed).count());
    run.state = State::kRunning;
    spdlog::info("start dispatch={} label=\"{}\" queue={} kind={}", id, run.entry.label(),
                 run.queue, run.entry.kind());
    observer_.OnStarted(run.entry.kind());
    launcher_.Start(id, run.workload);
    run.workload.clear();
  }
  if (!to_mark.empty()) Mark(to_mark);
}

void Agent::MarkDue() {
  std::vector<std::string> due;
  for (const auto& [id, run] : runs_) {
    if (run.state != State::kRunning || run.marked || run.busy || run.claim.empty()) continue;
    if (clock_.Now() - run.started < kMarkAfter) continue;
    due.push_back(id);
    if (due.size() == kMarkBatch) break;
  }
  if (!due.empty()) Mark(due);
}

void Agent::Mark(const std::vector<std::string>& dispatches) {
  std::vector<Op> ops;
  for (const auto& id : dispatches) {
    auto& run = runs_.at(id);
    run.busy = true;
    run.entry.set_started(true);
    // The claim is checked: the node may be another worker's by now. The workload is not
    // written back: what has started is never run again.
    ops.push_back(Op::Check(run.claim));
    ops.push_back(Op::Set(NodeOf(id, run), run.entry.SerializeAsString()));
  }
  zk_.Multi(std::move(ops), [this, dispatches](Result<std::vector<OpResult>> marked) {
    for (std::size_t i = 0; i < dispatches.size(); ++i) {
      const auto found = runs_.find(dispatches[i]);
      if (found == runs_.end()) continue;
      auto& run = found->second;
      run.busy = false;
      if (marked) {
        run.marked = true;
      } else if (marked.error().failed_op < 0 ||
                 marked.error().failed_op / 2 == static_cast<int>(i)) {
        run.unsure = true;
      }
    }
    if (marked) StartDue();
    FinishDue();
  });
}

void Agent::OnExit(const ExitReport& report) {
  const auto found = runs_.find(report.dispatch_id);
  if (found == runs_.end()) return;
  auto& run = found->second;
  run.report = report;
  if (run.revoked && report.outcome == "failed") run.report.outcome = "killed";
  if (report.outcome == "already_running" && !run.entry.lost_by().empty()) {
    run.report.outcome = "lost";
    run.report.info = "worker " + run.entry.lost_by() +
                      " lost: its ZooKeeper session ended after the task had started";
  }
  run.report.info = PlainText(run.report.info, kInfoBytesMax);
  const double seconds = std::chrono::duration<double>(clock_.Now() - run.started).count();
  spdlog::info("end dispatch={} label=\"{}\" outcome={} seconds={:.3f} info=\"{}\"",
               report.dispatch_id, run.entry.label(), run.report.outcome, seconds, run.report.info);
  observer_.OnFinished(run.entry.kind(), run.report.outcome, seconds);
  if (run.abandoned) return Drop(report.dispatch_id);
  run.state = State::kFinishing;
  if (!ready_ || zk_.state() != SessionState::kConnected) Keep(report.dispatch_id, run);
  FinishDue();
}

void Agent::Revoke(const std::string& dispatch) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end()) return;
  found->second.revoked = true;
  Kill(dispatch, Launcher::Signal::kTerminate, "revoked");
}

void Agent::Kill(const std::string& dispatch, Launcher::Signal signal, const char* cause) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end() || found->second.state == State::kFinishing) return;
  auto& run = found->second;
  run.kill_asked = true;
  if (run.state != State::kRunning || run.kill_at != TimePoint{}) return;
  run.kill_at = clock_.Now() + options_.kill_grace;
  spdlog::info("kill dispatch={} label=\"{}\"", dispatch, run.entry.label());
  observer_.OnKilled(cause);
  launcher_.Kill(dispatch, signal);
}

void Agent::EscalateKills() {
  const auto now = clock_.Now();
  for (auto& [id, run] : runs_) {
    if (run.state != State::kRunning || !run.kill_asked || now < run.kill_at) continue;
    run.kill_at = now + options_.kill_grace;
    launcher_.Kill(id, Launcher::Signal::kKill);
  }
}

}  // namespace zkexec
