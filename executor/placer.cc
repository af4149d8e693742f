// SPDX-License-Identifier: Apache-2.0
#include "executor/placer.h"

#include <algorithm>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/tree.h"

namespace zkexec {

Placer::Placer(Options options, Coordinator& zk, const Layout& layout, const Clock& clock,
               const Sealer& sealer, Router& router, Listener& listener)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      clock_(clock),
      sealer_(sealer),
      router_(router),
      listener_(listener),
      guid_(RandomHex()) {}

std::size_t Placer::waiting() const {
  std::size_t count = waiting_.size();
  for (const auto& batch : flight_) count += batch.items.size();
  return count;
}

void Placer::Add(Placement placement) {
  const auto reject = [&](const std::string& why) {
    listener_.OnRejected(placement.dispatch_id, why);
  };
  if (!IsDispatchId(placement.dispatch_id)) {
    return reject("not a usable dispatch id: '" + placement.dispatch_id + "'");
  }
  if (placement.queue.empty()) return reject(placement.label + " has no queue");
  const auto sealed = sealer_.Seal(placement.workload, placement.dispatch_id);
  if (!sealed) return reject(sealed.error().message);
  if (sealed->size() > options_.workload_bytes_max) {
    return reject("the workload of " + placement.label +
                  " is too large: " + std::to_string(sealed->size()) +
                  " bytes compressed, at most " + std::to_string(options_.workload_bytes_max) +
                  " are allowed ([zk_executor] max_workload_bytes)");
  }
  Item item;
  item.enqueued_unix_ms = clock_.UnixMs();
  item.priority = placement.priority;
  item.place.queue = placement.queue;
  item.place.slots = std::max(1, placement.slots);
  proto::Entry entry;
  entry.set_protocol_version(kProtocolVersion);
  entry.set_dispatch_id(placement.dispatch_id);
  entry.set_scheduler(options_.scheduler);
  entry.set_kind(placement.kind);
  entry.set_queue(placement.queue);
  entry.set_slots(static_cast<std::uint32_t>(item.place.slots));
  entry.set_enqueued_unix_ms(item.enqueued_unix_ms);
  entry.set_label(placement.label);
  entry.set_lost_by(placement.lost_by);
  entry.set_priority(placement.priority);
  entry.set_sealed(*sealed);
  item.data = entry.SerializeAsString();
  item.dispatch = std::move(placement.dispatch_id);
  item.route_key = std::move(placement.route_key);
  waiting_.push_back(std::move(item));
}

void Placer::PutBack(proto::Entry entry, const Place& running, int version) {
  Item item;
  item.dispatch = entry.dispatch_id();
  item.route_key = entry.label();  // what it was warm for died with its worker
  item.priority = entry.priority();
  item.enqueued_unix_ms = entry.enqueued_unix_ms();
  item.running = layout_.RunningNode(running.queue, running.partition, item.dispatch);
  item.running_version = version;
  item.place = running;
  item.place.slots = std::max(1, static_cast<int>(entry.slots()));
  if (entry.lost_by().empty()) entry.set_lost_by(entry.worker());
  entry.clear_worker();
  entry.set_scheduler(options_.scheduler);
  item.data = entry.SerializeAsString();
  waiting_.push_front(std::move(item));
}

bool Placer::Withdraw(const std::string& dispatch) {
  return std::erase_if(waiting_, [&](const Item& item) {
           return item.dispatch == dispatch && item.running.empty();
         }) > 0;
}

void Placer::Suspend() { active_ = false; }

void Placer::Resume(int partitions) {
  active_ = true;
  busy_ = false;
  partitions_ = partitions;
  queues_.clear();
  // The old session's operations have all been answered.
  if (flight_.empty()) version_ = -1;
  recovering_ = !flight_.empty();
  Pump();
}

void Placer::Pump() {
  if (!active_ || busy_) return;
  if (recovering_) {
    if (unanswered_ == 0) Recover();
    return;
  }
  if (version_ < 0) {
    if (!waiting_.empty()) Settle();
    return;
  }
  while (!waiting_.empty() && flight_.size() < options_.in_flight_max) {
    const bool full = waiting_.size() >= options_.batch_entries_max;
    if (!flight_.empty() && (!full || one_by_one_)) return;
    const auto& queue = waiting_.front().place.queue;
    if (!queues_.contains(queue)) return MakeQueue(queue);
    Send();
  }
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
  Batch batch;
  batch.number = next_number_++;
  batch.version = version_ + static_cast<int>(flight_.size());
  batch.mark = guid_ + "-" + std::to_string(batch.number);
  std::vector<Op> ops{Op::Set(layout_.Producer(options_.scheduler), batch.mark, batch.version)};
  batch.item_of_op.push_back(-1);
  std::size_t bytes = 0;
  const std::size_t entries_max = one_by_one_ ? 1 : options_.batch_entries_max;
  while (!waiting_.empty() && batch.items.size() < entries_max) {
    auto& item = waiting_.front();
    if (!queues_.contains(item.place.queue)) break;
    if (!batch.items.empty() && bytes + item.data.size() > options_.batch_bytes_max) break;
    bytes += item.data.size();
    const auto index = static_cast<int>(batch.items.size());
    if (!item.running.empty()) {
      ops.push_back(Op::Remove(item.running, item.running_version));
      batch.item_of_op.push_back(index);
    }
    item.place.partition =
        router_.Choose(item.place.queue, item.route_key, item.dispatch, item.place.slots);
    item.place.entry = EntryName{item.priority, item.enqueued_unix_ms, item.dispatch}.Encode();
    // Counted now: the next item's choice must see it.
    router_.Add(item.place.queue, item.place.partition, item.place.slots);
    ops.push_back(Op::Create(
        layout_.Partition(item.place.queue, item.place.partition) + "/" + item.place.entry,
        item.data));
    batch.item_of_op.push_back(index);
    batch.items.push_back(std::move(item));
    waiting_.pop_front();
  }
  const auto number = batch.number;
  flight_.push_back(std::move(batch));
  ++unanswered_;
  zk_.Multi(std::move(ops), [this, number](Result<std::vector<OpResult>> reply) {
    OnReply(number, std::move(reply));
  });
}

void Placer::OnReply(std::uint64_t number, Result<std::vector<OpResult>> reply) {
  --unanswered_;
  for (auto& batch : flight_) {
    if (batch.number == number) batch.reply = std::move(reply);
  }
  while (!recovering_ && !flight_.empty() && flight_.front().reply) {
    if (!*flight_.front().reply) {
      recovering_ = true;
      break;
    }
    const auto batch = std::move(flight_.front());
    flight_.pop_front();
    Applied(batch);
  }
  Pump();
}

void Placer::Applied(const Batch& batch) {
  ++version_;
  mark_ = batch.mark;
  for (const auto& item : batch.items) listener_.OnPlaced(item.dispatch, item.place);
  if (waiting_.empty()) one_by_one_ = false;
}

// All of flight_ is answered, and the first of it did not succeed. What follows
// a refused multi was refused for its version.
void Placer::Recover() {
  const bool known = !flight_.empty() && flight_.front().reply && !*flight_.front().reply;
  if (!known) return Settle();
  const auto error = flight_.front().reply->error();
  const bool unknown = error.code == ErrorCode::kUnavailable ||
                       error.code == ErrorCode::kSessionExpired || error.failed_op == 0;
  if (unknown) return Settle();
  Refused(error);
}

void Placer::Refused(const Error& error) {
  auto& batch = flight_.front();
  const auto op = static_cast<std::size_t>(std::max(0, error.failed_op));
  const int index = op < batch.item_of_op.size() ? batch.item_of_op[op] : -1;
  if (index >= 0) {
    const auto at = batch.items.begin() + index;
    const bool removal = op + 1 < batch.item_of_op.size() && batch.item_of_op[op + 1] == index;
    if (removal && (error.code == ErrorCode::kNotFound || error.code == ErrorCode::kConflict)) {
      const auto item = std::move(*at);
      batch.items.erase(at);
      router_.Remove(item.place.queue, item.place.partition, item.place.slots);
      listener_.OnStillRunning(item.dispatch, item.place.queue);
      return BackToWaiting();
    }
    if (error.code == ErrorCode::kNotFound) {
      queues_.clear();  // somebody removed directories: make them again
      return BackToWaiting();
    }
    if (error.code == ErrorCode::kAlreadyExists) {
      // The same dispatch, placed before: then it is placed.
      const auto item = std::move(*at);
      batch.items.erase(at);
      listener_.OnPlaced(item.dispatch, item.place);
      return BackToWaiting();
    }
  }
  spdlog::error("placing was refused entries={} error=\"{}\"", batch.items.size(), error.message);
  if (batch.items.size() == 1) {
    const auto item = std::move(batch.items.front());
    batch.items.clear();
    router_.Remove(item.place.queue, item.place.partition, item.place.slots);
    listener_.OnRejected(item.dispatch, error.message);
  } else {
    one_by_one_ = true;
  }
  BackToWaiting();
}

// Everything in flight is known not to have been applied: in front, in the old order.
void Placer::BackToWaiting() {
  for (auto batch = flight_.rbegin(); batch != flight_.rend(); ++batch) {
    for (auto item = batch->items.rbegin(); item != batch->items.rend(); ++item) {
      router_.Remove(item->place.queue, item->place.partition, item->place.slots);
      if (!item->running.empty()) item->place.entry.clear();
      waiting_.push_front(std::move(*item));
    }
  }
  flight_.clear();
  recovering_ = false;
  Pump();
}

void Placer::Settle() {
  busy_ = true;
  zk_.Sync([this](Status synced) {
    if (!synced) {
      busy_ = false;
      return;
    }
    zk_.Get(layout_.Producer(options_.scheduler), Watch::kNo, [this](Result<NodeData> counter) {
      busy_ = false;
      OnCounter(counter);
    });
  });
}

void Placer::OnCounter(const Result<NodeData>& counter) {
  if (!counter) {
    if (counter.error().code != ErrorCode::kNotFound) return;
    // Swept away, because this scheduler was taken for dead.
    EnsureNodes(zk_, {layout_.Producer(options_.scheduler)}, [](Status) {});
    return Fenced(-1, "");
  }
  const int version = counter->stat.version;
  if (version_ < 0) {
    if (counter->data != mark_ && counter->data.starts_with(kFenceMark)) {
      return Fenced(version, counter->data);
    }
    version_ = version;
    mark_ = counter->data;
    return Pump();
  }
  const int applied = version - version_;
  const auto& expected = applied <= 0 || applied > static_cast<int>(flight_.size())
                             ? mark_
                             : flight_[static_cast<std::size_t>(applied) - 1].mark;
  if (applied < 0 || applied > static_cast<int>(flight_.size()) || counter->data != expected) {
    return Fenced(version, counter->data);
  }
  for (int i = 0; i < applied; ++i) {
    const auto batch = std::move(flight_.front());
    flight_.pop_front();
    spdlog::info("a batch with a lost reply was applied entries={}", batch.items.size());
    Applied(batch);
  }
  BackToWaiting();
}

// Whoever moved the counter has adopted what is ours, because this scheduler was taken for
// dead: what it could not see must not appear after that. What is added from now on may.
void Placer::Fenced(int version, const std::string& mark) {
  std::size_t count = waiting_.size();
  for (const auto& batch : flight_) {
    count += batch.items.size();
    for (const auto& item : batch.items) {
      router_.Remove(item.place.queue, item.place.partition, item.place.slots);
    }
  }
  waiting_.clear();
  flight_.clear();
  recovering_ = false;
  version_ = version;
  mark_ = mark;
  spdlog::error("fenced: another scheduler has taken our work over entries_not_placed={}", count);
  listener_.OnFenced();
}

}  // namespace zkexec
