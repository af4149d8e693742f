// SPDX-License-Identifier: Apache-2.0
// PathState: a file or folder as it was when a Python process came to it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace zkexec {

struct PathState {
  std::string path;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::int64_t size = 0;
  std::uint64_t inode = 0;

  // Looks at the file system, once.
  bool Unchanged() const;
  static bool AllUnchanged(const std::vector<PathState>& paths);
  // From what python/zk_executor/worker/top_level_imports.py calls a path's state.
  // Errors: kInvalid.
  static Result<std::vector<PathState>> ReadAll(const nlohmann::json& array);
};

}  // namespace zkexec
