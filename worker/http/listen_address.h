// SPDX-License-Identifier: Apache-2.0
// ListenAddress: where a server can listen, found out before it tries.
#pragma once

#include <string>

#include "common/result.h"

namespace zkexec {

// For HTTP libraries that cannot choose a free port or do not say why a bind failed.
struct ListenAddress {
  std::string ip;  // IPv4, numeric
  int port = 0;    // never 0

  // Resolves `host`, binds for a moment and lets go: another process may take
  // the port before the caller does. Port 0 = any free one. May block on DNS.
  // Errors: kInvalid (port taken, unknown host, not an address of this machine).
  static Result<ListenAddress> Find(const std::string& host, int port);
};

}  // namespace zkexec
