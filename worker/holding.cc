// SPDX-License-Identifier: Apache-2.0
// What ZooKeeper says of our runs, asked whenever we can't know: after a lost
// reply, in a new session, for results out of the journal.
#include <algorithm>
#include <memory>
#include <utility>

#include "common/log.h"
#include "worker/agent.h"

namespace zkexec {

std::string Agent::NodeOf(const std::string& dispatch, const Run& run) const {
  return layout_.RunningNode(run.queue, run.partition, dispatch);
}

void Agent::ExamineDue() {
  std::vector<std::string> due;
  for (const auto& [id, run] : runs_) {
    if (run.busy || run.abandoned) continue;
    const bool unheld = run.claim.empty() && run.state != State::kFinishing;
    if (run.unsure || unheld) due.push_back(id);
  }
  for (const auto& id : due) Examine(id);
}

void Agent::Examine(const std::string& dispatch) {
  auto& run = runs_.at(dispatch);
  run.busy = true;
  const auto path = NodeOf(dispatch, run);
  auto node = std::make_shared<Result<NodeData>>(Error{});
  // One session's operations are answered in order.
  zk_.Sync([node](Status synced) {
    if (!synced) *node = synced.error();
  });
  zk_.Get(path, Watch::kNo, [node](Result<NodeData> got) {
    if (node->error().code == ErrorCode::kInternal) *node = std::move(got);
  });
  zk_.Children(path, Watch::kNo, [this, dispatch, node](Result<std::vector<std::string>> claims) {
    const auto found = runs_.find(dispatch);
    if (found == runs_.end()) return;
    found->second.busy = false;
    OnExamined(dispatch, *node, claims);
  });
}

void Agent::OnExamined(const std::string& dispatch, const Result<NodeData>& node,
                       const Result<std::vector<std::string>>& claims) {
  if (!node && node.error().code != ErrorCode::kNotFound) return;  // the next tick asks again
  auto& run = runs_.at(dispatch);
  proto::Entry entry;
  if (!node || !entry.ParseFromString(node->data) || entry.worker() != run.holder) {
    const auto stray = claims ? OurClaim(NodeOf(dispatch, run), *claims) : std::string();
    if (!stray.empty()) stray_claims_.insert(stray);
    Abandon(dispatch);
    return RemoveStrayClaims();
  }
  if (!claims) return;
  run.unsure = false;
  run.marked = run.marked || entry.started();
  run.claim = OurClaim(NodeOf(dispatch, run), *claims);
  if (run.state == State::kInDoubt) {
    run.state = State::kClaimed;
    run.claimed = clock_.Now();
    observer_.OnClaimed(1);
  }
  if (run.state == State::kFinishing) return FinishDue();
  if (!run.claim.empty()) return StartDue();
  ClaimAgain(dispatch, node->stat.version);
}

// Our run, in a session that holds no claim of it. It may have been put back and claimed by
// another worker since we read its node, and then its version tells nothing: a new node
// starts at 0 again. So it is ours only if it still names us once our claim is there, because
// with a claim nobody can put it back any more.
void Agent::ClaimAgain(const std::string& dispatch, int version) {
  auto& run = runs_.at(dispatch);
  run.busy = true;
  const auto path = NodeOf(dispatch, run);
  proto::Claim claim;
  claim.set_worker(options_.worker);
  claim.set_claimed_unix_ms(clock_.UnixMs());
  zk_.Multi({Op::Check(path, version),
             Op::Create(path + "/" + ClaimNamePrefix(guid_), claim.SerializeAsString(),
                        NodeMode::kEphemeralSequential)},
            [this, dispatch](Result<std::vector<OpResult>> made) {
              const auto found = runs_.find(dispatch);
              if (found == runs_.end()) return;
              found->second.busy = false;
              if (made) Examine(dispatch);  // else: at the next tick
            });
}

// What we have put under a node that turned out to be another worker's.
void Agent::RemoveStrayClaims() {
  for (const auto& path : stray_claims_) {
    zk_.Multi({Op::Remove(path)}, [this, path](Result<std::vector<OpResult>> removed) {
      if (removed || removed.error().code == ErrorCode::kNotFound) stray_claims_.erase(path);
    });
  }
}

void Agent::Abandon(const std::string& dispatch) {
  auto& run = runs_.at(dispatch);
  if (run.state != State::kRunning) {
    // A claim that did not come about; or a result that is in ZooKeeper, or not wanted any more.
    return Drop(dispatch);
  }
  // Lost to us while we were away. It may be run elsewhere any moment.
  spdlog::warn("run was declared lost; killing it dispatch={} label=\"{}\"", dispatch,
               run.entry.label());
  run.abandoned = true;
  observer_.OnKilled("abandoned");
  run.kill_asked = true;
  run.kill_at = clock_.Now() + options_.kill_grace;
  launcher_.Kill(dispatch, Launcher::Signal::kKill);
}

std::string Agent::OurClaim(const std::string& running_node,
                            const std::vector<std::string>& names) const {
  const auto prefix = ClaimNamePrefix(guid_);
  const auto own = std::find_if(names.begin(), names.end(), [&prefix](const std::string& name) {
    return name.starts_with(prefix);
  });
  return own == names.end() ? std::string() : running_node + "/" + *own;
}

}  // namespace zkexec
