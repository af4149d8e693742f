// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/memory.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace zkexec {
namespace {

constexpr int kShare = 100;
constexpr Duration kIntervalMin{100};

}  // namespace

std::int64_t ProportionalMemory(pid_t pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(rollup, line);)
    if (line.starts_with("Pss:")) return std::stoll(line.substr(4)) * 1024;
  return 0;
}

void MeasuringPace::Try(const std::function<void()>& measure) {
  const auto began = clock_.Now();
  if (began < next_) return;
  measure();
  const auto ended = clock_.Now();
  next_ = ended + std::max<TimePoint::duration>(kIntervalMin, (ended - began) * kShare);
}

}  // namespace zkexec
