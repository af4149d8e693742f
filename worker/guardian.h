// SPDX-License-Identifier: Apache-2.0
// Guardian: the worker's tiny parent. It outlives the worker process, and when that
// is killed it kills what the worker had started, removes its control node and closes
// its ZooKeeper session: what else only the session timeout would tell is known in
// milliseconds. The worker watches it in turn, so that the death of either is seen.
//
// Threads: both sides have one at the fork; the guardian never has more, and no
//          connection to ZooKeeper while the worker lives.
// Secrets: session password and digest auth pass through the socket only.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "common/clock.h"
#include "common/event_loop.h"
#include "common/zookeeper_coordinator.h"

namespace zkexec {

// What it takes to end a worker's session in its stead.
struct GuardedSession {
  SessionCredentials credentials;
  std::string hosts;
  std::string digest_auth;
  Duration session_timeout{};
  std::string worker;
  std::string control;  // path of its control node
};

// The worker's end of the socket to its guardian. Add it to the worker's loop.
class GuardianLink : public PollSource {
 public:
  // Takes `fd`.
  GuardianLink(int fd, pid_t guardian) : fd_(fd), pid_(guardian) {}
  ~GuardianLink() override;
  GuardianLink(const GuardianLink&) = delete;
  GuardianLink& operator=(const GuardianLink&) = delete;

  pid_t pid() const { return pid_; }
  // Called once, when the guardian is gone: nobody would notice our death now.
  void SetOnDeath(std::function<void()> on_death) { on_death_ = std::move(on_death); }
  // Call it before anything of this session is written. Never blocks for long: the
  // guardian does nothing but read.
  void Tell(const GuardedSession& session);

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  int fd_;
  const pid_t pid_;
  std::function<void()> on_death_;
};

// What the guardian makes of SIGTERM and SIGINT for its child: a signal that queues. Two of
// the same other number become one while the first is pending, and a service manager that
// signals every process sends both of ours the same.
int StopSignal();

// Forks. In the child, a process group of its own, calls `worker` and returns what
// that returns; SIGTERM, SIGINT and StopSignal() are then blocked. The parent is the guardian:
// it hands SIGTERM and SIGINT on to the child as StopSignal(), waits for its end, and returns its
// exit code, or 128 + the number of the signal that killed it.
// Call once, before the process has threads or children.
int RunGuarded(const std::function<int(GuardianLink& guardian)>& worker);

}  // namespace zkexec
