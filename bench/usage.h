// SPDX-License-Identifier: Apache-2.0
// What this process has used, and the clock that all processes of a benchmark share.
#pragma once

#include <sys/resource.h>

#include <chrono>
#include <cstdint>

namespace zkexec::bench {

// CLOCK_MONOTONIC: comparable between processes of one machine.
inline std::int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

inline double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

inline double PeakMegabytes() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_maxrss) / 1024;
}

}  // namespace zkexec::bench
