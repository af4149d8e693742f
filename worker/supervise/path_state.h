// SPDX-License-Identifier: Apache-2.0
// PathState: a file or folder as it was when a Python process came to it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"
#include "worker/json_fields.h"

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
  // The field "paths" of a message: what python/zk_executor/worker/top_level_imports.py calls the
  // states of paths. Errors: kInvalid, also of any field that was read from the message before.
  static Result<std::vector<PathState>> ReadAll(JsonFields<nlohmann::json>& message);
};

}  // namespace zkexec
