// SPDX-License-Identifier: Apache-2.0
// Retire: what an incarnation of a worker takes back from ZooKeeper at its end.
#pragma once

#include <functional>
#include <string>

#include "common/clock.h"
#include "common/coordinator.h"
#include "common/event_loop.h"

namespace zkexec {

// Removes `control`, the worker's node under control/, with the commands in it. Its
// absence tells schedulers that this incarnation is over and runs nothing: call it
// only when no task process is left.
//
// Threads:  the loop's; turns the loop until it is done, or `limit` is over, or
//           `given_up` (may be empty) says so. `zk` must be in the loop.
// Session:  goes on in the next one if it ends.
// Errors:   kUnavailable, with what was in the way.
Status RemoveControl(EventLoop& loop, Coordinator& zk, const std::string& control,
                     const Clock& clock, Duration limit, const std::function<bool()>& given_up);

}  // namespace zkexec
