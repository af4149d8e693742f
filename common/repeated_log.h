// SPDX-License-Identifier: Apache-2.0
// RepeatedLog: which of a library's log messages are worth a line. A client that tries to connect
// several times a second says the same each time.
//
// Pure. Threads: none of its own; callers take care of one at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

namespace zkexec {

class RepeatedLog {
 public:
  // A message of a kind that was told within `interval` is only counted.
  explicit RepeatedLog(Duration interval) : interval_(interval) {}

  // The line to write, with how many of its kind were left out before it; nothing to write if it
  // is left out itself. The kind of a message of ZooKeeper's C client is where in the client it
  // comes from: "…:ZOO_ERROR@handle_socket_error_msg@2485: …". Another message is its own kind.
  std::optional<std::string> Admit(std::string_view message, TimePoint now);

 private:
  // As many as the client has places; a library that invents kinds makes it forget all.
  static constexpr std::size_t kKindsMax = 256;
  struct Kind {
    TimePoint told;
    int left_out = 0;
  };

  Duration interval_;
  std::map<std::string, Kind, std::less<>> kinds_;
};

}  // namespace zkexec
