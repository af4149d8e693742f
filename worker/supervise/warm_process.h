// SPDX-License-Identifier: Apache-2.0
// WarmProcess: a process that has imported a list of installed modules and forks tasks of DAG
// files that import these at their top. python_warm_process.h has the real one.
//
// Threads:  the owner's loop.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/clock.h"
#include "worker/fork_server.h"

namespace zkexec {

class WarmProcess : public ForkServer {
 public:
  // Never called from within a call of ours.
  struct Listener {
    // The state is no longer kImporting; told once.
    std::function<void()> settled;
    // A task has found out where its DAG file lies.
    std::function<void(const nlohmann::json&)> located;
  };
  enum class State { kImporting, kReady, kFailed };

  struct Facts {
    State state = State::kImporting;
    pid_t pid = 0;
    // Of one that is ready: how long its imports took, and a digest of its modules' names.
    Duration took{};
    std::string modules;
    // Of one that failed: a fixed word for metrics, the same for people, and the number of the
    // import that did it.
    std::string reason;
    std::string detail;
    std::size_t index = 0;
  };
  virtual const Facts& facts() const = 0;
  // Is ready, and what is installed is what it has imported. Looks at the file system.
  virtual bool Fresh() const = 0;
};

}  // namespace zkexec
