// SPDX-License-Identifier: Apache-2.0
// The agent's claiming: how a waiting entry becomes its own.
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
constexpr int kClaimsUnderWayMax = 2;

}  // namespace

int Agent::Free() const {
  if (!ready_ || !launcher_ready_ || Holds()) return 0;
  return controls_.slots - slots_used() - reserved_;
}

void Agent::Claim() {
  for (;;) {
    const int free = Free();
    if (free < 1 || claims_under_way_ >= kClaimsUnderWayMax) return;
    lookout_.Look(free);
    if (lookout_.empty()) return;
    // In order, without looking past what does not fit: a task that needs many slots would
    // otherwise starve behind small ones.
    if (free < blocked_slots_ && lookout_.Best().name == blocked_entry_) return;
    blocked_slots_ = 0;
    Fetch(lookout_.Take(std::min(kClaimBatch, static_cast<std::size_t>(free))));
  }
}

void Agent::Fetch(std::vector<Backlog::Item> items) {
  ++claims_under_way_;
  reserved_ += static_cast<int>(items.size());
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
              --claims_under_way_;
              reserved_ -= static_cast<int>(batch->items.size());
              OnFetched(batch->items, batch->nodes);
              Claim();
            });
  }
}

void Agent::OnFetched(const std::vector<Backlog::Item>& items,
                      const std::vector<Result<NodeData>>& nodes) {
  int free = Free();
  std::size_t bytes = 0;
  bool full = free < 1;
  std::vector<Run> runs;
  std::vector<Backlog::Item> taken;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& item = items[i];
    if (!nodes[i]) {
      // Gone, or not to be read now: then the next listing shows it again.
      lookout_.Done(item);
      continue;
    }
    Run run;
    if (full || !Accept(item, *nodes[i], &run)) {
      if (full) lookout_.PutBack(item);
      continue;
    }
    bytes += run.entry.ByteSizeLong();
    if (run.slots > free || (!runs.empty() && bytes > kClaimBatchBytes)) {
      if (run.slots > free) {
        blocked_entry_ = item.name;
        blocked_slots_ = run.slots;
      }
      full = true;
      lookout_.PutBack(item);
      continue;
    }
    free -= run.slots;
    runs.push_back(std::move(run));
    taken.push_back(item);
  }
  if (!runs.empty()) TryClaim(std::move(runs), std::move(taken));
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
    lookout_.Done(item);  // placed again before we finished it: next time
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
  run->slots = std::clamp(static_cast<int>(run->entry.slots()), 1, std::max(1, controls_.slots));
  run->holder = options_.worker;
  run->entry.set_worker(options_.worker);
  return true;
}

void Agent::TryClaim(std::vector<Run> batch, std::vector<Backlog::Item> items) {
  std::vector<Op> ops;
  proto::Claim claim;
  claim.set_worker(options_.worker);
  claim.set_claimed_unix_ms(clock_.UnixMs());
  int slots = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto& run = batch[i];
    const auto& id = run.entry.dispatch_id();
    slots += run.slots;
    ops.push_back(Op::Remove(layout_.Partition(run.queue, run.partition) + "/" + items[i].name));
    ops.push_back(Op::Create(layout_.RunningNode(run.queue, run.partition, id),
                             run.entry.SerializeAsString()));
    ops.push_back(Op::Create(layout_.ClaimPrefix(run.queue, run.partition, id, guid_),
                             claim.SerializeAsString(), NodeMode::kEphemeralSequential));
  }
  ++claims_under_way_;
  reserved_ += slots;
  auto held = std::make_shared<std::vector<Run>>(std::move(batch));
  zk_.Multi(std::move(ops), [this, held, items, slots](Result<std::vector<OpResult>> result) {
    --claims_under_way_;
    reserved_ -= slots;
    OnClaimed(std::move(*held), items, result);
    Claim();
  });
}

void Agent::OnClaimed(std::vector<Run> batch, std::vector<Backlog::Item> items,
                      const Result<std::vector<OpResult>>& result) {
  if (result || result.error().code == ErrorCode::kUnavailable ||
      result.error().code == ErrorCode::kSessionExpired) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto& run = batch[i];
      run.state = result ? State::kClaimed : State::kInDoubt;
      if (result) {
        run.claim = (*result)[i * 3 + 2].path;
        run.claimed = clock_.Now();
        observer_.OnWaited(std::max(
            0.0, static_cast<double>(clock_.UnixMs() - run.entry.enqueued_unix_ms()) / 1000.0));
      }
      run.entry.clear_sealed();
      lookout_.Done(items[i]);
      const auto id = run.entry.dispatch_id();
      runs_.emplace(id, std::move(run));
    }
    if (!result) return;
    observer_.OnClaimed(static_cast<int>(batch.size()));
    return StartDue();
  }
  const auto& error = result.error();
  const auto bad = static_cast<std::size_t>(std::max(0, error.failed_op)) / 3;
  if (error.failed_op < 0 || bad >= batch.size()) {
    for (const auto& item : items) Refuse(item, "unclaimable", error.message);
    return;
  }
  if (error.code == ErrorCode::kNotFound && error.failed_op % 3 == 0) {
    observer_.OnClaimLost();
    lookout_.Done(items[bad]);
  } else {
    Refuse(items[bad], "unclaimable", error.message);
  }
  batch.erase(batch.begin() + static_cast<std::ptrdiff_t>(bad));
  items.erase(items.begin() + static_cast<std::ptrdiff_t>(bad));
  if (batch.empty()) return;
  if (ready_ && !Holds()) return TryClaim(std::move(batch), std::move(items));
  for (const auto& item : items) lookout_.Done(item);
}

void Agent::Refuse(const Backlog::Item& item, const std::string& reason, const std::string& why) {
  lookout_.Refuse(item);
  spdlog::error("entry refused, left where it is path={}/{} reason={} error=\"{}\"",
                layout_.Partition(item.queue, item.partition), item.name, reason, why);
  observer_.OnRefused(reason);
}

}  // namespace zkexec
