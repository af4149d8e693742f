// SPDX-License-Identifier: Apache-2.0
#include "worker/http/listen_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace zkexec {
namespace {

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) close(fd);
  }
};

Error Invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }

}  // namespace

Result<ListenAddress> ListenAddress::Find(const std::string& host, int port) {
  if (port < 0 || port > 65535) return Invalid("port " + std::to_string(port) + " does not exist");
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(host.c_str(), nullptr, &hints, &found); failed != 0) {
    return Invalid("host " + host + " has no IPv4 address: " + gai_strerror(failed));
  }
  sockaddr_in address{};
  std::memcpy(&address, found->ai_addr, sizeof(address));
  freeaddrinfo(found);
  address.sin_port = htons(static_cast<std::uint16_t>(port));

  // With SO_REUSEADDR, as servers do: connections of a predecessor do not count.
  const Fd probe{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (probe.fd < 0 || setsockopt(probe.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      bind(probe.fd, generic, size) != 0 || listen(probe.fd, 1) != 0 ||
      getsockname(probe.fd, generic, &size) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return Invalid("port " + std::to_string(port) + " is taken on " + host);
    }
    return Invalid("cannot listen on " + host + " port " + std::to_string(port) + ": " +
                   std::strerror(error));
  }
  char ip[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address.sin_addr, ip, sizeof(ip));
  return ListenAddress{ip, ntohs(address.sin_port)};
}

}  // namespace zkexec
