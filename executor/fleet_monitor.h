// SPDX-License-Identifier: Apache-2.0
// FleetMonitor: reads a tree again and again on one session, for an exporter of metrics.
//
// Threads:  one at a time may call; calls block that thread.
// Lifetime: owns its session, which its destructor closes.
// Session:  while nobody calls, it lapses; the next Read() has another one. Writes nothing.
#pragma once

#include <memory>

#include "executor/fleet_reader.h"
#include "executor/one_shot.h"

namespace zkexec {

class FleetMonitor {
 public:
  // Errors: kInvalid (hosts, root or team). Connects in the background.
  static Result<std::unique_ptr<FleetMonitor>> Make(const AdminOptions& options);
  ~FleetMonitor();

  // What the tree holds now; within the options' timeout. Errors: kUnavailable, kSessionExpired.
  Result<FleetView> Read();
  // Keeps the session alive for that long.
  void Wait(Duration time);

 private:
  struct Impl;
  explicit FleetMonitor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
