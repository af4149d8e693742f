// SPDX-License-Identifier: Apache-2.0
// FakeServer and FakeCoordinator: ZooKeeper in memory, one server and any number
// of sessions, that can lose requests and replies and expire sessions.
//
// Nothing happens by itself: operations wait until Deliver() or Settle(). Both
// pass the contract suite that the real client passes (tests/contract/).
#pragma once

#include <algorithm>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/coordinator.h"
#include "tests/fakes/fake_clock.h"

namespace zkexec {

class FakeCoordinator;

class FakeServer {
 public:
  struct Node {
    std::string data;
    int version = 0;
    int next_sequence = 0;
    std::int64_t created_zxid = 0;
    SessionId owner = 0;
  };

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
    return {node.version, static_cast<int>(Names(path).size()), node.created_zxid, 0, node.owner};
  }
  // As software that is not ours would write it.
  void Put(const std::string& path, const std::string& data) {
    for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      nodes_.try_emplace(path.substr(0, at));
    }
    nodes_[path].data = data;
    Changed(path, true);
  }
  void Erase(const std::string& path) {
    nodes_.erase(path);
    Changed(path, true);
  }

  Result<std::vector<OpResult>> Apply(const std::vector<Op>& ops, SessionId session) {
    const auto before = nodes_;
    std::vector<OpResult> results;
    std::vector<std::pair<std::string, bool>> changes;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      auto one = ApplyOne(ops[i], session, &changes);
      if (!one) {
        nodes_ = before;
        auto error = one.error();
        error.failed_op = static_cast<int>(i);
        return error;
      }
      results.push_back(*one);
    }
    for (const auto& [path, structure] : changes) Changed(path, structure);
    return results;
  }

  void EndSession(SessionId session) {
    std::vector<std::string> gone;
    for (const auto& [path, node] : nodes_) {
      if (node.owner == session) gone.push_back(path);
    }
    for (const auto& path : gone) {
      nodes_.erase(path);
      Changed(path, true);
    }
  }

  SessionId NextSession() { return ++last_session_; }
  std::set<FakeCoordinator*> clients;

 private:
  static std::string Parent(const std::string& path) {
    const auto at = path.rfind('/');
    return at == 0 ? "/" : path.substr(0, at);
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
      ++parent->second.next_sequence;
      if (nodes_.contains(path)) return Error{ErrorCode::kAlreadyExists, path};
      const bool ephemeral =
          op.mode == NodeMode::kEphemeral || op.mode == NodeMode::kEphemeralSequential;
      nodes_[path] = {op.data, 0, 0, ++zxid_, ephemeral ? session : 0};
      changes->emplace_back(path, true);
      return OpResult{path, {}};
    }
    const auto node = nodes_.find(op.path);
    if (node == nodes_.end()) return Error{ErrorCode::kNotFound, op.path};
    if (op.version >= 0 && op.version != node->second.version) {
      return Error{ErrorCode::kConflict, "bad version: " + op.path};
    }
    if (op.kind == Op::Kind::kRemove) {
      if (!Names(op.path).empty()) return Error{ErrorCode::kConflict, "not empty: " + op.path};
      nodes_.erase(node);
      changes->emplace_back(op.path, true);
      return OpResult{};
    }
    if (op.kind == Op::Kind::kSet) {
      node->second.data = op.data;
      ++node->second.version;
      changes->emplace_back(op.path, false);
      return OpResult{"", Stat(op.path)};
    }
    return OpResult{};
  }

  void Changed(const std::string& path, bool structure);

  std::map<std::string, Node> nodes_;
  std::int64_t zxid_ = 0;
  SessionId last_session_ = 0;
};

class FakeCoordinator : public Coordinator {
 public:
  FakeCoordinator(FakeServer& server, const FakeClock& clock) : server_(server), clock_(clock) {
    server_.clients.insert(this);
  }
  ~FakeCoordinator() override { server_.clients.erase(this); }

  // Faults, each for one write.
  void LoseNextReply() { lose_reply_ = true; }      // applied; its caller never hears
  void LoseNextRequest() { lose_request_ = true; }  // not applied

  void Connect() {
    if (session_ == 0) session_ = server_.NextSession();
    state_ = SessionState::kConnected;
    if (listener_ != nullptr) listener_->OnSession(state_);
  }
  void Disconnect() {
    state_ = SessionState::kConnecting;
    if (listener_ != nullptr) listener_->OnSession(state_);
    FailAll(ErrorCode::kUnavailable);
  }
  void Expire() {
    server_.EndSession(session_);
    session_ = 0;
    watches_.clear();
    state_ = SessionState::kExpired;
    if (listener_ != nullptr) listener_->OnSession(state_);
    FailAll(ErrorCode::kSessionExpired);
    state_ = SessionState::kConnecting;
  }

  // One operation or watch event. False if there was none.
  bool Deliver() {
    if (queue_.empty()) return false;
    auto next = std::move(queue_.front());
    queue_.pop_front();
    next.run({});
    return true;
  }
  void Settle() {
    while (Deliver()) {
    }
  }
  std::size_t pending() const { return queue_.size(); }
  int multis() const { return multis_; }

  void SetListener(Listener* listener) override { listener_ = listener; }
  SessionState state() const override { return state_; }
  SessionId session() const override { return session_; }
  TimePoint lease_until() const override {
    return fresh_ ? clock_.Now() + Duration{8000} : clock_.Now() - Duration{1};
  }
  // Whether the last acknowledged request is recent enough to believe in the session.
  void SetLeaseFresh(bool fresh) { fresh_ = fresh; }

  void Multi(std::vector<Op> ops, MultiCallback done) override {
    ++multis_;
    Push<std::vector<OpResult>>(std::move(done), [this, ops = std::move(ops)] {
      for (const auto& op : ops) {
        if (!ValidPath(op.path)) {
          return Result<std::vector<OpResult>>(Error{ErrorCode::kInvalid, op.path});
        }
      }
      if (std::exchange(lose_request_, false)) {
        return Result<std::vector<OpResult>>(Error{ErrorCode::kUnavailable, "request lost"});
      }
      auto result = server_.Apply(ops, session_);
      if (std::exchange(lose_reply_, false)) {
        return Result<std::vector<OpResult>>(Error{ErrorCode::kUnavailable, "reply lost"});
      }
      return result;
    });
  }
  void Get(const std::string& path, Watch watch, DataCallback done) override {
    Push<NodeData>(std::move(done), [this, path, watch]() -> Result<NodeData> {
      if (!ValidPath(path)) return Error{ErrorCode::kInvalid, path};
      if (!server_.Has(path)) return Error{ErrorCode::kNotFound, path};
      if (watch == Watch::kYes) watches_.insert({path, false});
      return NodeData{server_.Data(path), server_.Stat(path)};
    });
  }
  void Children(const std::string& path, Watch watch, NamesCallback done) override {
    Push<std::vector<std::string>>(std::move(done),
                                   [this, path, watch]() -> Result<std::vector<std::string>> {
                                     if (!ValidPath(path)) return Error{ErrorCode::kInvalid, path};
                                     if (!server_.Has(path))
                                       return Error{ErrorCode::kNotFound, path};
                                     if (watch == Watch::kYes) watches_.insert({path, true});
                                     return server_.Names(path);
                                   });
  }
  void Exists(const std::string& path, Watch watch, StatCallback done) override {
    Push<NodeStat>(std::move(done), [this, path, watch]() -> Result<NodeStat> {
      if (!ValidPath(path)) return Error{ErrorCode::kInvalid, path};
      if (watch == Watch::kYes) watches_.insert({path, false});
      if (!server_.Has(path)) return Error{ErrorCode::kNotFound, path};
      return server_.Stat(path);
    });
  }
  void Sync(StatusCallback done) override {
    Push<Done>(std::move(done), []() -> Status { return Done{}; });
  }

  // From the server: `path` was made, removed or written, or got or lost a child.
  void Touched(const std::string& path, bool children) {
    if (watches_.erase({path, children}) == 0) return;
    queue_.push_back({[this, path](const Error* dead) {
      if (dead == nullptr && listener_ != nullptr) listener_->OnChanged(path);
    }});
  }

 private:
  struct Queued {
    std::function<void(const Error*)> run;
  };

  static bool ValidPath(const std::string& path) {
    return !path.empty() && path[0] == '/' && (path.size() == 1 || path.back() != '/') &&
           path.find("//") == std::string::npos;
  }

  template <typename T, typename Work>
  void Push(std::function<void(Result<T>)> done, Work work) {
    queue_.push_back({[this, done = std::move(done), work = std::move(work)](const Error* dead) {
      if (dead != nullptr) return done(*dead);
      if (session_ == 0) return done(Error{ErrorCode::kSessionExpired, "no session"});
      done(work());
    }});
  }
  void FailAll(ErrorCode code) {
    auto pending = std::move(queue_);
    queue_.clear();
    const Error error{code, "connection lost"};
    for (auto& one : pending) one.run(&error);
  }

  FakeServer& server_;
  const FakeClock& clock_;
  Listener* listener_ = nullptr;
  SessionState state_ = SessionState::kConnecting;
  SessionId session_ = 0;
  bool fresh_ = true;
  bool lose_reply_ = false;
  bool lose_request_ = false;
  int multis_ = 0;
  std::set<std::pair<std::string, bool>> watches_;  // path, of its children
  std::deque<Queued> queue_;
};

inline void FakeServer::Changed(const std::string& path, bool structure) {
  for (auto* client : clients) {
    client->Touched(path, false);
    if (structure) client->Touched(path, true);
    if (structure) client->Touched(Parent(path), true);
  }
}

}  // namespace zkexec
