// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/history.h"

#include "common/proto/zkexec.pb.h"

namespace zkexec::sim {
namespace {

// "a/b/c" below `parent`, or nothing if `path` isn't below it.
std::vector<std::string> Below(const std::string& path, const std::string& parent) {
  std::vector<std::string> parts;
  if (!path.starts_with(parent + "/")) return parts;
  std::size_t from = parent.size() + 1;
  for (auto at = path.find('/', from); at != std::string::npos; at = path.find('/', from)) {
    parts.push_back(path.substr(from, at - from));
    from = at + 1;
  }
  parts.push_back(path.substr(from));
  return parts;
}

// After so many beats a worker must have seen an entry.
constexpr int kInSight = 20;

}  // namespace

void History::Violate(const std::string& rule, const std::string& what) {
  if (violation_.empty()) violation_ = rule + ": " + what;
}

void History::Accepted(const std::string& dispatch, bool task, int priority) {
  Record record;
  record.task = task;
  record.priority = priority;
  records_[dispatch] = record;
}

std::string History::Where(const std::string& dispatch) const {
  for (const auto& queue : server_.Names(layout_.Queues())) {
    for (const auto& partition : server_.Names(layout_.Queues() + "/" + queue)) {
      for (const auto& name : server_.Names(layout_.Queues() + "/" + queue + "/" + partition)) {
        const auto entry = EntryName::Decode(name);
        if (entry && entry->dispatch == dispatch) return "queues";
      }
    }
  }
  if (!HolderOf(dispatch).empty()) return "running";
  for (const auto& scheduler : server_.Names(layout_.Results())) {
    for (const auto& name : server_.Names(layout_.ResultDir(scheduler))) {
      const auto result = ResultName::Decode(name);
      if (result && result->dispatch == dispatch) return "results";
    }
  }
  return "";
}

std::string History::HolderOf(const std::string& dispatch) const {
  for (const auto& queue : server_.Names(layout_.Running())) {
    for (const auto& partition : server_.Names(layout_.Running() + "/" + queue)) {
      const auto path = layout_.Running() + "/" + queue + "/" + partition + "/" + dispatch;
      if (!server_.Has(path)) continue;
      proto::Entry entry;
      entry.ParseFromString(server_.Data(path));
      return entry.worker().empty() ? "?" : entry.worker();
    }
  }
  return "";
}

void History::Started(const std::string& dispatch, const std::string& worker, SessionId session) {
  auto& record = records_.at(dispatch);
  ++record.starts;
  const int allowed = record.task ? 1 + record.put_backs : 1;
  // A refused token hands it over anew.
  if (record.starts > allowed && !record.token_refused) {
    Violate("R2", dispatch + " was started " + std::to_string(record.starts) + " times");
  }
  if (HolderOf(dispatch) != worker) {
    return Violate("R2", dispatch + " was started by " + worker + ", its running node names '" +
                             HolderOf(dispatch) + "'");
  }
  for (const auto& queue : server_.Names(layout_.Running())) {
    for (const auto& partition : server_.Names(layout_.Running() + "/" + queue)) {
      const auto path = layout_.Running() + "/" + queue + "/" + partition + "/" + dispatch;
      if (!server_.Has(path)) continue;
      for (const auto& claim : server_.Names(path)) {
        if (server_.Stat(path + "/" + claim).owner == session) return;
      }
    }
  }
  Violate("R2", dispatch + " was started by " + worker + " without a live claim");
}

bool History::PassGate(const std::string& dispatch) {
  auto& record = records_.at(dispatch);
  if (!record.task) return true;
  if (record.gate) return false;
  record.gate = true;
  return true;
}

void History::Finished(const std::string& dispatch, const std::string& outcome) {
  records_.at(dispatch).finished.insert(outcome);
}

void History::KilledAsLost(const std::string& dispatch, const std::string& worker) {
  if (records_.at(dispatch).revoked) return;
  if (HolderOf(dispatch) == worker) {
    Violate("R5", dispatch + " was killed by " + worker + ", which still holds it");
  }
}

void History::Ended(const std::string& dispatch, const std::string& outcome) {
  auto& record = records_.at(dispatch);
  if (record.revoked) return;  // Airflow does not listen any more
  if (!record.outcome.empty()) {
    return Violate("R1", dispatch + " ended as " + record.outcome + ", then as " + outcome);
  }
  record.outcome = outcome;
  const auto where = Where(dispatch);
  if (outcome == "gone" && !where.empty()) {
    Violate("R3", dispatch + " was reported gone, and is in " + where);
  } else if (outcome == "lost" && where == "running") {
    Violate("R4", dispatch + " was reported lost, and is held");
  } else if ((outcome == "success" || outcome == "failed") && !record.finished.contains(outcome)) {
    Violate("R1", dispatch + " was reported as " + outcome + ", and was not");
  } else if (outcome == "already_running" || outcome == "killed") {
    Violate("R2", dispatch + " ended as " + outcome + ", which nobody had asked for");
  }
}

void History::Committed(const std::vector<Op>& ops, bool by_worker, bool lone_worker) {
  std::set<std::string> results;
  std::set<std::string> running;
  std::set<std::string> queued;
  for (const auto& op : ops) {
    if (op.kind != Op::Kind::kCreate) continue;
    if (const auto at = Below(op.path, layout_.Results()); at.size() == 2) {
      if (const auto name = ResultName::Decode(at[1])) results.insert(name->dispatch);
    }
    if (const auto at = Below(op.path, layout_.Running()); at.size() == 3) running.insert(at[2]);
    if (const auto at = Below(op.path, layout_.Queues()); at.size() == 3) {
      const auto name = EntryName::Decode(at[2]);
      if (!name || !records_.contains(name->dispatch)) continue;
      queued.insert(name->dispatch);
      records_.at(name->dispatch).queued = beat_;
    }
  }
  for (const auto& op : ops) {
    if (op.kind != Op::Kind::kRemove) continue;
    if (const auto at = Below(op.path, layout_.Running()); at.size() == 3) {
      const auto record = records_.find(at[2]);
      if (record == records_.end()) continue;
      if (queued.contains(at[2])) ++record->second.put_backs;
      if (by_worker && !results.contains(at[2])) {
        Violate("R1", at[2] + ": a worker removed the run without a result");
      }
    }
    if (const auto at = Below(op.path, layout_.Queues()); at.size() == 3) {
      const auto name = EntryName::Decode(at[2]);
      if (!name || !records_.contains(name->dispatch)) continue;
      if (by_worker && !running.contains(name->dispatch)) {
        Violate("R1", name->dispatch + ": a worker removed the entry without a run");
      }
      if (by_worker && lone_worker) CheckOrder(name->dispatch);
    }
  }
}

// R8: one worker, calm for a while: nothing that waits is of a higher priority.
void History::CheckOrder(const std::string& claimed) {
  const int taken = records_.at(claimed).priority;
  for (const auto& [dispatch, record] : records_) {
    if (dispatch == claimed || record.priority <= taken || record.starts > 0) continue;
    if (beat_ - record.queued < kInSight) continue;
    if (Where(dispatch) == "queues") {
      Violate("R8", claimed + " of priority " + std::to_string(taken) + " was claimed before " +
                        dispatch + " of " + std::to_string(record.priority));
    }
  }
}

bool History::AllEnded() const {
  for (const auto& [dispatch, record] : records_) {
    if (record.outcome.empty() && !record.revoked) return false;
  }
  return true;
}

void History::ExpectAllEnded() {
  for (const auto& [dispatch, record] : records_) {
    const auto where = Where(dispatch);
    if (record.outcome.empty() && !record.revoked) {
      Violate("R1", dispatch + " never ended; ZooKeeper has it in '" + where + "', held by '" +
                        HolderOf(dispatch) + "'");
    } else if (!where.empty() && where != "results" && !record.orphaned) {
      Violate("R1", dispatch + " has ended (" + record.outcome +
                        (record.revoked ? ", revoked" : "") + "), and is still in " + where);
    }
  }
}

}  // namespace zkexec::sim
