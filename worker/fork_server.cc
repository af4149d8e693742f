// SPDX-License-Identifier: Apache-2.0
#include "worker/fork_server.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

namespace zkexec {

void TellForkEvent(const nlohmann::json& message, const std::vector<int>& fds,
                   ForkServer::Listener* listener) {
  const auto event = message.value("event", "");
  const int child = message.value("child", 0);
  if (event == "spawned" && fds.size() == 1) {
    return listener->OnSpawned(child, message.value("pid", 0), fds[0]);
  }
  for (const int fd : fds) close(fd);
  if (event == "ended") {
    listener->OnEnded(child, {message.value("code", 1), message.value("peak_kb", std::int64_t{0})});
  } else if (event == "fork_failed") {
    listener->OnForkFailed(child, message.value("message", "cannot fork"));
  }
}

}  // namespace zkexec
