// SPDX-License-Identifier: Apache-2.0
// Orphans: what is left of a dead zygote's process tree. Linux only.
#pragma once

#include <vector>

#include "common/clock.h"

namespace zkexec {

// From now on, orphans among our descendants become our children.
void BecomeSubreaper();
// Kills every child of this process, and what these leave behind, until none is
// left. Call it only while no child is wanted. Blocks for as long as they die.
void KillOrphans();
// The same within `limit`, for a process that has SIGCHLD blocked and must not wait
// for ever. Returns who is left: stuck in the kernel, or another user's.
std::vector<int> KillOrphans(const Clock& clock, Duration limit);

}  // namespace zkexec
