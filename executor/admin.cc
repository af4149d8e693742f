// SPDX-License-Identifier: Apache-2.0
#include "executor/admin.h"

#include "common/layout.h"
#include "executor/fleet_reader.h"

namespace zkexec {
namespace {

class ReadOnce : public OneShot {
 public:
  ReadOnce(const Layout& layout, std::int64_t now_unix_ms)
      : layout_(layout), now_unix_ms_(now_unix_ms) {}
  void Begin(Coordinator& zk) override {
    reader_.emplace(zk, layout_, now_unix_ms_);
    reader_->Begin();
  }
  bool done() const override { return reader_ && reader_->done(); }
  const FleetReader& reader() const { return *reader_; }

 private:
  const Layout& layout_;
  const std::int64_t now_unix_ms_;
  std::optional<FleetReader> reader_;
};

Result<FleetView> ReadTree(const AdminOptions& options) {
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  const SystemClock clock;
  ReadOnce once(*layout, clock.UnixMs());
  if (const auto ran = RunOneShot(options, clock, once); !ran) return ran.error();
  if (once.reader().error()) return *once.reader().error();
  return once.reader().view();
}

}  // namespace

Result<std::vector<WorkerView>> InspectWorkers(const AdminOptions& options) {
  const auto tree = ReadTree(options);
  if (!tree) return tree.error();
  std::vector<WorkerView> views;
  for (const auto& [name, worker] : tree->workers) {
    views.push_back({worker.node, worker.running});
  }
  return views;
}

Result<std::vector<QueueView>> InspectQueues(const AdminOptions& options) {
  const auto tree = ReadTree(options);
  if (!tree) return tree.error();
  std::vector<QueueView> views;
  for (const auto& [name, queue] : tree->queues) {
    views.push_back({name, queue.depth, queue.running, queue.oldest_age_s, queue.workers});
  }
  return views;
}

}  // namespace zkexec
