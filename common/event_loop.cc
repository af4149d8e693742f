// SPDX-License-Identifier: Apache-2.0
#include "common/event_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace zkexec {

EventLoop::EventLoop() : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_fd_ < 0) std::abort();  // out of descriptors before anything started
}

EventLoop::~EventLoop() { close(wake_fd_); }

void EventLoop::Add(PollSource* source) { sources_.push_back(source); }

void EventLoop::Remove(PollSource* source) {
  std::erase(sources_, source);
  removed_ = true;
}

void EventLoop::SetTick(Duration period, std::function<void()> tick) {
  tick_period_ = period;
  tick_ = std::move(tick);
}

void EventLoop::Post(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(work));
  }
  Wake();
}

void EventLoop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  Wake();
}

void EventLoop::Wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the loop is awake already.
  [[maybe_unused]] const auto written = write(wake_fd_, &one, sizeof one);
}

void EventLoop::Run() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (std::exchange(stopped_, false)) return;
    }
    Turn(tick_period_);
  }
}

void EventLoop::Turn(Duration wait) {
  const auto sources = sources_;  // callbacks may add and remove
  removed_ = false;
  std::vector<pollfd> fds{{wake_fd_, POLLIN, 0}};
  for (auto* source : sources) {
    const auto request = source->Prepare();
    fds.push_back({request.fd, request.events, 0});
    wait = std::min(wait, request.wait);
  }
  {
    const std::lock_guard lock(mutex_);
    if (!posted_.empty() || stopped_) wait = Duration{0};
  }
  const int timeout = static_cast<int>(std::max<Duration::rep>(0, wait.count()));
  poll(fds.data(), fds.size(), timeout);  // EINTR counts as a turn in which nothing happened
  if (fds[0].revents != 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = read(wake_fd_, &count, sizeof count);
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (removed_ && std::find(sources_.begin(), sources_.end(), sources[i]) == sources_.end()) {
      continue;
    }
    sources[i]->Ready(fds[i + 1].revents);
  }
  RunPosted();
  if (tick_) tick_();
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

}  // namespace zkexec
