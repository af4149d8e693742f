// SPDX-License-Identifier: Apache-2.0
// FakeServer: ZooKeeper's tree in memory, with sessions and multis, for any number
// of FakeCoordinators.
#pragma once

#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/coordinator.h"

namespace zkexec {

class FakeCoordinator;

class FakeServer {
 public:
  struct Node {
    std::string data;
    int version = 0;
    int next_sequence = 0;
    int children = 0;
    std::int64_t created_zxid = 0;
    SessionId owner = 0;
  };
  // Told of each committed multi: what was written, and in which session.
  using OnCommit = std::function<void(const std::vector<Op>& ops, SessionId session)>;

  FakeServer() { nodes_["/"] = {}; }

  bool Has(const std::string& path) const { return nodes_.contains(path); }
  std::string Data(const std::string& path) const { return nodes_.at(path).data; }
  std::vector<std::string> Names(const std::string& parent) const {
    std::vector<std::string> names;
    const auto prefix = parent == "/" ? parent : parent + "/";
    for (auto it = nodes_.lower_bound(prefix); it != nodes_.end(); ++it) {
      if (!it->first.starts_with(prefix)) break;
      const auto rest = it->first.substr(prefix.size());
      if (!rest.empty() && rest.find('/') == std::string::npos) names.push_back(rest);
    }
    return names;
  }
  NodeStat Stat(const std::string& path) const {
    const auto& node = nodes_.at(path);
    return {node.version, node.children, node.created_zxid, 0, node.owner};
  }
  // As software that is not ours would write it.
  void Put(const std::string& path, const std::string& data) {
    for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      Insert(path.substr(0, at), {});
    }
    if (!Insert(path, {data})) nodes_[path].data = data;
    Changed(path, true);
  }
  void Erase(const std::string& path) {
    if (Has(path)) Delete(path);
    Changed(path, true);
  }

  Result<std::vector<OpResult>> Apply(const std::vector<Op>& ops, SessionId session) {
    undo_.clear();
    std::vector<OpResult> results;
    std::vector<std::pair<std::string, bool>> changes;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      auto one = ApplyOne(ops[i], session, &changes);
      if (!one) {
        for (auto back = undo_.rbegin(); back != undo_.rend(); ++back) {
          if (back->second) {
            nodes_[back->first] = *back->second;
          } else {
            nodes_.erase(back->first);
          }
        }
        auto error = one.error();
        error.failed_op = static_cast<int>(i);
        return error;
      }
      results.push_back(*one);
    }
    if (on_commit) on_commit(ops, session);
    for (const auto& [path, structure] : changes) Changed(path, structure);
    return results;
  }

  bool Alive(SessionId session) const { return sessions_.contains(session); }
  void EndSession(SessionId session) {
    sessions_.erase(session);
    std::vector<std::string> gone;
    for (const auto& [path, node] : nodes_) {
      if (session != 0 && node.owner == session) gone.push_back(path);
    }
    for (const auto& path : gone) {
      Delete(path);
      Changed(path, true);
    }
  }
  SessionId NextSession() {
    sessions_.insert(++last_session_);
    return last_session_;
  }

  std::set<FakeCoordinator*> clients;
  OnCommit on_commit;

 private:
  static std::string Parent(const std::string& path) {
    const auto at = path.rfind('/');
    return at == 0 ? "/" : path.substr(0, at);
  }
  void Remember(const std::string& path) {
    const auto node = nodes_.find(path);
    undo_.emplace_back(path, node == nodes_.end() ? std::nullopt : std::optional(node->second));
  }
  bool Insert(const std::string& path, Node node) {
    if (!nodes_.try_emplace(path, std::move(node)).second) return false;
    ++nodes_[Parent(path)].children;
    return true;
  }
  void Delete(const std::string& path) {
    nodes_.erase(path);
    --nodes_[Parent(path)].children;
  }

  Result<OpResult> ApplyOne(const Op& op, SessionId session,
                            std::vector<std::pair<std::string, bool>>* changes) {
    if (op.kind == Op::Kind::kCreate) {
      const auto parent = nodes_.find(Parent(op.path));
      if (parent == nodes_.end()) return Error{ErrorCode::kNotFound, "no parent: " + op.path};
      auto path = op.path;
      if (op.mode == NodeMode::kEphemeralSequential || op.mode == NodeMode::kPersistentSequential) {
        char sequence[16];
        std::snprintf(sequence, sizeof sequence, "%010d", parent->second.next_sequence);
        path += sequence;
      }
      if (nodes_.contains(path)) return Error{ErrorCode::kAlreadyExists, path};
      const bool ephemeral =
          op.mode == NodeMode::kEphemeral || op.mode == NodeMode::kEphemeralSequential;
      Remember(Parent(op.path));
      Remember(path);
      ++parent->second.next_sequence;
      Insert(path, {op.data, 0, 0, 0, ++zxid_, ephemeral ? session : 0});
      changes->emplace_back(path, true);
      return OpResult{path, {}};
    }
    const auto node = nodes_.find(op.path);
    if (node == nodes_.end()) return Error{ErrorCode::kNotFound, op.path};
    if (op.version >= 0 && op.version != node->second.version) {
      return Error{ErrorCode::kConflict, "bad version: " + op.path};
    }
    if (op.kind == Op::Kind::kRemove) {
      if (node->second.children > 0) return Error{ErrorCode::kConflict, "not empty: " + op.path};
      Remember(Parent(op.path));
      Remember(op.path);
      Delete(op.path);
      changes->emplace_back(op.path, true);
      return OpResult{};
    }
    if (op.kind == Op::Kind::kSet) {
      Remember(op.path);
      node->second.data = op.data;
      ++node->second.version;
      changes->emplace_back(op.path, false);
      return OpResult{"", Stat(op.path)};
    }
    return OpResult{};
  }

  void Changed(const std::string& path, bool structure);

  std::map<std::string, Node> nodes_;
  std::vector<std::pair<std::string, std::optional<Node>>> undo_;  // of the multi being applied
  std::int64_t zxid_ = 0;
  SessionId last_session_ = 0;
  std::set<SessionId> sessions_;
};

}  // namespace zkexec
