// SPDX-License-Identifier: Apache-2.0
// A client for tests of the HTTP server that sends bytes as they are and tidies nothing up.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

namespace zkexec {

class RawClient {
 public:
  // `receive_buffer` > 0: how little of an answer may wait in our kernel, so that the server sees
  // soon that we don't read.
  explicit RawClient(int port, int family = AF_INET, int receive_buffer = 0)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    SetPatience(std::chrono::seconds(20));
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_storage address{};
    address.ss_family = static_cast<sa_family_t>(family);
    socklen_t size = sizeof(sockaddr_in);
    if (family == AF_INET) {
      auto* ipv4 = reinterpret_cast<sockaddr_in*>(&address);
      ipv4->sin_port = htons(static_cast<std::uint16_t>(port));
      ipv4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      auto* ipv6 = reinterpret_cast<sockaddr_in6*>(&address);
      ipv6->sin6_port = htons(static_cast<std::uint16_t>(port));
      ipv6->sin6_addr = in6addr_loopback;
      size = sizeof(sockaddr_in6);
    }
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0;
    EXPECT_TRUE(connected_) << std::strerror(errno);
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { close(fd_); }

  int fd() const { return fd_; }

  void SetPatience(std::chrono::seconds patience) const {
    const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  }

  // False if the server has hung up.
  bool Write(const std::string& bytes) const {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  void EndOfRequests() const { shutdown(fd_, SHUT_WR); }

  // All that comes until the server hangs up, or with `until`, until this was seen.
  std::string Read(const std::string& until = "") const {
    std::string all;
    char buffer[65536];
    while (until.empty() || all.find(until) == std::string::npos) {
      const auto got = recv(fd_, buffer, sizeof(buffer), 0);
      if (got < 0 && errno != ECONNRESET)
        ADD_FAILURE() << std::strerror(errno) << " after: " << all.substr(0, 500);
      if (got <= 0) break;
      all.append(buffer, static_cast<std::size_t>(got));
    }
    return all;
  }

  // True once the server has hung up; waits for it.
  bool IsHungUp() const {
    char byte = 0;
    const auto got = recv(fd_, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
  }

 private:
  int fd_;
  bool connected_ = false;
};

// One answer after which the server hung up.
struct RawAnswer {
  explicit RawAnswer(const std::string& text) : all(text) {
    const auto end = text.find("\r\n\r\n");
    if (!text.starts_with("HTTP/1.1 ") || end == std::string::npos) return;
    status = std::stoi(text.substr(9, 3));
    head = text.substr(0, end + 2);
    body = text.substr(end + 4);
  }

  // "(none)" if there is no such header.
  std::string Header(const std::string& name) const {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "(none)";
    const auto from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }

  int status = 0;  // 0 = this is no answer
  std::string head;
  std::string body;
  std::string all;
};

}  // namespace zkexec
