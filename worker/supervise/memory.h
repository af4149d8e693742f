// SPDX-License-Identifier: Apache-2.0
// Memory of processes, as the kernel counts it. Linux only. Safe from any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace zkexec {

// Proportional set size in bytes: what is shared is divided among those that share it.
// 0 if the process is gone or may not be looked at.
std::int64_t ProportionalMemory(pid_t pid);

}  // namespace zkexec
