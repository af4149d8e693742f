// SPDX-License-Identifier: Apache-2.0
// Logging: spdlog to stderr, "time level phrase key=value". The phrase is fixed;
// what varies stands in the values. Safe from any thread.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace zkexec {

// Errors: false if `level` is none of trace, debug, info, warning, error, off.
bool SetUpLogging(const std::string& level);

}  // namespace zkexec
