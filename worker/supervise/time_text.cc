// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/time_text.h"

#include <cstdio>
#include <ctime>

namespace zkexec {

std::string IsoTime(std::int64_t unix_us) {
  const std::time_t seconds = unix_us / 1'000'000;
  const int micros = static_cast<int>(unix_us % 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  std::string out = text;
  if (micros != 0) {
    std::snprintf(text, sizeof text, ".%06d", micros);
    out += text;
  }
  return out + "Z";
}

std::string WithOffset(std::string_view iso) {
  if (!iso.ends_with('Z')) return std::string(iso);
  return std::string(iso.substr(0, iso.size() - 1)) + "+00:00";
}

}  // namespace zkexec
