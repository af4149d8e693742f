// SPDX-License-Identifier: Apache-2.0
// FleetReader: reads, once, what a tree holds: workers, queues, what runs, what waits to be
// collected, what was asked of workers, and what nobody of ours has written.
//
// Of what waits only names are read, never a workload. What is created or removed meanwhile may
// be seen or not.
//
// Threads: the owner's loop. Writes nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "common/coordinator.h"
#include "common/layout.h"
#include "common/proto/zkexec.pb.h"

namespace zkexec {

struct FleetView {
  struct Queue {
    int depth = 0;
    int running = 0;
    int reserved_slots = 0;  // of what runs
    std::optional<double> oldest_age_s;
    int workers = 0;  // active ones that serve it
  };
  struct Worker {
    proto::Worker node;
    int running = 0;
    int reserved_slots = 0;
  };
  std::map<std::string, Queue> queues;  // that hold something, once did, or are served
  std::map<std::string, Worker> workers;
  int schedulers = 0;
  int results_waiting = 0;   // for their scheduler
  int without_claim = 0;     // runs whose worker's session is over
  int commands = 0;          // given to workers and not obeyed yet
  double command_age_s = 0;  // of the oldest of these
  int unrecognized = 0;      // nodes under our root that are not ours, or can't be read
};

class FleetReader {
 public:
  // Both are borrowed until done().
  FleetReader(Coordinator& zk, const Layout& layout, std::int64_t now_unix_ms);

  // Begins; call once, while connected.
  void Begin();
  bool done() const { return pending_ == 0; }
  // After done(). The first error but kNotFound; a tree that is not there is empty.
  const std::optional<Error>& error() const { return error_; }
  const FleetView& view() const { return view_; }

 private:
  using Each = std::function<void(const std::string&)>;

  void CountOut();
  // What was read of workers, runs and queues, put together.
  void Join();
  void Fail(const Error& error);
  // Each operation counts itself in and out; at zero all is read.
  void List(const std::string& path, Each each);
  void Read(const std::string& path, std::function<void(const NodeData&)> use);
  void ReadTop();
  void ReadWorkers();
  void ReadQueue(const std::string& parent, const std::string& component, bool running);
  void ReadWaiting(FleetView::Queue& queue, const std::string& name);
  void ReadRunning(FleetView::Queue& queue, const std::string& path, const std::string& name);
  void ReadResults();
  void ReadControls();
  double AgeSeconds(std::int64_t unix_ms) const;

  Coordinator& zk_;
  const Layout& layout_;
  const std::int64_t now_unix_ms_;
  int pending_ = 0;
  // By worker, alive or not; without their nodes.
  std::map<std::string, FleetView::Worker> runs_;
  std::optional<Error> error_;
  FleetView view_;
};

}  // namespace zkexec
