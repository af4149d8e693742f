// SPDX-License-Identifier: Apache-2.0
// Daemon: builds the worker's parts, connects them and runs the loop. The one
// place where the wiring can be read.
#pragma once

#include "worker/settings.h"

namespace zkexec {

// Exit codes of zk-worker; part of its interface.
// 128 + n: signal n killed the worker process, and its guardian has cleaned up.
enum ExitCode {
  kDrained = 0,
  kBadConfiguration = 2,
  kPortTaken = 3,
  kZygoteFailed = 4,
  kGuardianDied = 5,  // of the worker process: its parent can't return it any more
};

// Splits into guardian and worker process (guardian.h) unless only the configuration is
// checked. Blocks until the worker has drained or can't go on. Call once, from main(),
// before there is a thread.
int RunDaemon(const Flags& flags);

}  // namespace zkexec
