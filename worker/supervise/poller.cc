// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/poller.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace zkexec {

Poller::Poller(EventLoop& loop) : loop_(loop), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) std::abort();  // out of descriptors before anything started
  loop_.Add(this);
}

Poller::~Poller() {
  loop_.Remove(this);
  close(epoll_);
}

Poller::Watch Poller::Add(int fd, std::uint32_t events, Handler handler) {
  const auto watch = ++next_;
  handlers_[watch] = std::move(handler);
  epoll_event event{};
  event.events = events;
  event.data.u64 = watch;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  return watch;
}

void Poller::Change(Watch watch, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = watch;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
}

void Poller::Forget(Watch watch, int fd) {
  handlers_.erase(watch);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

PollSource::Request Poller::Prepare() { return {epoll_, POLLIN, Duration{60000}}; }

void Poller::Ready(short revents) {
  if (revents == 0) return;
  std::array<epoll_event, 256> events;
  const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const auto& event = events[static_cast<std::size_t>(i)];
    const auto found = handlers_.find(event.data.u64);
    if (found == handlers_.end()) continue;  // forgotten by a handler before
    const auto handler = found->second;      // it may forget itself
    handler(event.events);
  }
}

}  // namespace zkexec
