// SPDX-License-Identifier: Apache-2.0
// PythonWarmProcess: a warm process as a fork of the zygote
// (python/zk_executor/worker/warm_process.py).
//
// Threads:  the owner's loop. Lifetime: borrows loop, clock and listener. The destructor closes the
//           channel, at which the process ends, its children with it.
#pragma once

#include <string>
#include <vector>

#include "common/clock.h"
#include "common/event_loop.h"
#include "worker/channel.h"
#include "worker/supervise/path_state.h"
#include "worker/supervise/warm_process.h"
#include "worker/zygote.h"

namespace zkexec {

class PythonWarmProcess : public WarmProcess, public PollSource {
 public:
  struct Options {
    Duration timeout{35000};               // for all imports of one process
    std::vector<std::string> dag_folders;  // where nothing is installed, wherever they lie
  };

  // Asks the zygote for the process. `imports` is a JSON text as import_scan.py gives it.
  PythonWarmProcess(const std::string& imports, const Options& options, Zygote& zygote,
                    EventLoop& loop, const Clock& clock, ForkServer::Listener& fork_listener,
                    Listener listener);
  ~PythonWarmProcess() override;
  PythonWarmProcess(const PythonWarmProcess&) = delete;
  PythonWarmProcess& operator=(const PythonWarmProcess&) = delete;

  void Fork(int child, const Sockets& sockets) override;
  const Facts& facts() const override { return facts_; }
  bool Fresh() const override;

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  void Handle(const nlohmann::json& message, const std::vector<int>& fds);
  void OnReady(const nlohmann::json& message);
  void Fail(const std::string& reason, const std::string& detail);
  void Lose();

  EventLoop& loop_;
  const Clock& clock_;
  ForkServer::Listener& fork_listener_;
  const Listener listener_;
  const TimePoint deadline_;
  Channel channel_;
  Facts facts_;
  std::vector<PathState> paths_;
};

}  // namespace zkexec
