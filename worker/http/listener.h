// SPDX-License-Identifier: Apache-2.0
// Listener: a socket that listens where the operator said, or a reason that the operator
// understands.
#pragma once

#include <string>

#include "common/result.h"

namespace zkexec {

// Owns the listening socket until the caller takes it with Release(). Movable.
//
// Threads: one at a time.
class Listener {
 public:
  // `host` is an IPv4 or IPv6 address (an IPv6 one may stand in brackets), or a name, of which the
  // first IPv4 address is taken, or else the first IPv6 one. "::" also serves IPv4 clients. Port
  // 0 = any free one. May block on DNS. The socket is non-blocking and closed by exec; for what is
  // accepted from it, the kernel has buffers of a fixed size, 192 KiB in all.
  // Errors: kInvalid (port taken, unknown host, not an address of this machine).
  static Result<Listener> Open(const std::string& host, int port);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) = delete;
  ~Listener();

  int port() const { return port_; }  // never 0
  int Release();                      // the caller closes it

 private:
  Listener(int fd, int port) : fd_(fd), port_(port) {}

  int fd_;
  int port_;
};

// "127.0.0.1:80", "[::1]:80": as URLs and Prometheus want it.
std::string HostAndPort(const std::string& host, int port);

}  // namespace zkexec
