// SPDX-License-Identifier: Apache-2.0
// OneShot: one piece of work on ZooKeeper for a command that a person typed.
//
// Threads: everything runs on the thread that calls RunOneShot(), which blocks.
#pragma once

#include <string>

#include "common/coordinator.h"

namespace zkexec {

struct AdminOptions {
  std::string hosts;
  std::string root;
  std::string team = "default";
  std::string digest_auth;
  Duration timeout{5000};
};

class OneShot {
 public:
  virtual ~OneShot() = default;
  // Connected. `zk` lives until RunOneShot() returns; what is pending is answered then.
  virtual void Begin(Coordinator& zk) = 0;
  // After every turn of the loop, at least every 50 ms. `time_is_over`: of the
  // options; end within `closing`.
  virtual void Turn(Coordinator& /*zk*/, bool /*time_is_over*/) {}
  virtual bool done() const = 0;
};

// A session of its own, from its start until job.done(). `job` decides about its
// own errors. Errors: kUnavailable (not done within timeout + closing).
Status RunOneShot(const AdminOptions& options, const Clock& clock, OneShot& job,
                  Duration closing = Duration{0});

}  // namespace zkexec
