// SPDX-License-Identifier: Apache-2.0
// Times as Python writes them in JSON: "2026-01-02T03:04:05.678901Z".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace zkexec {

std::string IsoTime(std::int64_t unix_us);
// Whether it is a moment as RFC 3339 has it, with or without its zone.
bool IsMoment(std::string_view text);
// As Python's isoformat() of the same time: "+00:00" for "Z". Other text stays.
std::string WithOffset(std::string_view iso);

}  // namespace zkexec
