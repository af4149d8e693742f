// SPDX-License-Identifier: Apache-2.0
// Random names: of incarnations, claims and dispatches.
#pragma once

#include <string>

namespace zkexec {

// 32 hex digits from the system's random source. Safe from any thread.
std::string RandomHex();
// This host's name as the kernel knows it.
std::string HostName();

}  // namespace zkexec
