// SPDX-License-Identifier: Apache-2.0
// FakeCoordinator: a client of a FakeServer that can lose requests and replies,
// be cut off, and lose its session.
//
// Nothing happens by itself: an operation waits until it is processed (by the
// server) and its reply is delivered. Passes the contract suite that the real
// client passes (tests/contract/).
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/coordinator.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_server.h"

namespace zkexec {

class FakeCoordinator : public Coordinator {
 public:
  // Changes what a client asks or is told, to see whether a test notices.
  struct Mutator {
    virtual ~Mutator() = default;
    virtual void Ask(std::vector<Op>&) {}
    virtual void Names(const std::string& /*path*/, std::vector<std::string>&) {}
    virtual ErrorCode WhenCutOff() { return ErrorCode::kUnavailable; }
    virtual bool LeaseForEver() { return false; }
  };

  FakeCoordinator(FakeServer& server, const FakeClock& clock) : server_(server), clock_(clock) {
    server_.clients.insert(this);
  }
  ~FakeCoordinator() override { server_.clients.erase(this); }

  void SetMutator(Mutator* mutator) { mutator_ = mutator; }
  // Faults, each for one write.
  void LoseNextReply() { lose_reply_ = true; }      // applied; its caller never hears
  void LoseNextRequest() { lose_request_ = true; }  // not applied

  // In the session that it had, if the server still knows it.
  void Connect() {
    if (session_ != 0 && !server_.Alive(session_)) Expire();
    if (session_ == 0) session_ = server_.NextSession();
    state_ = SessionState::kConnected;
    Heard();
    if (listener_ != nullptr) listener_->OnSession(state_);
  }
  // What the server has processed by now stays applied; nobody is told.
  void Disconnect() {
    state_ = SessionState::kConnecting;
    if (listener_ != nullptr) listener_->OnSession(state_);
    FailAll(mutator_ != nullptr ? mutator_->WhenCutOff() : ErrorCode::kUnavailable);
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
  // The server answers a ping: the session is alive on both sides.
  void Heard() {
    if (state_ != SessionState::kConnected || !server_.Alive(session_)) return;
    lease_from_ = heard_ = clock_.Now();
  }
  // When the server last heard of this client.
  TimePoint heard() const { return heard_; }

  // The server works on the next operation; its reply waits. False if there was none.
  bool Process() {
    for (auto& one : queue_) {
      if (one.processed) continue;
      one.processed = true;
      heard_ = clock_.Now();
      one.process();
      return true;
    }
    return false;
  }
  // One reply or watch event. False if there was none.
  bool Deliver() {
    if (queue_.empty()) return false;
    if (state_ != SessionState::kConnected) {
      const Error error{mutator_ != nullptr ? mutator_->WhenCutOff() : ErrorCode::kUnavailable,
                        "no connection"};
      auto first = std::move(queue_.front());
      queue_.pop_front();
      first.reply(&error);
      return true;
    }
    if (!queue_.front().processed) Process();
    auto next = std::move(queue_.front());
    queue_.pop_front();
    if (server_.Alive(session_)) lease_from_ = std::max(lease_from_, next.sent);
    next.reply(nullptr);
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
    if (mutator_ != nullptr && mutator_->LeaseForEver()) return TimePoint::max();
    if (lease_ == Duration{0}) return clock_.Now() + Duration{fresh_ ? 8000 : -1};
    return lease_from_ + lease_;
  }
  // Whether the last acknowledged request is recent enough to believe in the session.
  void SetLeaseFresh(bool fresh) { fresh_ = fresh; }
  // Computes the lease as the real client does, instead of by SetLeaseFresh().
  void SetLease(Duration lease) { lease_ = lease; }

  void Multi(std::vector<Op> ops, MultiCallback done) override {
    ++multis_;
    if (mutator_ != nullptr) mutator_->Ask(ops);
    Push<std::vector<OpResult>>(std::move(done),
                                [this, ops = std::move(ops)]() -> Result<std::vector<OpResult>> {
                                  for (const auto& op : ops) {
                                    if (!ValidPath(op.path))
                                      return Error{ErrorCode::kInvalid, op.path};
                                  }
                                  if (std::exchange(lose_request_, false)) {
                                    return Error{ErrorCode::kUnavailable, "request lost"};
                                  }
                                  auto result = server_.Apply(ops, session_);
                                  if (std::exchange(lose_reply_, false)) {
                                    return Error{ErrorCode::kUnavailable, "reply lost"};
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
                                     auto names = server_.Names(path);
                                     if (mutator_ != nullptr) mutator_->Names(path, names);
                                     return names;
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
    const auto tell = [this, path](const Error* dead) {
      if (dead == nullptr && listener_ != nullptr) listener_->OnChanged(path);
    };
    queue_.push_back({[] {}, tell, true, TimePoint{}});
  }

 private:
  struct Queued {
    std::function<void()> process;
    std::function<void(const Error*)> reply;  // with the error that took its place, if any
    bool processed = false;
    TimePoint sent{};
  };

  static bool ValidPath(const std::string& path) {
    return !path.empty() && path[0] == '/' && (path.size() == 1 || path.back() != '/') &&
           path.find("//") == std::string::npos;
  }

  template <typename T, typename Work>
  void Push(std::function<void(Result<T>)> done, Work work) {
    auto result = std::make_shared<Result<T>>(Error{});
    queue_.push_back({[this, result, work = std::move(work)] {
                        const Error none{ErrorCode::kSessionExpired, "no session"};
                        *result = server_.Alive(session_) ? work() : Result<T>(none);
                      },
                      [result, done = std::move(done)](const Error* dead) {
                        done(dead != nullptr ? Result<T>(*dead) : std::move(*result));
                      },
                      false, clock_.Now()});
  }
  void FailAll(ErrorCode code) {
    auto pending = std::move(queue_);
    queue_.clear();
    const Error error{code, "connection lost"};
    for (auto& one : pending) one.reply(&error);
  }

  FakeServer& server_;
  const FakeClock& clock_;
  Mutator* mutator_ = nullptr;
  Listener* listener_ = nullptr;
  SessionState state_ = SessionState::kConnecting;
  SessionId session_ = 0;
  bool fresh_ = true;
  Duration lease_{0};
  TimePoint lease_from_{};
  TimePoint heard_{};
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
