// SPDX-License-Identifier: Apache-2.0
// ForkServer: a Python process that forks task processes: the zygote, or a warm process.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace zkexec {

// How a process ended: an exit code from 0, or minus the signal.
struct ProcessEnd {
  int code = 0;
  std::int64_t peak_kb = 0;  // of its resident memory; 0: not known
};

// Threads:  the owner's loop.
// Promise:  each Fork() is followed by OnSpawned() and later OnEnded(), or by
//           OnForkFailed(), never from within Fork(); or by OnLost(), after which no
//           process of the server is left or will be long: they die with it.
class ForkServer {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The descriptor of the process is the listener's to close.
    virtual void OnSpawned(int child, pid_t pid, int pidfd) = 0;
    virtual void OnEnded(int child, const ProcessEnd& end) = 0;
    virtual void OnForkFailed(int child, const std::string& why) = 0;
    virtual void OnLost(ForkServer& server) = 0;
  };
  // The task's ends of its sockets, in the order of its descriptors 0, 1, 2, and its log
  // events. They are the server's to close.
  using Sockets = std::array<int, 4>;

  virtual ~ForkServer() = default;
  virtual void Fork(int child, const Sockets& sockets) = 0;
};

// What both kinds of server say of their children: spawned, ended, fork_failed. Other
// messages are none of its business.
void TellForkEvent(const nlohmann::json& message, const std::vector<int>& fds,
                   ForkServer::Listener* listener);

}  // namespace zkexec
