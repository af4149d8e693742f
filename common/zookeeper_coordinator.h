// SPDX-License-Identifier: Apache-2.0
// ZookeeperCoordinator: the Coordinator over Apache ZooKeeper's single-threaded
// C client, driven by the owner's EventLoop.
//
// The client has no deadlines of its own and reports a lost connection only
// after two thirds of the session timeout; here each operation has a deadline.
// It also frees garbage if a multi is submitted on a dead handle, or with a bad
// path (seen in 3.8.0 to 3.9.5); both are checked before each call, which is
// race-free because the state changes on this thread only.
//
// Threads, session, errors: see coordinator.h. Name resolution may block.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/event_loop.h"

namespace zkexec {

// What it takes to attach to a session from another process. The password is a
// secret: whoever has it can end the session.
struct SessionCredentials {
  SessionId id = 0;
  std::string password;
};

class ZookeeperCoordinator : public Coordinator, public PollSource {
 public:
  struct Options {
    std::string hosts;  // "a:2181,b:2181", a chroot may follow
    Duration session_timeout{15000};
    Duration operation_timeout{10000};
    std::string digest_auth;  // "user:password"; empty: world-writable nodes
    // Attach to this session first, whose owner is dead. If it has expired the
    // listener is told, and a new one follows, as ever.
    std::optional<SessionCredentials> resume;
    // Told of each new session before the listener is; may be empty.
    std::function<void(const SessionCredentials&)> on_session;
    // Told the latency of each answered operation; may be empty.
    std::function<void(const char* op, double seconds)> on_latency;
  };

  // Connects in the background. `clock` is borrowed.
  ZookeeperCoordinator(Options options, const Clock& clock);
  // Close()
  ~ZookeeperCoordinator() override;
  ZookeeperCoordinator(const ZookeeperCoordinator&) = delete;
  ZookeeperCoordinator& operator=(const ZookeeperCoordinator&) = delete;

  void SetListener(Listener* listener) override;
  SessionState state() const override;
  SessionId session() const override;
  TimePoint lease_until() const override;
  void Multi(std::vector<Op> ops, MultiCallback done) override;
  void Get(const std::string& path, Watch watch, DataCallback done) override;
  void Children(const std::string& path, Watch watch, NamesCallback done) override;
  void Exists(const std::string& path, Watch watch, StatCallback done) override;
  void Sync(StatusCallback done) override;

  Request Prepare() override;
  void Ready(short revents) override;

  // Closes the session: its ephemerals go at once, if a server can be reached.
  // Pending operations end, and what their callbacks ask for is dropped; the listener
  // hears no more. Call it while those who wait for answers still live, nothing after it.
  void Close();

  // Why the last connection attempt failed; empty if none did.
  std::string last_error() const;

  struct Impl;  // public for the C callbacks in the .cc file only

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
