// SPDX-License-Identifier: Apache-2.0
#include "executor/admin_connection.h"

#include "common/server_list.h"

namespace zkexec {

Result<ZookeeperCoordinator::Options> ConnectionOptions(const AdminOptions& options) {
  if (const auto servers = ServerList::Parse(options.hosts); !servers) {
    return Error{ErrorCode::kInvalid, "hosts: " + servers.error().message};
  }
  ZookeeperCoordinator::Options zk;
  zk.hosts = options.hosts;
  zk.operation_timeout = options.timeout;
  zk.digest_auth = options.digest_auth;
  return zk;
}

Error NoAnswer(const AdminOptions& options, const ZookeeperCoordinator& zk) {
  const auto why = zk.last_error();
  return Error{ErrorCode::kUnavailable, "no answer from ZooKeeper at " + options.hosts +
                                            " within " +
                                            std::to_string(options.timeout.count() / 1000) + " s" +
                                            (why.empty() ? "" : " (" + why + ")")};
}

}  // namespace zkexec
