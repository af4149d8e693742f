// SPDX-License-Identifier: Apache-2.0
// Daemon: builds the worker's parts, connects them and runs the loop. The one
// place where the wiring can be read.
#pragma once

#include "worker/settings.h"

namespace zkexec {

// Exit codes of zk-worker; part of its interface.
enum ExitCode { kDrained = 0, kBadConfiguration = 2, kPortTaken = 3, kZygoteFailed = 4 };

// Blocks until the worker has drained or can't go on. Call once, from main().
int RunDaemon(const Flags& flags);

}  // namespace zkexec
