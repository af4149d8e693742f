// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/memory.h"

#include <fstream>
#include <string>

namespace zkexec {

std::int64_t ProportionalMemory(pid_t pid) {
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  for (std::string line; std::getline(rollup, line);)
    if (line.starts_with("Pss:")) return std::stoll(line.substr(4)) * 1024;
  return 0;
}

}  // namespace zkexec
