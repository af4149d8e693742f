// SPDX-License-Identifier: Apache-2.0
// TaskProcess: our side of one task process: its channel (descriptor 0), stdout, stderr and
// log events, and its end.
//
// Threads:  the owner's loop. Lifetime: borrows the poller; owns its descriptors.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "worker/fork_server.h"
#include "worker/supervise/line_reader.h"
#include "worker/supervise/poller.h"
#include "worker/supervise/wire.h"

namespace zkexec {

class TaskProcess {
 public:
  // What comes from the process. Nothing is called from within a call of ours.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnRequest(std::string payload) = 0;
    virtual void OnBrokenChannel() = 0;
    virtual void OnLogEvent(std::string_view line) = 0;
    virtual void OnText(std::string_view line, bool is_error) = 0;
    virtual void OnStreamsClosed() = 0;
    // Makes a call, within which the others above may be made. It stops what the call throws.
    virtual void Guard(const std::function<void()>& call) = 0;
  };

  explicit TaskProcess(Poller& poller) : poller_(poller) {}
  ~TaskProcess();
  TaskProcess(const TaskProcess&) = delete;
  TaskProcess& operator=(const TaskProcess&) = delete;

  // Makes the sockets; returns the task's ends. Errors: kUnavailable (too many open files).
  Result<ForkServer::Sockets> Open();
  // The process is there. `pidfd` is ours now; `on_exit` is called when it ends.
  void Attach(pid_t pid, int pidfd, std::function<void()> on_exit);
  // Starts to read for a task; until then what the process says waits.
  void SetListener(Listener* listener);

  void Write(const std::string& frame);
  // Answers with a new channel for log events; its descriptor rides on the first bytes.
  void SendLoggingChannel(std::int64_t id);
  void Signal(int number, bool whole_group);
  // The process has been waited for: its number may be another's soon.
  void Reaped() { reaped_ = true; }
  // Reads what is there still, then closes all.
  void CloseStreams();

  pid_t pid() const { return pid_; }

 private:
  enum class Kind { kRequests, kStdout, kStderr, kLog };
  struct Stream {
    int fd = -1;
    Kind kind = Kind::kLog;
    Poller::Watch watch = 0;
    LineReader lines;
  };
  void Watch(Stream* stream);
  void OnReady(Stream* stream, std::uint32_t events);
  // False: the stream is at its end.
  bool ReadSome(Stream* stream);
  void Take(Stream* stream, std::string_view bytes);
  void Close(Stream* stream);
  void Flush();

  Poller& poller_;
  Listener* listener_ = nullptr;
  pid_t pid_ = 0;
  int pidfd_ = -1;
  Poller::Watch exit_watch_ = 0;
  bool reaped_ = false;
  std::deque<Stream> streams_;  // the task's four first; addresses are stable
  FrameReader frames_;
  bool broken_ = false;
  struct Outgoing {
    std::string bytes;
    int fd = -1;
  };
  std::deque<Outgoing> out_;
};

}  // namespace zkexec
