// SPDX-License-Identifier: Apache-2.0
#include "executor/one_shot.h"

#include "common/event_loop.h"
#include "executor/admin_connection.h"

namespace zkexec {

Status RunOneShot(const AdminOptions& options, const Clock& clock, OneShot& job, Duration closing) {
  const auto connection = ConnectionOptions(options);
  if (!connection) return connection.error();
  EventLoop loop;
  ZookeeperCoordinator zk(*connection, clock);
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
  return NoAnswer(options, zk);
}

}  // namespace zkexec
