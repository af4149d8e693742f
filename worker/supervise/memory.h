// SPDX-License-Identifier: Apache-2.0
// Memory of processes, as the kernel counts it, and how often to ask. Linux only.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

#include "common/clock.h"

namespace zkexec {

// Proportional set size in bytes: what is shared is divided among those that share it.
// 0 if the process is gone or may not be looked at. Safe from any thread.
std::int64_t ProportionalMemory(pid_t pid);

// Lets its owner measure, but for no more than a hundredth of the time: for a process of 100 MB
// the kernel needs milliseconds, in which the owner does nothing else.
//
// Threads: the owner's.
class MeasuringPace {
 public:
  explicit MeasuringPace(const Clock& clock) : clock_(clock) {}

  // Measures if it is time; otherwise does nothing.
  void Try(const std::function<void()>& measure);

 private:
  const Clock& clock_;
  TimePoint next_{};
};

}  // namespace zkexec
