// SPDX-License-Identifier: Apache-2.0
// LineReader: cuts a stream into lines.
#pragma once

#include <string>
#include <string_view>

namespace zkexec {

// A line longer than kLineBytesMax comes in pieces: a task may print without end.
class LineReader {
 public:
  static constexpr std::size_t kLineBytesMax = 8u << 20;

  // Calls `take(line)` for each line, without its end.
  template <typename Take>
  void Push(std::string_view bytes, const Take& take) {
    for (;;) {
      const auto end = bytes.find('\n');
      if (end == std::string_view::npos) break;
      if (rest_.empty()) {
        take(bytes.substr(0, end));
      } else {
        rest_ += bytes.substr(0, end);
        take(std::string_view(rest_));
        rest_.clear();
      }
      bytes.remove_prefix(end + 1);
    }
    rest_ += bytes;
    if (rest_.size() >= kLineBytesMax) Finish(take);
  }

  // The stream is at its end: what has no newline is a line too.
  template <typename Take>
  void Finish(const Take& take) {
    if (!rest_.empty()) take(std::string_view(rest_));
    rest_.clear();
    rest_.shrink_to_fit();
  }

 private:
  std::string rest_;
};

}  // namespace zkexec
