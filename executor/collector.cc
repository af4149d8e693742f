// SPDX-License-Identifier: Apache-2.0
#include "executor/collector.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/log.h"
#include "common/proto/zkexec.pb.h"

namespace zkexec {
namespace {

constexpr std::size_t kRemoveBatch = 200;

}  // namespace

Collector::Collector(std::string scheduler, Coordinator& zk, const Layout& layout,
                     Strangers& strangers, Wanted wanted, EventSink sink)
    : scheduler_(std::move(scheduler)),
      zk_(zk),
      layout_(layout),
      strangers_(strangers),
      wanted_(std::move(wanted)),
      sink_(std::move(sink)),
      dirs_{layout_.ResultDir(scheduler_)} {}

void Collector::Resume() {
  active_ = true;
  reading_.clear();
  removing_ = false;
  Poll();
}

void Collector::Suspend() { active_ = false; }

void Collector::Poll() {
  if (!active_) return;
  for (const auto& dir : dirs_) List(dir, {});
  SendRemovals();
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
  std::vector<std::string> unwanted;
  for (const auto& name : names) {
    const auto result = ResultName::Decode(name);
    const auto path = dir + "/" + name;
    if (!result) {  // not ours to read, nor to delete
      strangers_.Met(path, "not the name of a result");
      continue;
    }
    if (handed_on_.contains(result->dispatch) || to_remove_.contains(path)) continue;
    if (!wanted_(result->dispatch)) {
      // Late or repeated. In another scheduler's directory it may be wanted by that one, or
      // by one that adopted it.
      if (IsOwn(dir)) unwanted.push_back(name);
      continue;
    }
    if (result->outcome == "success") {
      HandOn(dir, name, Event{result->dispatch, result->outcome, "", ""});
    } else if (reading_.insert(path).second) {
      known_.insert(result->dispatch);
      Read(dir, name, Event{result->dispatch, result->outcome, "", ""});
    }
  }
  if (!unwanted.empty()) Remove(dir, unwanted);
}

void Collector::Read(const std::string& dir, const std::string& name, Event event) {
  const auto path = dir + "/" + name;
  zk_.Get(path, Watch::kNo, [this, dir, name, path, event](Result<NodeData> node) {
    reading_.erase(path);
    if (!node && node.error().code != ErrorCode::kNotFound) return;  // listed again later
    known_.erase(event.dispatch_id);
    auto told = event;
    proto::ResultInfo info;
    if (node && info.ParseFromString(node->data)) {
      told.info = info.info();
      told.worker = info.worker();
      told.lost_by = info.lost_by();
    }
    if (node && wanted_(told.dispatch_id)) {
      HandOn(dir, name, std::move(told));
    } else if (node) {
      Remove(dir, {name});
    }
  });
}

void Collector::HandOn(const std::string& dir, const std::string& name, Event event) {
  handed_on_[event.dispatch_id] = {dir, name};
  sink_(std::move(event));
}

void Collector::Acknowledge(const std::vector<std::string>& dispatches) {
  for (const auto& dispatch : dispatches) {
    const auto found = handed_on_.find(dispatch);
    if (found == handed_on_.end()) continue;
    to_remove_.insert(found->second.dir + "/" + found->second.name);
    handed_on_.erase(found);
  }
  SendRemovals();
}

void Collector::Remove(const std::string& dir, const std::vector<std::string>& names) {
  for (const auto& name : names) to_remove_.insert(dir + "/" + name);
  SendRemovals();
}

// One multi at a time; what gathers meanwhile is the next. Poll() tries again after errors.
void Collector::SendRemovals() {
  if (!active_ || removing_ || to_remove_.empty()) return;
  removing_ = true;
  std::vector<std::string> paths;
  std::vector<Op> ops;
  for (const auto& path : to_remove_) {
    if (ops.size() == kRemoveBatch) break;
    paths.push_back(path);
    ops.push_back(Op::Remove(path));
  }
  zk_.Multi(std::move(ops), [this, paths](Result<std::vector<OpResult>> removed) {
    removing_ = false;
    if (removed) {
      for (const auto& path : paths) to_remove_.erase(path);
    } else if (const auto bad = removed.error().failed_op; bad >= 0) {
      // One of them was gone already, or can't be removed; so none went. The rest again.
      if (removed.error().code != ErrorCode::kNotFound) {
        spdlog::warn("cannot remove a result error=\"{}\"", removed.error().message);
      }
      to_remove_.erase(paths[static_cast<std::size_t>(bad)]);
    } else {
      return;
    }
    SendRemovals();
  });
}

void Collector::ListAll(Coordinator::StatusCallback done) {
  auto left = std::make_shared<std::size_t>(dirs_.size());
  auto all = std::make_shared<Status>(Done{});
  for (const auto& dir : std::set<std::string>(dirs_)) {
    List(dir, [left, all, done](Status listed) {
      if (!listed) *all = listed;
      if (--*left == 0) done(*all);
    });
  }
}

void Collector::ListAllSchedulers(Coordinator::StatusCallback done) {
  zk_.Children(layout_.Results(), Watch::kNo, [this, done](Result<std::vector<std::string>> all) {
    if (!all) return done(all.error());
    for (const auto& name : *all) dirs_.insert(layout_.ResultDir(name));
    ListAll(done);
  });
}

}  // namespace zkexec
