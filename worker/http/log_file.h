// SPDX-License-Identifier: Apache-2.0
// LogFile: the part of a log that existed when it was opened.
#pragma once

#include <cstddef>
#include <string>

#include "common/result.h"

namespace zkexec {

// Movable, owns its descriptor.
//
// Threads: one at a time.
class LogFile {
 public:
  // `path` is what LogAccess allowed: absolute and without symlinks. Opening
  // fails when that has changed since, so a link swapped in cannot lead out.
  // Errors: kNotFound; kUnavailable (permissions, too many open files).
  static Result<LogFile> Open(const std::string& path);
  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&& other) noexcept;
  ~LogFile();

  // Constant, however much is appended meanwhile.
  std::size_t size() const { return size_; }

  // Reads on, at most `bytes`; 0 at size(), or where the file now ends, or on an error.
  std::size_t Read(void* to, std::size_t bytes);

 private:
  LogFile(int fd, std::size_t size) : fd_(fd), size_(size) {}

  int fd_;
  std::size_t size_;
  std::size_t offset_ = 0;
};

}  // namespace zkexec
