// SPDX-License-Identifier: Apache-2.0
// What the fuzzers share: how they fail, and JSON as Python would read it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "worker/supervise/wire.h"

namespace zkexec::fuzz {

inline void Require(bool holds, const char* what, std::string_view shown = {}) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n%.*s\n", what, static_cast<int>(std::min(shown.size(), 4096ul)),
               shown.data());
  std::abort();
}

// nlohmann's parser ends at a NUL and skips a byte order mark; nobody else does.
inline bool IsStrictJson(std::string_view text) {
  return text.find('\0') == std::string_view::npos && !text.starts_with("\xef\xbb\xbf") &&
         nlohmann::json::accept(text);
}

// The payload of a frame of ours.
inline std::string Payload(std::string_view frame) {
  FrameReader reader;
  reader.Push(frame);
  std::string payload;
  Require(reader.Pop(&payload), "a frame of ours is not a frame", frame);
  Require(reader.pending() == 0, "a frame of ours has bytes behind it", frame);
  return payload;
}

// What has no place in a frame, by decision: Airflow's own supervisor refuses it too.
inline bool IsRefused(const Error& error) {
  return error.message == "an integer beyond 64 bits" || error.message == "nested too deeply";
}

// Calls `take` with pieces of many sizes, the same ones for the same bytes.
template <typename Take>
void InPieces(std::string_view bytes, const Take& take) {
  for (std::size_t turn = 0; !bytes.empty(); ++turn) {
    const auto size = (static_cast<unsigned char>(bytes.front()) * 7 + turn) % 61 + 1;
    take(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
  }
}

}  // namespace zkexec::fuzz
