// SPDX-License-Identifier: Apache-2.0
#include "executor/fleet_monitor.h"

#include <algorithm>
#include <vector>

#include "common/event_loop.h"
#include "common/server_list.h"
#include "common/zookeeper_coordinator.h"

namespace zkexec {
namespace {

constexpr Duration kTurn{50};

ZookeeperCoordinator::Options ToZkOptions(const AdminOptions& options) {
  ZookeeperCoordinator::Options zk;
  zk.hosts = options.hosts;
  zk.operation_timeout = options.timeout;
  zk.digest_auth = options.digest_auth;
  return zk;
}

}  // namespace

struct FleetMonitor::Impl {
  Impl(const AdminOptions& given, const Layout& tree)
      : options(given), layout(tree), zk(ToZkOptions(given), clock) {
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
  if (const auto servers = ServerList::Parse(options.hosts); !servers) {
    return Error{ErrorCode::kInvalid, "hosts: " + servers.error().message};
  }
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  return std::unique_ptr<FleetMonitor>(new FleetMonitor(std::make_unique<Impl>(options, *layout)));
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
  const auto why = impl_->zk.last_error();
  return Error{ErrorCode::kUnavailable, "no answer from ZooKeeper at " + impl_->options.hosts +
                                            " within " +
                                            std::to_string(impl_->options.timeout.count() / 1000) +
                                            " s" + (why.empty() ? "" : " (" + why + ")")};
}

void FleetMonitor::Wait(Duration time) {
  const auto end = impl_->clock.Now() + time;
  while (impl_->clock.Now() < end) impl_->loop.Turn(kTurn);
}

}  // namespace zkexec
