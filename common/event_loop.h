// SPDX-License-Identifier: Apache-2.0
// EventLoop: the one owner loop of a process's ZooKeeper side, over poll(2).
//
// Threads:  Run() belongs to one thread, and every callback runs on it. Post()
//           and Stop() may be called from any thread; the rest only from Run()'s
//           thread or before Run().
// Lifetime: borrows its sources; remove one before it dies.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "common/clock.h"

namespace zkexec {

// Something with a descriptor that the loop watches.
class PollSource {
 public:
  struct Request {
    int fd = -1;           // -1: nothing to watch now
    short events = 0;      // POLLIN, POLLOUT
    Duration wait{60000};  // call Ready() after this long at the latest
  };
  virtual ~PollSource() = default;
  virtual Request Prepare() = 0;
  // After the descriptor became ready or the wait was over (revents 0).
  virtual void Ready(short revents) = 0;
};

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Add(PollSource* source);
  void Remove(PollSource* source);
  // Runs after every turn of the loop, and at least this often.
  void SetTick(Duration period, std::function<void()> tick);

  void Post(std::function<void()> work);
  void Run();
  // Ends Run(), or the next one if none is under way.
  void Stop();
  // One turn; waits for at most `wait`. Run() is this until Stop().
  void Turn(Duration wait);

 private:
  void Wake();
  void RunPosted();

  int wake_fd_ = -1;
  std::vector<PollSource*> sources_;
  bool removed_ = false;  // a source, during this turn
  Duration tick_period_{1000};
  std::function<void()> tick_;

  std::mutex mutex_;  // guards posted_ and stopped_
  std::vector<std::function<void()>> posted_;
  bool stopped_ = false;
};

}  // namespace zkexec
