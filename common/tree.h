// SPDX-License-Identifier: Apache-2.0
// The fixed part of the znode tree: made by whoever comes first, checked by all.
// Pure; same threading as the Coordinator.
#pragma once

#include <functional>
#include <string>

#include "common/coordinator.h"
#include "common/layout.h"

namespace zkexec {

// Creates what is missing of the team's tree and reads `meta`. `partitions` is
// what a new tree gets; an old one keeps its own number, which is the result.
// Errors: kInvalid if `meta` is unreadable or of another protocol version;
// whatever the coordinator says.
void EnsureTree(Coordinator& zk, const Layout& layout, int partitions,
                std::function<void(Result<int>)> done);

// Creates what is missing of one queue's partitions, waiting and running.
void EnsureQueue(Coordinator& zk, const Layout& layout, const std::string& queue, int partitions,
                 Coordinator::StatusCallback done);

}  // namespace zkexec
