// SPDX-License-Identifier: Apache-2.0
// Coordinator: what this project needs of ZooKeeper, and no more.
//
// Threads:   every method and every callback runs on the owner's loop thread.
// Blocking:  nothing here blocks. A callback is never run inside the call that
//            registered it, and each callback runs exactly once.
// Deadlines: an operation whose reply does not come in time ends with
//            kUnavailable. Its outcome is then unknown: it may still be applied.
// Order:     operations of one session are applied in the order of the calls.
// Session:   when the session expires, every pending operation ends with
//            kSessionExpired, the listener is told, and the coordinator then
//            connects anew by itself, with a new session id and no watches.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace zkexec {

using SessionId = std::int64_t;

enum class SessionState {
  kConnecting,  // no server answers at the moment; the session may still live
  kConnected,
  kExpired,     // told once; then kConnecting with a new session
  kAuthFailed,  // the credentials are wrong; an operator must act
};

enum class NodeMode { kPersistent, kEphemeral, kPersistentSequential, kEphemeralSequential };

struct NodeStat {
  int version = 0;
  int num_children = 0;
  std::int64_t created_zxid = 0;
  std::int64_t created_unix_ms = 0;  // the server's clock
  SessionId owner = 0;               // 0 for persistent nodes
};

// One write. A vector of them is a multi: all are applied, or none.
struct Op {
  enum class Kind { kCreate, kRemove, kSet, kCheck };

  static Op Create(std::string path, std::string data, NodeMode mode = NodeMode::kPersistent) {
    return {Kind::kCreate, std::move(path), std::move(data), mode, -1};
  }
  static Op Remove(std::string path, int version = -1) {
    return {Kind::kRemove, std::move(path), {}, NodeMode::kPersistent, version};
  }
  static Op Set(std::string path, std::string data, int version = -1) {
    return {Kind::kSet, std::move(path), std::move(data), NodeMode::kPersistent, version};
  }
  static Op Check(std::string path, int version = -1) {
    return {Kind::kCheck, std::move(path), {}, NodeMode::kPersistent, version};
  }

  Kind kind;
  std::string path;
  std::string data;
  NodeMode mode;
  int version;  // -1: any
};

struct OpResult {
  std::string path;  // of a create: the real path, sequence number included
  NodeStat stat;     // of a set
};

struct NodeData {
  std::string data;
  NodeStat stat;
};

enum class Watch { kNo, kYes };

class Coordinator {
 public:
  using MultiCallback = std::function<void(Result<std::vector<OpResult>>)>;
  using DataCallback = std::function<void(Result<NodeData>)>;
  using NamesCallback = std::function<void(Result<std::vector<std::string>>)>;
  using StatCallback = std::function<void(Result<NodeStat>)>;
  using StatusCallback = std::function<void(Status)>;

  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnSession(SessionState state) = 0;
    // A watch fired: `path` itself, or its list of children, has changed.
    virtual void OnChanged(const std::string& path) = 0;
  };

  virtual ~Coordinator() = default;

  // Borrowed; must outlive the coordinator or be replaced by nullptr.
  virtual void SetListener(Listener* listener) = 0;

  virtual SessionState state() const = 0;
  virtual SessionId session() const = 0;  // 0 before the first connection
  // Until when this client may believe that its session lives: the sending time
  // of the last acknowledged request plus 0.8 of the session timeout.
  virtual TimePoint lease_until() const = 0;

  // Errors: kNotFound, kAlreadyExists, kConflict (bad version or not empty), each
  // with failed_op set; kUnavailable; kSessionExpired; kInvalid (bad path).
  virtual void Multi(std::vector<Op> ops, MultiCallback done) = 0;
  virtual void Get(const std::string& path, Watch watch, DataCallback done) = 0;
  virtual void Children(const std::string& path, Watch watch, NamesCallback done) = 0;
  virtual void Exists(const std::string& path, Watch watch, StatCallback done) = 0;
  // Ends after everything that the leader had committed is visible here.
  virtual void Sync(StatusCallback done) = 0;
};

inline const char* ToString(SessionState state) {
  switch (state) {
    case SessionState::kConnecting: return "connecting";
    case SessionState::kConnected: return "connected";
    case SessionState::kExpired: return "expired";
    case SessionState::kAuthFailed: return "auth_failed";
  }
  return "unknown";
}

// kPersistent parents of `path`, from the top, and the path itself: created one
// after the other; nodes that exist are left alone. `done` gets the first error
// that is not kAlreadyExists.
void EnsurePath(Coordinator& zk, const std::string& path, Coordinator::StatusCallback done);
// The same for many paths whose parents exist; pipelined.
void EnsureNodes(Coordinator& zk, const std::vector<std::string>& paths,
                 Coordinator::StatusCallback done);

}  // namespace zkexec
