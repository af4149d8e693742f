// SPDX-License-Identifier: Apache-2.0
// Clock: the only source of time below main().
#pragma once

#include <chrono>
#include <cstdint>

namespace zkexec {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::milliseconds;

// Threads: Now() and UnixMs() may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // For deadlines and ages within this process. Never goes back.
  virtual TimePoint Now() const = 0;
  // For what people and other hosts read. May jump; decide nothing by it.
  virtual std::int64_t UnixMs() const = 0;
  // The same, finer where the clock is.
  virtual std::int64_t UnixUs() const { return UnixMs() * 1000; }
};

class SystemClock : public Clock {
 public:
  TimePoint Now() const override { return std::chrono::steady_clock::now(); }
  std::int64_t UnixMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  std::int64_t UnixUs() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace zkexec
