// SPDX-License-Identifier: Apache-2.0
// Orphans: what is left of a dead zygote's process tree. Linux only.
#pragma once

namespace zkexec {

// From now on, orphans among our descendants become our children.
void BecomeSubreaper();
// Kills every child of this process, and what these leave behind, until none is
// left. Call it only while no child is wanted. Blocks for as long as they die.
void KillOrphans();

}  // namespace zkexec
