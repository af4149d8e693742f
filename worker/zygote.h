// SPDX-License-Identifier: Apache-2.0
// Zygote: the Launcher over the worker's Python process (see
// python/zk_executor/worker/zygote.py for its side and for the messages).
//
// When the zygote dies, its runs die with it: each is reported as failed, and the
// process is started anew, with growing pauses.
//
// Threads:  the owner's loop. Starting it blocks until the configuration came.
// Lifetime: borrows loop, clock and listener. The destructor closes the channel,
//           at which the zygote kills what is left below it and exits.
#pragma once

#include <sys/types.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/event_loop.h"
#include "common/result.h"
#include "worker/launcher.h"

namespace zkexec {

class Zygote : public Launcher, public PollSource {
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
  // Has Airflow imported and forks.
  bool ready() const { return ready_; }
  // Ended because of its configuration (a preload that can't be imported): the
  // worker can't go on. Empty otherwise.
  const std::string& fatal() const { return fatal_; }

  void Start(const std::string& dispatch_id, const std::string& workload) override;
  void Kill(const std::string& dispatch_id, Signal signal) override;

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  Zygote(std::string python, EventLoop& loop, const Clock& clock);
  Status Spawn();
  void Send(const nlohmann::json& message);
  void Flush();
  bool Receive();  // false: the other end is closed
  void Handle(const nlohmann::json& message);
  void OnDeath();
  void CloseProcess();

  const std::string python_;
  EventLoop& loop_;
  const Clock& clock_;
  Launcher::Listener* listener_ = nullptr;

  pid_t pid_ = -1;
  int fd_ = -1;
  bool ready_ = false;
  bool greeted_ = false;
  nlohmann::json configuration_;
  std::string fatal_;
  std::string in_;
  std::string out_;
  std::set<std::string> runs_;
  Duration restart_pause_{500};
  TimePoint restart_at_{};
};

}  // namespace zkexec
