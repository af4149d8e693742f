// SPDX-License-Identifier: Apache-2.0
#include "executor/collector.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/proto/zkexec.pb.h"

namespace zkexec {
namespace {

constexpr std::size_t kRemoveBatch = 200;

}  // namespace

Collector::Collector(std::string scheduler, Coordinator& zk, const Layout& layout, Wanted wanted,
                     EventSink sink)
    : scheduler_(std::move(scheduler)),
      zk_(zk),
      layout_(layout),
      wanted_(std::move(wanted)),
      sink_(std::move(sink)),
      dirs_{layout_.ResultDir(scheduler_)} {}

void Collector::Resume() {
  active_ = true;
  reading_.clear();
  Poll();
}

void Collector::Suspend() { active_ = false; }

void Collector::Poll() {
  if (!active_) return;
  for (const auto& dir : dirs_) List(dir, {});
}

void Collector::OnChanged(const std::string& path) {
  if (active_ && dirs_.contains(path)) List(path, {});
}

void Collector::List(const std::string& dir, Coordinator::StatusCallback done) {
  zk_.Children(dir, Watch::kYes, [this, dir, done](Result<std::vector<std::string>> names) {
    if (!names && names.error().code == ErrorCode::kNotFound && !IsOwn(dir)) dirs_.erase(dir);
    if (names) Apply(dir, *names);
    if (!done) return;
    if (names || names.error().code == ErrorCode::kNotFound) {
      done(Done{});
    } else {
      done(names.error());
    }
  });
}

void Collector::Apply(const std::string& dir, const std::vector<std::string>& names) {
  std::vector<std::string> finished;
  for (const auto& name : names) {
    const auto result = ResultName::Decode(name);
    if (!result) continue;  // not ours to read, nor to delete
    if (handed_on_.contains(result->dispatch)) continue;
    if (!wanted_(result->dispatch)) {
      // Late or repeated. In a dead scheduler's directory it may be wanted by
      // another scheduler that adopted it.
      if (IsOwn(dir)) finished.push_back(name);
      continue;
    }
    if (result->outcome == "success") {
      HandOn(dir, name, Event{result->dispatch, result->outcome, "", ""});
    } else if (reading_.insert(dir + "/" + name).second) {
      Read(dir, name, Event{result->dispatch, result->outcome, "", ""});
    }
  }
  for (std::size_t at = 0; at < finished.size(); at += kRemoveBatch) {
    const auto end = std::min(at + kRemoveBatch, finished.size());
    Remove(dir, {finished.begin() + static_cast<std::ptrdiff_t>(at),
                 finished.begin() + static_cast<std::ptrdiff_t>(end)});
  }
}

void Collector::Read(const std::string& dir, const std::string& name, Event event) {
  const auto path = dir + "/" + name;
  zk_.Get(path, Watch::kNo, [this, dir, name, path, event](Result<NodeData> node) {
    reading_.erase(path);
    if (!node && node.error().code != ErrorCode::kNotFound) return;  // listed again later
    auto told = event;
    proto::ResultInfo info;
    if (node && info.ParseFromString(node->data)) {
      told.info = info.info();
      told.worker = info.worker();
    }
    if (wanted_(told.dispatch_id)) {
      HandOn(dir, name, std::move(told));
    } else {
      Remove(dir, {name});
    }
  });
}

void Collector::HandOn(const std::string& dir, const std::string& name, Event event) {
  handed_on_[event.dispatch_id] = {dir, name};
  sink_(std::move(event));
}

void Collector::Acknowledge(const std::string& dispatch) {
  const auto found = handed_on_.find(dispatch);
  if (found == handed_on_.end()) return;
  // If the removal is lost, the next listing finds a result that nobody wants.
  Remove(found->second.dir, {found->second.name});
  handed_on_.erase(found);
}

void Collector::Remove(const std::string& dir, std::vector<std::string> names) {
  std::vector<Op> ops;
  for (const auto& name : names) ops.push_back(Op::Remove(dir + "/" + name));
  zk_.Multi(std::move(ops), [this, dir, names](Result<std::vector<OpResult>> removed) {
    if (removed || names.size() < 2 || removed.error().code != ErrorCode::kNotFound) return;
    // One of them was gone already, so none went. The rest singly.
    for (const auto& name : names) Remove(dir, {name});
  });
}

void Collector::AdoptDeadSchedulers(Coordinator::StatusCallback done) {
  zk_.Children(layout_.Results(), Watch::kNo, [this, done](Result<std::vector<std::string>> all) {
    if (!all) return done(all.error());
    zk_.Children(layout_.Schedulers(), Watch::kNo,
                 [this, done, all](Result<std::vector<std::string>> live) {
                   if (!live) return done(live.error());
                   const std::set<std::string> alive(live->begin(), live->end());
                   for (const auto& name : *all) {
                     if (!alive.contains(name)) dirs_.insert(layout_.ResultDir(name));
                   }
                   auto left = std::make_shared<std::size_t>(dirs_.size());
                   auto first = std::make_shared<Status>(Done{});
                   for (const auto& dir : std::set<std::string>(dirs_)) {
                     List(dir, [left, first, done](Status listed) {
                       if (!listed) *first = listed;
                       if (--*left == 0) done(*first);
                     });
                   }
                 });
  });
}

}  // namespace zkexec
