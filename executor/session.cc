// SPDX-License-Identifier: Apache-2.0
#include "executor/session.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "common/event_loop.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/server_list.h"
#include "common/zookeeper_coordinator.h"
#include "executor/core.h"

namespace zkexec {
namespace {

constexpr Duration kTick{100};

}  // namespace

struct ExecutorSession::Impl {
  Impl(Options o, Layout l, Sealer s)
      : options(std::move(o)), layout(std::move(l)), sealer(std::move(s)) {}

  // Constant after construction.
  const Options options;
  const Layout layout;
  const Sealer sealer;
  const SystemClock clock;

  EventLoop loop;
  std::thread thread;
  std::mutex control_mutex;  // guards started, stopped and thread
  bool started = false;
  bool stopped = false;

  // I/O thread only.
  std::unique_ptr<ZookeeperCoordinator> zk;
  std::unique_ptr<Core> core;
  bool stopping = false;
  TimePoint stop_at{};

  mutable std::mutex mutex;  // guards events and shown
  std::vector<Event> events;
  Status shown;

  void Run();
  void Tick();
};

void ExecutorSession::Impl::Run() {
  // Signals are the host process's; none may be delivered to this thread.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);

  ZookeeperCoordinator::Options zk_options;
  zk_options.hosts = options.hosts;
  zk_options.session_timeout = options.session_timeout;
  zk_options.digest_auth = options.digest_auth;
  zk = std::make_unique<ZookeeperCoordinator>(zk_options, clock);
  Core::Options core_options;
  core_options.scheduler = options.scheduler;
  core_options.host = HostName();
  core_options.pid = getpid();
  core_options.partitions = options.partitions;
  core_options.workload_bytes_max = options.workload_bytes_max;
  core = std::make_unique<Core>(core_options, *zk, layout, clock, sealer, [this](Event event) {
    const std::lock_guard lock(mutex);
    events.push_back(std::move(event));
  });
  loop.Add(zk.get());
  loop.SetTick(kTick, [this] { Tick(); });
  loop.Run();
  loop.Remove(zk.get());
  // Its end answers what is still under way, to a core that is still there.
  zk->Close();
  core.reset();
  zk.reset();
}

void ExecutorSession::Impl::Tick() {
  core->Tick();
  if (stopping && (core->unplaced() == 0 || clock.Now() >= stop_at)) loop.Stop();
  const std::lock_guard lock(mutex);
  shown.connected = core->ready();
  shown.session_state = ToString(zk->state());
  shown.live_workers = static_cast<int>(core->fleet().workers().size());
  shown.live_slots = core->fleet().live_slots();
  shown.outstanding = core->outstanding();
  shown.strangers = core->strangers();
  shown.last_error = core->last_error().empty() ? zk->last_error() : core->last_error();
}

Result<std::unique_ptr<ExecutorSession>> ExecutorSession::Make(Options options) {
  if (const auto servers = ServerList::Parse(options.hosts); !servers) {
    return Error{ErrorCode::kInvalid, "hosts: " + servers.error().message};
  }
  if (options.partitions < 1 || options.partitions > 1024) {
    return Error{ErrorCode::kInvalid, "partitions must be 1 to 1024"};
  }
  if (options.scheduler.empty() || EncodeComponent(options.scheduler) != options.scheduler) {
    return Error{ErrorCode::kInvalid, "scheduler_id must consist of letters, digits, _ - ."};
  }
  auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  auto sealer = Sealer::Make(options.secret);
  if (!sealer) return sealer.error();
  return std::unique_ptr<ExecutorSession>(new ExecutorSession(
      std::make_unique<Impl>(std::move(options), std::move(*layout), std::move(*sealer))));
}

ExecutorSession::ExecutorSession(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ExecutorSession::~ExecutorSession() { Stop(Duration{0}); }

void ExecutorSession::Start() {
  const std::lock_guard lock(impl_->control_mutex);
  if (impl_->started) return;
  impl_->started = true;
  impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
}

void ExecutorSession::Place(std::vector<Placement> placements) {
  impl_->loop.Post([impl = impl_.get(), placements = std::move(placements)]() mutable {
    for (auto& placement : placements) impl->core->Place(std::move(placement));
  });
}

void ExecutorSession::Adopt(std::vector<std::pair<std::string, std::string>> dispatches,
                            std::vector<std::string> dead_schedulers) {
  impl_->loop.Post([impl = impl_.get(), dispatches = std::move(dispatches),
                    dead_schedulers = std::move(dead_schedulers)] {
    for (const auto& prefix : dead_schedulers) impl->core->Fence(prefix);
    for (const auto& [dispatch, queue] : dispatches) impl->core->Adopt(dispatch, queue);
  });
}

void ExecutorSession::Revoke(std::string dispatch) {
  impl_->loop.Post(
      [impl = impl_.get(), dispatch = std::move(dispatch)] { impl->core->Revoke(dispatch); });
}

std::vector<Event> ExecutorSession::DrainEvents() {
  std::vector<Event> drained;
  {
    const std::lock_guard lock(impl_->mutex);
    drained = std::exchange(impl_->events, {});
  }
  if (drained.empty()) return drained;
  std::vector<std::string> ids;
  for (const auto& event : drained) ids.push_back(event.dispatch_id);
  impl_->loop.Post([impl = impl_.get(), ids = std::move(ids)] { impl->core->Acknowledge(ids); });
  return drained;
}

ExecutorSession::Status ExecutorSession::status() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->shown;
}

void ExecutorSession::Stop(Duration timeout) {
  const std::lock_guard lock(impl_->control_mutex);
  if (!impl_->started || impl_->stopped) return;
  impl_->stopped = true;
  impl_->loop.Post([impl = impl_.get(), timeout] {
    impl->stopping = true;
    impl->stop_at = impl->clock.Now() + timeout;
  });
  impl_->thread.join();
}

}  // namespace zkexec
