// SPDX-License-Identifier: Apache-2.0
// Poller: many descriptors as one source of the event loop, over epoll(7): a worker with
// hundreds of tasks has thousands of them, and most are silent.
//
// Threads:  the owner's loop. Lifetime: borrows the loop; watches end with Forget() or the
//           poller. A handler may watch and forget, itself included.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>

#include "common/event_loop.h"

namespace zkexec {

class Poller : public PollSource {
 public:
  using Handler = std::function<void(std::uint32_t events)>;
  using Watch = std::uint64_t;  // 0: none

  explicit Poller(EventLoop& loop);
  ~Poller() override;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // `events` are epoll's. The descriptor stays the caller's, and must be forgotten before
  // it is closed.
  Watch Add(int fd, std::uint32_t events, Handler handler);
  void Change(Watch watch, int fd, std::uint32_t events);
  void Forget(Watch watch, int fd);

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  EventLoop& loop_;
  int epoll_ = -1;
  Watch next_ = 0;
  std::unordered_map<Watch, Handler> handlers_;
};

}  // namespace zkexec
