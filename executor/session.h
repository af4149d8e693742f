// SPDX-License-Identifier: Apache-2.0
// Session: the thread and the ZooKeeper client around Core.
//
// Threads:  call from any thread. No method but Stop() and Join waits for
//           ZooKeeper; what is asked is queued for the I/O thread. Start() makes
//           the thread: never before the host process has forked its last child.
// Lifetime: owns everything below it. The destructor stops.
// Session:  a lost ZooKeeper session is Core's to mend; nothing shows here but
//           status().
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "executor/dispatch.h"

namespace zkexec {

class ExecutorSession {
 public:
  struct Options {
    std::string hosts;
    std::string root;
    std::string team = "default";
    std::string scheduler;
    Duration session_timeout{15000};
    int partitions = 64;
    std::string secret;  // seals the workloads
    std::string digest_auth;
    std::size_t workload_bytes_max = 512 * 1024;
  };
  struct Status {
    bool connected = false;  // and registered
    std::string session_state;
    int live_workers = 0;
    int live_slots = 0;
    std::size_t outstanding = 0;
    std::uint64_t strangers = 0;  // nodes under our root that are not ours
    std::string last_error;
  };

  // Errors: kInvalid, with the option's name.
  static Result<std::unique_ptr<ExecutorSession>> Make(Options options);
  ~ExecutorSession();
  ExecutorSession(const ExecutorSession&) = delete;
  ExecutorSession& operator=(const ExecutorSession&) = delete;

  void Start();
  void Place(std::vector<Placement> placements);
  // `dead_schedulers`: prefixes of their names; see Core::Fence.
  void Adopt(std::vector<std::pair<std::string, std::string>> dispatches,
             std::vector<std::string> dead_schedulers);
  void Revoke(std::string dispatch);
  // Each event once. Its result leaves ZooKeeper only after this has returned it.
  std::vector<Event> DrainEvents();
  Status status() const;
  // Gives what was placed up to `timeout` to reach ZooKeeper, then closes the
  // session and joins the thread. Idempotent.
  void Stop(Duration timeout);

 private:
  struct Impl;
  explicit ExecutorSession(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
