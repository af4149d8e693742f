// SPDX-License-Identifier: Apache-2.0
// What goes into the executor core and what comes out of it. Value types.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace zkexec {

// One workload to hand over. The dispatch id names this hand-over: a retry or a
// resume after deferral comes with another one.
struct Placement {
  std::string dispatch_id;
  std::string queue;
  std::string kind;       // task, callback, connection_test
  std::string route_key;  // what a worker can be warm for: bundle, version, DAG file
  int slots = 1;
  int priority = 0;
  std::string workload;   // JSON; holds a bearer token
  std::string label;      // for people
  std::string lost_by{};  // set by the core: who may have started it under an earlier token
};

// How a dispatch ended. Outcomes: success, failed, already_running, stale,
// token, killed, lost (written by workers); lost, gone, rejected, fenced (by the core).
struct Event {
  std::string dispatch_id;
  std::string outcome;
  std::string info;
  std::string worker;
  std::string lost_by{};  // for the core
};

using EventSink = std::function<void(Event)>;

}  // namespace zkexec
