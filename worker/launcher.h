// SPDX-License-Identifier: Apache-2.0
// Launcher: runs workloads in processes. What the agent needs of it, and no more.
#pragma once

#include <string>

namespace zkexec {

// How a run ended. Outcomes: success (exited 0), failed, already_running, stale,
// token (the start was refused: 409 running; Airflow's own 404 or another 409; 401 or 403),
// killed. `info` is the reason for people; empty on success.
struct ExitReport {
  std::string dispatch_id;
  std::string outcome;
  std::string info;
};

// Threads:  the owner's loop, for calls and for the listener.
// Promise:  each Start() is followed by exactly one OnExit(), never from within
//           Start(), whatever dies. After it, no process of the run is left.
class Launcher {
 public:
  enum class Signal {
    kTerminate,  // the task's on_kill runs
    kKill,       // the whole process group, at once
  };

  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnExit(const ExitReport& report) = 0;
  };

  virtual ~Launcher() = default;
  // `workload` is Airflow's JSON. It holds a token: never log it.
  virtual void Start(const std::string& dispatch_id, const std::string& workload) = 0;
  // Nothing happens if there is no such run.
  virtual void Kill(const std::string& dispatch_id, Signal signal) = 0;
};

}  // namespace zkexec
