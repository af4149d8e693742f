// SPDX-License-Identifier: Apache-2.0
// The agent's claiming: which entries it looks at, and how one becomes its own.
//
// The claim of an entry is one multi: remove the entry (the gate: exactly one
// worker's removal succeeds), create the running node with the same content, and
// under it our ephemeral-sequential claim.
#include <algorithm>
#include <memory>
#include <utility>

#include "common/log.h"
#include "worker/agent.h"

namespace zkexec {
namespace {

constexpr std::size_t kClaimBatch = 25;
constexpr std::size_t kClaimBatchBytes = 256 * 1024;

}  // namespace

void Agent::Relist() {
  next_relist_ = clock_.Now() + options_.relist_interval;
  if (draining_) return;
  fleet_.Refresh();
  rings_.clear();
  if (!controls_.pause.empty()) return;
  for (const auto& queue : controls_.queues) {
    rings_[queue] = QueueRing(fleet_.workers(), queue);
    // All partitions, not only those we own: one whose owner is gone or is busy
    // must not wait for it.
    for (int i = 0; i < partitions_; ++i) ListPartition(queue, i);
  }
}

bool Agent::Owns(const std::string& queue, int partition) const {
  const auto ring = rings_.find(queue);
  // Before the fleet is known, everything is watched: a new worker in an empty
  // fleet must not be blind until its first look around.
  if (ring == rings_.end() || ring->second.empty()) return true;
  return ring->second.Owner(PartitionKey(queue, partition)) == options_.worker;
}

void Agent::ListPartition(const std::string& queue, int partition) {
  const auto watch = Owns(queue, partition) ? Watch::kYes : Watch::kNo;
  zk_.Children(layout_.Partition(queue, partition), watch,
               [this, queue, partition](Result<std::vector<std::string>> names) {
                 if (!names || draining_ || !controls_.pause.empty() || !Serves(queue)) return;
                 std::vector<std::string> usable;
                 const auto dir = layout_.Partition(queue, partition) + "/";
                 for (const auto& name : *names) {
                   if (refused_.contains(dir + name)) continue;
                   if (EntryName::Decode(name)) {
                     usable.push_back(name);
                   } else {
                     Refuse({name, queue, partition}, "unreadable", "its name is not an entry's");
                   }
                 }
                 backlog_.Replace(queue, partition, usable);
                 Claim();
               });
}

void Agent::Refuse(const Backlog::Item& item, const std::string& reason, const std::string& why) {
  const auto path = layout_.Partition(item.queue, item.partition) + "/" + item.name;
  backlog_.Remove(item);
  if (!refused_.insert(path).second) return;
  spdlog::error("entry refused, left where it is path={} reason={} error=\"{}\"", path, reason,
                why);
  observer_.OnRefused(reason);
}

void Agent::Claim() {
  if (!ready_ || !launcher_ready_ || claiming_ || Holds() || backlog_.empty()) return;
  const int free = controls_.slots - slots_used();
  if (free < 1) return;
  Fetch(backlog_.Best(std::min(kClaimBatch, static_cast<std::size_t>(free))));
}

void Agent::Fetch(std::vector<Backlog::Item> items) {
  claiming_ = true;
  struct Batch {
    std::vector<Backlog::Item> items;
    std::vector<Result<NodeData>> nodes;
    std::size_t left;
  };
  auto batch = std::make_shared<Batch>();
  batch->items = std::move(items);
  batch->left = batch->items.size();
  batch->nodes.assign(batch->left, Error{});
  for (std::size_t i = 0; i < batch->items.size(); ++i) {
    const auto& item = batch->items[i];
    zk_.Get(layout_.Partition(item.queue, item.partition) + "/" + item.name, Watch::kNo,
            [this, batch, i](Result<NodeData> node) {
              batch->nodes[i] = std::move(node);
              if (--batch->left > 0) return;
              int free = controls_.slots - slots_used();
              std::size_t bytes = 0;
              std::vector<Run> runs;
              std::vector<Backlog::Item> taken;
              for (std::size_t k = 0; k < batch->items.size(); ++k) {
                const auto& item_k = batch->items[k];
                if (!batch->nodes[k]) {
                  if (batch->nodes[k].error().code == ErrorCode::kNotFound) backlog_.Remove(item_k);
                  continue;
                }
                Run run;
                if (!Accept(item_k, *batch->nodes[k], &run)) continue;
                bytes += run.entry.ByteSizeLong();
                // In order, without looking past what does not fit: a task that needs many
                // slots would otherwise starve behind small ones.
                if (run.slots > free || (!runs.empty() && bytes > kClaimBatchBytes)) break;
                free -= run.slots;
                runs.push_back(std::move(run));
                taken.push_back(item_k);
              }
              claiming_ = false;
              if (!runs.empty() && ready_ && !Holds()) TryClaim(std::move(runs), std::move(taken));
            });
  }
}

bool Agent::Accept(const Backlog::Item& item, const NodeData& node, Run* run) {
  const auto name = EntryName::Decode(item.name);
  if (!run->entry.ParseFromString(node.data) || run->entry.dispatch_id() != name->dispatch ||
      run->entry.scheduler().empty()) {
    Refuse(item, "unreadable", "its content is not an entry");
    return false;
  }
  if (run->entry.protocol_version() != kProtocolVersion) {
    Refuse(item, "newer_protocol",
           "protocol version " + std::to_string(run->entry.protocol_version()) +
               ", this worker speaks " + std::to_string(kProtocolVersion) +
               ": upgrade this worker");
    return false;
  }
  if (runs_.contains(name->dispatch)) {
    backlog_.Remove(item);  // placed again before we finished it: next time
    return false;
  }
  auto workload = sealer_.Open(run->entry.sealed(), name->dispatch);
  if (!workload) {
    Refuse(item, "other_secret", workload.error().message);
    return false;
  }
  run->workload = std::move(*workload);
  run->queue = item.queue;
  run->partition = item.partition;
  run->slots = std::clamp(static_cast<int>(run->entry.slots()), 1, controls_.slots);
  run->entry.set_worker(options_.worker);
  return true;
}

void Agent::TryClaim(std::vector<Run> batch, std::vector<Backlog::Item> items) {
  claiming_ = true;
  std::vector<Op> ops;
  proto::Claim claim;
  claim.set_worker(options_.worker);
  claim.set_claimed_unix_ms(clock_.UnixMs());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& run = batch[i];
    const auto& id = run.entry.dispatch_id();
    ops.push_back(Op::Remove(layout_.Partition(run.queue, run.partition) + "/" + items[i].name));
    ops.push_back(Op::Create(layout_.RunningNode(run.queue, run.partition, id),
                             run.entry.SerializeAsString()));
    ops.push_back(Op::Create(layout_.ClaimPrefix(run.queue, run.partition, id, guid_),
                             claim.SerializeAsString(), NodeMode::kEphemeralSequential));
  }
  auto held = std::make_shared<std::vector<Run>>(std::move(batch));
  zk_.Multi(std::move(ops), [this, held, items](Result<std::vector<OpResult>> result) {
    claiming_ = false;
    if (result || result.error().code == ErrorCode::kUnavailable ||
        result.error().code == ErrorCode::kSessionExpired) {
      for (std::size_t i = 0; i < held->size(); ++i) {
        auto& run = (*held)[i];
        run.state = result ? State::kClaimed : State::kInDoubt;
        if (result) run.claim = (*result)[i * 3 + 2].path;
        run.entry.clear_sealed();
        backlog_.Remove(items[i]);
        runs_.emplace(run.entry.dispatch_id(), std::move(run));
      }
      if (!result) return;
      observer_.OnClaimed(static_cast<int>(held->size()));
      StartDue();
      return Claim();
    }
    const auto& error = result.error();
    const auto bad = static_cast<std::size_t>(std::max(0, error.failed_op)) / 3;
    if (error.failed_op < 0 || bad >= held->size()) {
      spdlog::error("claim was refused entries={} error=\"{}\"", held->size(), error.message);
      for (const auto& item : items) Refuse(item, "unclaimable", error.message);
      return;
    }
    if (error.code == ErrorCode::kNotFound && error.failed_op % 3 == 0) {
      observer_.OnClaimLost();
      backlog_.Remove(items[bad]);
    } else {
      Refuse(items[bad], "unclaimable", error.message);
    }
    auto rest = std::move(*held);
    auto rest_items = items;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(bad));
    rest_items.erase(rest_items.begin() + static_cast<std::ptrdiff_t>(bad));
    if (rest.empty() || Holds()) {
      Claim();
    } else {
      TryClaim(std::move(rest), std::move(rest_items));
    }
  });
}

// The claim's reply was lost. Its running node says whose it is.
void Agent::Settle(const std::string& dispatch) {
  auto& run = runs_.at(dispatch);
  run.busy = true;
  const auto path = layout_.RunningNode(run.queue, run.partition, dispatch);
  zk_.Sync([this, dispatch, path](Status synced) {
    zk_.Get(path, Watch::kNo, [this, dispatch, synced](Result<NodeData> node) {
      const auto found = runs_.find(dispatch);
      if (found == runs_.end()) return;
      found->second.busy = false;
      if (!synced) return;
      if (!node) {
        // Still waiting, or another worker's and done already: not ours.
        if (node.error().code == ErrorCode::kNotFound) Drop(dispatch);
        return;
      }
      proto::Entry entry;
      if (!entry.ParseFromString(node->data) || entry.worker() != options_.worker) {
        return Drop(dispatch);
      }
      found->second.state = State::kClaimed;
      ClaimAgain(dispatch);
    });
  });
}

// Our run, in a session that holds no claim of it yet, as far as we know.
void Agent::ClaimAgain(const std::string& dispatch) {
  auto& run = runs_.at(dispatch);
  if (run.busy || run.state == State::kFinishing || run.state == State::kInDoubt) return;
  run.busy = true;
  const auto path = layout_.RunningNode(run.queue, run.partition, dispatch);
  zk_.Children(path, Watch::kNo, [this, dispatch, path](Result<std::vector<std::string>> names) {
    const auto found = runs_.find(dispatch);
    if (found == runs_.end()) return;
    found->second.busy = false;
    if (!names) {
      if (names.error().code != ErrorCode::kNotFound) return;
      // Declared lost while we were away. Its next try may start any moment.
      spdlog::warn("run was declared lost; killing it dispatch={} label=\"{}\"", dispatch,
                   found->second.entry.label());
      if (found->second.state != State::kRunning) return Drop(dispatch);
      found->second.abandoned = true;
      found->second.kill_asked = true;
      found->second.kill_at = clock_.Now() + options_.kill_grace;
      launcher_.Kill(dispatch, Launcher::Signal::kKill);
      return;
    }
    found->second.claim = OurClaim(path, *names);
    if (!found->second.claim.empty()) return StartDue();
    found->second.busy = true;
    proto::Claim claim;
    claim.set_worker(options_.worker);
    claim.set_claimed_unix_ms(clock_.UnixMs());
    zk_.Multi({Op::Create(path + "/" + ClaimNamePrefix(guid_), claim.SerializeAsString(),
                          NodeMode::kEphemeralSequential)},
              [this, dispatch](Result<std::vector<OpResult>> made) {
                const auto again = runs_.find(dispatch);
                if (again == runs_.end()) return;
                again->second.busy = false;
                if (made) again->second.claim = (*made)[0].path;
                if (made) StartDue();
              });
  });
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
