// SPDX-License-Identifier: Apache-2.0
#include "worker/http/listener.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace zkexec {
namespace {

// What may wait for accept(): the kernel caps it at net.core.somaxconn.
constexpr int kBacklog = 1024;

// What the kernel may hold for one client, per direction; it doubles both, for its own records.
// Left alone it lets them grow to several MB, also for clients that read nothing, and the memory
// of all sockets has a limit that the machine's other programs share. A head has at most 16 KiB.
constexpr int kSendBufferBytes = 64 * 1024;
constexpr int kReceiveBufferBytes = 32 * 1024;

Error Invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }

std::string WithoutBrackets(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

bool SetOption(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof(value)) == 0;
}

// With SO_REUSEADDR, as servers do: connections of a predecessor do not count. IPV6_V6ONLY is
// said either way, because the machine's default can be either. What is accepted inherits the
// sizes of the buffers, and no longer grows them.
bool BindAndListen(int fd, const addrinfo& where) {
  const bool any_ipv6 =
      where.ai_family == AF_INET6 &&
      IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(where.ai_addr)->sin6_addr);
  return SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
         SetOption(fd, SOL_SOCKET, SO_SNDBUF, kSendBufferBytes) &&
         SetOption(fd, SOL_SOCKET, SO_RCVBUF, kReceiveBufferBytes) &&
         (where.ai_family != AF_INET6 ||
          SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, any_ipv6 ? 0 : 1)) &&
         bind(fd, where.ai_addr, where.ai_addrlen) == 0 && listen(fd, kBacklog) == 0;
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

}  // namespace

Result<Listener> Listener::Open(const std::string& host, int port) {
  if (port < 0 || port > 65535) return Invalid("port " + std::to_string(port) + " does not exist");
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failed =
          getaddrinfo(WithoutBrackets(host).c_str(), std::to_string(port).c_str(), &hints, &found);
      failed != 0) {
    return Invalid("host " + host + " has no address: " + gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const addrinfo* where = found;
  while (where->ai_next != nullptr && where->ai_family != AF_INET) where = where->ai_next;
  if (where->ai_family != AF_INET) where = found;

  Listener listener(socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), port);
  if (listener.fd_ < 0 || !BindAndListen(listener.fd_, *where)) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return Invalid("port " + std::to_string(port) + " is taken on " + host);
    }
    return Invalid("cannot listen on " + host + " port " + std::to_string(port) + ": " +
                   std::strerror(error));
  }
  listener.port_ = PortOf(listener.fd_);
  return listener;
}

Listener::Listener(Listener&& other) noexcept : fd_(other.Release()), port_(other.port_) {}

Listener::~Listener() {
  if (fd_ >= 0) close(fd_);
}

int Listener::Release() { return std::exchange(fd_, -1); }

std::string HostAndPort(const std::string& host, int port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos && host.front() != '[';
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace zkexec
