// SPDX-License-Identifier: Apache-2.0
// Strangers: the nodes under our root that others have written, or that we can't read.
// Each is told once in the log, and counted; it is never touched.
//
// Threads: the owner's loop. Session: survives its loss.
#pragma once

#include <cstdint>
#include <set>
#include <string>

namespace zkexec {

class Strangers {
 public:
  void Met(const std::string& path, const std::string& why);
  // Different ones met so far. A node that stays is counted once.
  std::uint64_t count() const { return count_; }

 private:
  std::set<std::string> known_;  // bounded; when full it starts anew
  std::uint64_t count_ = 0;
};

}  // namespace zkexec
