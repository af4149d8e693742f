// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "common/log.h"

namespace zkexec {

Status TaskLog::Open(const SuperviseSettings& settings, const std::string& relative_path) {
  if (relative_path.empty()) return Done{};
  const auto path = std::filesystem::path(settings.base_log_folder) / relative_path;
  path_ = path.string();
  std::error_code error;
  if (!std::filesystem::exists(path.parent_path(), error)) {
    std::filesystem::create_directories(path.parent_path().parent_path(), error);
    // Another task may have made it meanwhile.
    if (mkdir(path.parent_path().c_str(), static_cast<mode_t>(settings.log_folder_mode)) != 0 &&
        errno != EEXIST) {
      return Error{ErrorCode::kUnavailable, "cannot make the folder of the task's log " + path_ +
                                                ": " + std::strerror(errno)};
    }
  }
  fd_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
             static_cast<mode_t>(settings.log_file_mode));
  if (fd_ < 0) {
    return Error{ErrorCode::kUnavailable,
                 "cannot open the task's log " + path_ + ": " + std::strerror(errno)};
  }
  return Done{};
}

TaskLog::~TaskLog() { Close(); }

void TaskLog::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void TaskLog::Write(const std::string& lines) {
  if (fd_ < 0) return;
  for (std::size_t written = 0; written < lines.size();) {
    const auto count = write(fd_, lines.data() + written, lines.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      // A full disk must not stop the task, nor the others.
      if (!failing_)
        spdlog::error("cannot write a task's log path={} error=\"{}\"", path_,
                      std::strerror(errno));
      failing_ = true;
      return;
    }
    written += static_cast<std::size_t>(count);
    failing_ = false;
  }
}

}  // namespace zkexec
