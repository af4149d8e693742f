// SPDX-License-Identifier: Apache-2.0
#include "worker/fork_server.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "worker/json_fields.h"

namespace zkexec {

void TellForkEvent(const nlohmann::json& message, const std::vector<int>& fds,
                   ForkServer::Listener* listener) {
  JsonFields fields(message, "a message about a forked process");
  const auto event = fields.Text("event");
  const int child = fields.Int("child", 0);
  const int pid = fields.Int("pid", 0, 0);
  const int code = fields.Int("code", 1);
  const auto peak_kb = fields.Integer("peak_kb", 0, 0);
  const auto why = fields.Text("message", "cannot fork");
  if (const auto status = fields.status(); !status)
    spdlog::error("odd message event={} error=\"{}\"", event, status.error().message);
  if (event == "spawned" && fds.size() == 1 && pid > 0) {
    return listener->OnSpawned(child, pid, fds[0]);
  }
  for (const int fd : fds) close(fd);
  if (event == "ended") {
    listener->OnEnded(child, {code, peak_kb});
  } else if (event == "fork_failed" || event == "spawned") {
    listener->OnForkFailed(child, why);
  }
}

}  // namespace zkexec
