// SPDX-License-Identifier: Apache-2.0
// ServerList: the servers of a ZooKeeper ensemble, as people write them:
// "zk1:2181,zk2,[2001:db8::7]:2181". A server without a port has 2181, as
// everywhere in ZooKeeper. zk_executor/servers.py reads the same;
// tests/data/server_lists.json is the table of cases for both.
//
// Pure; immutable; safe from any thread.
#pragma once

#include <string>
#include <vector>

#include "common/result.h"

namespace zkexec {

class ServerList {
 public:
  // Blanks around a server and empty parts are ignored, and a server that is named
  // twice counts once. Errors: kInvalid; the message names the part and what is
  // allowed, not the option.
  static Result<ServerList> Parse(const std::string& text);

  // As people write it: every server with its port, IPv6 addresses in brackets.
  std::string ToString() const;
  // As Debian's C client reads it: it takes what stands behind the last colon for
  // the port, and hands the rest, brackets included, to the name resolution.
  std::string ForClient() const;

 private:
  struct Server {
    std::string host;  // without brackets
    int port = 0;
  };
  static Result<Server> ParseServer(const std::string& text);
  std::vector<Server> servers_;  // at least one
};

}  // namespace zkexec
