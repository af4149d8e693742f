// SPDX-License-Identifier: Apache-2.0
#include "common/coordinator.h"

#include <memory>
#include <optional>

namespace zkexec {

void EnsureNodes(Coordinator& zk, const std::vector<std::string>& paths,
                 Coordinator::StatusCallback done) {
  struct Progress {
    std::size_t pending;
    std::optional<Error> first_error;
    Coordinator::StatusCallback done;
  };
  if (paths.empty()) {
    // Still asynchronous, and still behind everything sent before.
    zk.Sync(std::move(done));
    return;
  }
  auto progress = std::make_shared<Progress>(Progress{paths.size(), {}, std::move(done)});
  for (const auto& path : paths) {
    zk.Multi({Op::Create(path, "")}, [progress, path](Result<std::vector<OpResult>> made) {
      if (!made && made.error().code != ErrorCode::kAlreadyExists && !progress->first_error) {
        progress->first_error = made.error().Within("create " + path);
      }
      if (--progress->pending > 0) return;
      if (progress->first_error) {
        progress->done(*progress->first_error);
      } else {
        progress->done(Done{});
      }
    });
  }
}

void EnsurePath(Coordinator& zk, const std::string& path, Coordinator::StatusCallback done) {
  std::vector<std::string> prefixes;
  for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    prefixes.push_back(path.substr(0, at));
  }
  prefixes.push_back(path);
  // Pipelining is safe: one session's operations are applied in order.
  EnsureNodes(zk, prefixes, std::move(done));
}

}  // namespace zkexec
