// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/path_state.h"

#include <sys/stat.h>

#include <algorithm>

namespace zkexec {

bool PathState::Unchanged() const {
  struct stat now{};
  if (stat(path.c_str(), &now) != 0) return false;
  constexpr std::int64_t kSecond = 1'000'000'000;
  return now.st_mtim.tv_sec * kSecond + now.st_mtim.tv_nsec == mtime_ns &&
         now.st_ctim.tv_sec * kSecond + now.st_ctim.tv_nsec == ctime_ns && now.st_size == size &&
         now.st_ino == inode;
}

bool PathState::AllUnchanged(const std::vector<PathState>& paths) {
  return std::all_of(paths.begin(), paths.end(),
                     [](const PathState& one) { return one.Unchanged(); });
}

Result<std::vector<PathState>> PathState::ReadAll(JsonFields<nlohmann::json>& message) {
  std::vector<PathState> paths;
  const auto* array = message.Array("paths");
  if (const auto status = message.status(); !status) return status.error();
  if (array == nullptr) return paths;
  for (const auto& one : *array) {
    JsonFields fields(one, "the state of a path");
    paths.push_back({fields.Text("path"), fields.Integer("mtime_ns", 0),
                     fields.Integer("ctime_ns", 0), fields.Integer("size", 0),
                     static_cast<std::uint64_t>(fields.Integer("inode", 0))});
    if (const auto status = fields.status(); !status) return status.error();
  }
  return paths;
}

}  // namespace zkexec
