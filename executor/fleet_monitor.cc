// SPDX-License-Identifier: Apache-2.0
#include "executor/fleet_monitor.h"

#include <algorithm>
#include <vector>

#include "common/event_loop.h"
#include "executor/admin_connection.h"

namespace zkexec {
namespace {

constexpr Duration kTurn{50};

}  // namespace

struct FleetMonitor::Impl {
  Impl(const AdminOptions& given, const Layout& tree,
       const ZookeeperCoordinator::Options& connection)
      : options(given), layout(tree), zk(connection, clock) {
    loop.Add(&zk);
  }
  ~Impl() {
    loop.Remove(&zk);
    zk.Close();  // what a reader waits for is answered now
  }

  const AdminOptions options;
  const Layout layout;
  const SystemClock clock;
  EventLoop loop;
  // Readers whose time was over before all their answers had come, and the present one.
  // Each lives until it is done: the answers are for it. Outlives zk.
  std::vector<std::unique_ptr<FleetReader>> readers;
  ZookeeperCoordinator zk;
};

FleetMonitor::FleetMonitor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FleetMonitor::~FleetMonitor() = default;

Result<std::unique_ptr<FleetMonitor>> FleetMonitor::Make(const AdminOptions& options) {
  const auto connection = ConnectionOptions(options);
  if (!connection) return connection.error();
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  return std::unique_ptr<FleetMonitor>(
      new FleetMonitor(std::make_unique<Impl>(options, *layout, *connection)));
}

Result<FleetView> FleetMonitor::Read() {
  auto& readers = impl_->readers;
  readers.erase(std::remove_if(readers.begin(), readers.end(),
                               [](const auto& reader) { return reader->done(); }),
                readers.end());
  const auto deadline = impl_->clock.Now() + impl_->options.timeout;
  const FleetReader* reader = nullptr;
  while (impl_->clock.Now() < deadline) {
    impl_->loop.Turn(kTurn);
    if (impl_->zk.state() == SessionState::kAuthFailed) break;
    if (reader == nullptr && impl_->zk.state() == SessionState::kConnected) {
      readers.push_back(
          std::make_unique<FleetReader>(impl_->zk, impl_->layout, impl_->clock.UnixMs()));
      readers.back()->Begin();
      reader = readers.back().get();
    }
    if (reader == nullptr || !reader->done()) continue;
    if (reader->error()) return *reader->error();
    return reader->view();
  }
  return NoAnswer(impl_->options, impl_->zk);
}

void FleetMonitor::Wait(Duration time) {
  const auto end = impl_->clock.Now() + time;
  while (impl_->clock.Now() < end) impl_->loop.Turn(kTurn);
}

}  // namespace zkexec
