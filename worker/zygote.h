// SPDX-License-Identifier: Apache-2.0
// Zygote: the worker's Python process (see python/zk_executor/worker/zygote.py for its side
// and for the messages). It is a Launcher: each run is supervised by Airflow's own
// supervisor. And it is a ForkServer: the native supervisor's tasks are its children, as
// are warm processes, scans of imports, helpers and uploads of logs.
//
// When the zygote dies, its runs die with it: each is reported as failed, and the
// process is started anew, with growing pauses.
//
// Threads:  the owner's loop. Starting it blocks until the configuration came.
// Lifetime: borrows loop, clock and listener. The destructor closes the channel,
//           at which the zygote kills what is left below it and exits.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/event_loop.h"
#include "common/result.h"
#include "worker/channel.h"
#include "worker/fork_server.h"
#include "worker/launcher.h"

namespace zkexec {

class Zygote : public Launcher, public ForkServer, public PollSource {
 public:
  // Starts the process and reads its configuration; blocks for that, a second or
  // more. Errors: kInvalid (the configuration is wrong; the message names the
  // option), kInternal (it did not start; the message says why).
  static Result<std::unique_ptr<Zygote>> Open(const std::string& python, EventLoop& loop,
                                              const Clock& clock);
  ~Zygote() override;
  Zygote(const Zygote&) = delete;
  Zygote& operator=(const Zygote&) = delete;

  // Airflow's values, as the handshake told them.
  const nlohmann::json& configuration() const { return configuration_; }
  void SetListener(Launcher::Listener* listener) { listener_ = listener; }
  void SetForkListener(ForkServer::Listener* listener) { fork_listener_ = listener; }
  // Has Airflow imported and forks.
  bool ready() const { return ready_; }
  // Ended because of its configuration (a preload that can't be imported): the
  // worker can't go on. Empty otherwise.
  const std::string& fatal() const { return fatal_; }

  void Start(const std::string& dispatch_id, const std::string& workload) override;
  void Kill(const std::string& dispatch_id, Signal signal) override;

  void Fork(int child, const Sockets& sockets) override;
  // Starts a process that talks over `fd`, which is taken. `what` is theirs to
  // read; its "op" says which. Nothing is heard of a failure but the end of `fd`.
  void Attend(const nlohmann::json& what, int fd);
  // Brings a log to where remote logs are. `done` is called in any case, later.
  void Upload(const nlohmann::json& what, std::function<void()> done);
  pid_t pid() const { return pid_; }
  // How often it has died and was started anew, or will be.
  int deaths() const { return deaths_; }

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  Zygote(std::string python, EventLoop& loop, const Clock& clock);
  Status Spawn();
  bool Receive();  // false: the other end is closed
  void Handle(const nlohmann::json& message, const std::vector<int>& fds);
  void OnDeath();
  void CloseProcess();

  const std::string python_;
  EventLoop& loop_;
  const Clock& clock_;
  Launcher::Listener* listener_ = nullptr;
  ForkServer::Listener* fork_listener_ = nullptr;

  pid_t pid_ = -1;
  int deaths_ = 0;
  Channel channel_;
  bool ready_ = false;
  bool greeted_ = false;
  nlohmann::json configuration_;
  std::string fatal_;
  std::set<std::string> runs_;
  bool forks_lost_ = false;  // to be told at the next turn
  std::map<int, std::function<void()>> uploads_;
  int next_upload_ = 0;
  Duration restart_pause_{500};
  TimePoint restart_at_{};
};

}  // namespace zkexec
