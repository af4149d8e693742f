// SPDX-License-Identifier: Apache-2.0
// WarmProcess: a process that has imported a list of installed modules and forks tasks of DAG
// files that import these at their top (python/zk_executor/worker/warm_process.py).
//
// Threads:  the owner's loop. Lifetime: borrows loop, clock, zygote and listener. The
//           destructor closes the channel, at which the process ends, its children with it.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/event_loop.h"
#include "worker/channel.h"
#include "worker/fork_server.h"
#include "worker/supervise/path_state.h"
#include "worker/zygote.h"

namespace zkexec {

class WarmProcess : public ForkServer, public PollSource {
 public:
  enum class State { kImporting, kReady, kFailed };
  struct Listener {
    // The state is no longer kImporting.
    std::function<void(WarmProcess&)> settled;
    // A task has found out where its DAG file lies.
    std::function<void(const nlohmann::json&)> located;
  };

  // Asks the zygote for the process. It is given `timeout` for its imports. The listeners are
  // never called from within a call.
  WarmProcess(std::string imports, const std::vector<std::string>& dag_folders, Duration timeout,
              Zygote& zygote, EventLoop& loop, const Clock& clock,
              ForkServer::Listener& fork_listener, Listener listener);
  ~WarmProcess() override;
  WarmProcess(const WarmProcess&) = delete;
  WarmProcess& operator=(const WarmProcess&) = delete;

  void Fork(int child, const Sockets& sockets) override;

  const std::string& imports() const { return imports_; }
  State state() const { return state_; }
  // Has all that was installed when it imported.
  bool Fresh() const;
  pid_t pid() const { return pid_; }
  // How long its imports took, and a digest of the names of its modules.
  Duration took() const { return took_; }
  const std::string& modules() const { return modules_; }
  // Why it failed: a fixed word for metrics, the same for people, and the import that did.
  const std::string& reason() const { return reason_; }
  const std::string& detail() const { return detail_; }
  std::size_t index() const { return index_; }

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  void Handle(const nlohmann::json& message, const std::vector<int>& fds);
  void OnReady(const nlohmann::json& message);
  void Fail(const std::string& reason, const std::string& detail);
  void Lose();

  const std::string imports_;
  EventLoop& loop_;
  const Clock& clock_;
  ForkServer::Listener& fork_listener_;
  const Listener listener_;
  const TimePoint deadline_;
  Channel channel_;
  State state_ = State::kImporting;
  std::string reason_;
  std::string detail_;
  std::size_t index_ = 0;
  Duration took_{};
  std::string modules_;
  std::vector<PathState> paths_;
  pid_t pid_ = 0;
};

}  // namespace zkexec
