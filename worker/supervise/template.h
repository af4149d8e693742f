// SPDX-License-Identifier: Apache-2.0
// Template: a process that has parsed one DAG file and forks its tasks
// (python/zk_executor/worker/template.py). What it may be used for is decided here: it is
// fresh as long as every file and folder that its parse depended on is as it was.
//
// Threads:  the owner's loop. Lifetime: borrows loop, clock, zygote and listener. The
//           destructor closes the channel, at which the process ends, its children with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/event_loop.h"
#include "worker/channel.h"
#include "worker/fork_server.h"
#include "worker/zygote.h"

namespace zkexec {

// A file or folder as it was when the parse came to it.
struct Dependency {
  std::string path;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::int64_t size = 0;
  std::uint64_t inode = 0;

  bool Unchanged() const;
};

class Template : public ForkServer, public PollSource {
 public:
  struct Key {
    std::string bundle;
    std::string version;
    std::string path;
    std::string version_data;  // JSON text; empty: none
    auto operator<=>(const Key&) const = default;
  };
  enum class State { kParsing, kReady, kFailed };

  Template(Key key, EventLoop& loop, const Clock& clock, ForkServer::Listener& listener);
  ~Template() override;
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;

  // Asks the zygote for the process. `parsed` is called once, when state() is no longer
  // kParsing; never from within.
  // `learnt` is called whenever a task had to import modules itself.
  void Begin(Zygote& zygote, const std::vector<std::string>& modules,
             std::function<void(Template&)> parsed,
             std::function<void(const std::vector<std::string>&)> learnt);
  void Fork(int child, const Sockets& sockets) override;

  const Key& key() const { return key_; }
  State state() const { return state_; }
  // Why it can't be used: a fixed word for metrics, and the same for people.
  const std::string& reason() const { return reason_; }
  const std::string& detail() const { return detail_; }
  bool Fresh() const;
  // Every dependency is as it was; true also of a parse that failed.
  bool Unchanged() const;
  Duration age() const { return std::chrono::duration_cast<Duration>(clock_.Now() - born_); }
  pid_t pid() const { return pid_; }

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  void Handle(const nlohmann::json& message, const std::vector<int>& fds);
  void Settle(State state, const std::string& reason, const std::string& detail);
  void Lose();

  const Key key_;
  EventLoop& loop_;
  const Clock& clock_;
  ForkServer::Listener& listener_;
  std::function<void(Template&)> parsed_;
  std::function<void(const std::vector<std::string>&)> learnt_;
  Channel channel_;
  State state_ = State::kParsing;
  std::string reason_;
  std::string detail_;
  std::vector<Dependency> dependencies_;
  TimePoint born_;
  pid_t pid_ = 0;
};

}  // namespace zkexec
