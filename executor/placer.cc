// SPDX-License-Identifier: Apache-2.0
#include "executor/placer.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/proto/zkexec.pb.h"
#include "common/tree.h"

namespace zkexec {

Placer::Placer(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
               const Sealer& sealer, const Fleet& fleet, Placed placed, Rejected rejected)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      sealer_(sealer),
      fleet_(fleet),
      placed_(std::move(placed)),
      rejected_(std::move(rejected)) {}

void Placer::Add(Placement placement) {
  if (!IsDispatchId(placement.dispatch_id)) {
    rejected_(placement.dispatch_id, "not a usable dispatch id: '" + placement.dispatch_id + "'");
    return;
  }
  if (placement.queue.empty()) {
    rejected_(placement.dispatch_id, placement.label + " has no queue");
    return;
  }
  const auto sealed = sealer_.Seal(placement.workload, placement.dispatch_id);
  if (!sealed) {
    rejected_(placement.dispatch_id, sealed.error().message);
    return;
  }
  if (sealed->size() > options_.workload_bytes_max) {
    rejected_(placement.dispatch_id, "the workload of " + placement.label +
                                         " is too large: " + std::to_string(sealed->size()) +
                                         " bytes compressed, at most " +
                                         std::to_string(options_.workload_bytes_max) +
                                         " are allowed ([zk_executor] max_workload_bytes)");
    return;
  }
  Item item;
  item.enqueued_unix_ms = clock_.UnixMs();
  proto::Entry entry;
  entry.set_protocol_version(kProtocolVersion);
  entry.set_dispatch_id(placement.dispatch_id);
  entry.set_scheduler(options_.scheduler);
  entry.set_kind(placement.kind);
  entry.set_queue(placement.queue);
  entry.set_slots(static_cast<std::uint32_t>(std::max(1, placement.slots)));
  entry.set_enqueued_unix_ms(item.enqueued_unix_ms);
  entry.set_label(placement.label);
  entry.set_sealed(*sealed);
  item.data = entry.SerializeAsString();
  item.dispatch = std::move(placement.dispatch_id);
  item.queue = std::move(placement.queue);
  item.route_key = std::move(placement.route_key);
  item.priority = placement.priority;
  waiting_.push_back(std::move(item));
}

bool Placer::Withdraw(const std::string& dispatch) {
  return std::erase_if(waiting_, [&](const Item& item) { return item.dispatch == dispatch; }) > 0;
}

void Placer::Suspend() { active_ = false; }

void Placer::Resume(int partitions) {
  active_ = true;
  busy_ = false;
  partitions_ = partitions;
  queues_.clear();
  if (batch_.empty()) {
    version_ = -1;
    Pump();
  } else {
    Settle();
  }
}

void Placer::ReadCounter(std::function<void(int version)> then) {
  busy_ = true;
  zk_.Sync([this, then](Status synced) {
    if (!synced) {
      busy_ = false;
      return;
    }
    zk_.Get(layout_.Producer(options_.scheduler), Watch::kNo,
            [this, then](Result<NodeData> counter) {
              busy_ = false;
              if (counter) then(counter->stat.version);
            });
  });
}

void Placer::Pump() {
  if (!active_ || busy_) return;
  if (!batch_.empty()) return Settle();
  if (waiting_.empty()) return;
  if (version_ < 0) {
    ReadCounter([this](int version) {
      version_ = version;
      Pump();
    });
    return;
  }
  const auto& queue = waiting_.front().queue;
  if (!queues_.contains(queue)) return MakeQueue(queue);
  Send();
}

void Placer::MakeQueue(const std::string& queue) {
  busy_ = true;
  EnsureQueue(zk_, layout_, queue, partitions_, [this, queue](Status made) {
    busy_ = false;
    if (!made) {
      spdlog::warn("cannot create queue queue={} error=\"{}\"", queue, made.error().message);
      return;  // Pump() is called again by the owner's tick
    }
    queues_.insert(queue);
    Pump();
  });
}

void Placer::Send() {
  std::vector<Op> ops{Op::Set(layout_.Producer(options_.scheduler), "", version_)};
  std::size_t bytes = 0;
  const std::size_t entries_max = one_by_one_ ? 1 : options_.batch_entries_max;
  while (!waiting_.empty() && batch_.size() < entries_max) {
    auto& item = waiting_.front();
    if (!queues_.contains(item.queue)) break;
    if (!batch_.empty() && bytes + item.data.size() > options_.batch_bytes_max) break;
    bytes += item.data.size();
    item.place.queue = item.queue;
    item.place.partition = fleet_.PartitionFor(item.queue, item.route_key);
    item.place.entry = EntryName{item.priority, item.enqueued_unix_ms, item.dispatch}.Encode();
    ops.push_back(Op::Create(
        layout_.Partition(item.queue, item.place.partition) + "/" + item.place.entry, item.data));
    batch_.push_back(std::move(item));
    waiting_.pop_front();
  }
  busy_ = true;
  zk_.Multi(std::move(ops), [this](Result<std::vector<OpResult>> result) {
    busy_ = false;
    OnSent(std::move(result));
  });
}

void Placer::BatchApplied() {
  ++version_;
  const auto done = std::move(batch_);
  batch_.clear();
  for (const auto& item : done) placed_(item.dispatch, item.place);
  if (waiting_.empty()) one_by_one_ = false;
  Pump();
}

void Placer::BatchAgain() {
  // In front, in their old order.
  waiting_.insert(waiting_.begin(), std::make_move_iterator(batch_.begin()),
                  std::make_move_iterator(batch_.end()));
  batch_.clear();
}

void Placer::OnSent(Result<std::vector<OpResult>> result) {
  if (result) return BatchApplied();
  const auto error = result.error();
  const int failed_entry = error.failed_op - 1;
  switch (error.code) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kSessionExpired: return;  // unknown: Resume() or the next Pump() settles it
    case ErrorCode::kNotFound:
      // Somebody removed directories: make them again.
      queues_.clear();
      version_ = -1;
      BatchAgain();
      return;
    case ErrorCode::kConflict: return Settle();
    case ErrorCode::kAlreadyExists:
      if (failed_entry >= 0 && failed_entry < static_cast<int>(batch_.size())) {
        // The same dispatch, placed before: then it is placed.
        const auto item = batch_[static_cast<std::size_t>(failed_entry)];
        batch_.erase(batch_.begin() + failed_entry);
        placed_(item.dispatch, item.place);
      }
      BatchAgain();
      return Pump();
    default: break;
  }
  spdlog::error("placing was refused entries={} error=\"{}\"", batch_.size(), error.message);
  if (batch_.size() == 1) {
    const auto item = std::move(batch_.front());
    batch_.clear();
    rejected_(item.dispatch, error.message);
  } else {
    one_by_one_ = true;
    BatchAgain();
  }
  Pump();
}

void Placer::Settle() {
  ReadCounter([this](int now) {
    if (batch_.empty()) {
      version_ = now;
      return Pump();
    }
    if (now == version_ + 1) {
      spdlog::info("a batch with a lost reply was applied entries={}", batch_.size());
      return BatchApplied();
    }
    if (now != version_) {
      // Another scheduler moved our counter: it has adopted what is ours, because
      // it believes us dead. What it could not see must not appear after that.
      spdlog::error("fenced by another scheduler; a batch is given back entries={}", batch_.size());
      const auto lost = std::move(batch_);
      batch_.clear();
      version_ = now;
      for (const auto& item : lost) {
        rejected_(item.dispatch, "another scheduler took this scheduler's work over");
      }
      return Pump();
    }
    BatchAgain();
    Pump();
  });
}

}  // namespace zkexec
