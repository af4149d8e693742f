// SPDX-License-Identifier: Apache-2.0
#include "executor/one_shot.h"

#include "common/event_loop.h"
#include "common/server_list.h"
#include "common/zookeeper_coordinator.h"

namespace zkexec {

Status RunOneShot(const AdminOptions& options, const Clock& clock, OneShot& job, Duration closing) {
  if (const auto servers = ServerList::Parse(options.hosts); !servers) {
    return Error{ErrorCode::kInvalid, "hosts: " + servers.error().message};
  }
  EventLoop loop;
  ZookeeperCoordinator::Options zk_options;
  zk_options.hosts = options.hosts;
  zk_options.operation_timeout = options.timeout;
  zk_options.digest_auth = options.digest_auth;
  ZookeeperCoordinator zk(zk_options, clock);
  loop.Add(&zk);
  const auto deadline = clock.Now() + options.timeout;
  bool begun = false;
  while (clock.Now() < deadline + (begun ? closing : Duration{0})) {
    loop.Turn(Duration{50});
    if (zk.state() == SessionState::kAuthFailed) break;
    if (zk.state() == SessionState::kConnected && !begun) {
      begun = true;
      job.Begin(zk);
    }
    if (!begun) continue;
    job.Turn(zk, clock.Now() >= deadline);
    if (job.done()) return Done{};
  }
  const auto why = zk.last_error();
  return Error{ErrorCode::kUnavailable, "no answer from ZooKeeper at " + options.hosts +
                                            " within " +
                                            std::to_string(options.timeout.count() / 1000) + " s" +
                                            (why.empty() ? "" : " (" + why + ")")};
}

}  // namespace zkexec
