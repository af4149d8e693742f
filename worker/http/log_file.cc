// SPDX-License-Identifier: Apache-2.0
#include "worker/http/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

namespace zkexec {

Result<LogFile> LogFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a named pipe must not wait for its writer.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    const int error = errno;
    const bool missing = error == ENOENT || error == ENOTDIR || error == ELOOP;
    return Error{missing ? ErrorCode::kNotFound : ErrorCode::kUnavailable,
                 std::string("the log file cannot be opened: ") + std::strerror(error)};
  }
  LogFile file(fd, 0);
  struct stat status{};
  std::error_code error;
  const auto opened = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  if (error || opened != path || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    return Error{ErrorCode::kNotFound, "the log file was replaced while it was being opened"};
  }
  file.size_ = static_cast<std::size_t>(status.st_size);
  return file;
}

LogFile::LogFile(LogFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), size_(other.size_), offset_(other.offset_) {}

LogFile& LogFile::operator=(LogFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  size_ = other.size_;
  offset_ = other.offset_;
  return *this;
}

LogFile::~LogFile() {
  if (fd_ >= 0) close(fd_);
}

std::size_t LogFile::Read(void* to, std::size_t bytes) {
  const std::size_t wanted = std::min(bytes, size_ - offset_);
  ssize_t got = 0;
  do {
    got = pread(fd_, to, wanted, static_cast<off_t>(offset_));
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return 0;
  offset_ += static_cast<std::size_t>(got);
  return static_cast<std::size_t>(got);
}

}  // namespace zkexec
