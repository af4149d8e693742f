// SPDX-License-Identifier: Apache-2.0
// What the two kinds of sessions have in common that read and change the tree for a person: a
// command's (RunOneShot) and the fleet exporter's (FleetMonitor).
//
// Pure; any thread.
#pragma once

#include "common/zookeeper_coordinator.h"
#include "executor/one_shot.h"

namespace zkexec {

// Errors: kInvalid: hosts that are no list of servers.
Result<ZookeeperCoordinator::Options> ConnectionOptions(const AdminOptions& options);

// kUnavailable, with what the client said last.
Error NoAnswer(const AdminOptions& options, const ZookeeperCoordinator& zk);

}  // namespace zkexec
