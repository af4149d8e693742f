// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/api_client.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

namespace zkexec {
namespace {

// A server of one connection, on a free port, that answers with the given text.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* const address = reinterpret_cast<sockaddr*>(&where);
    EXPECT_EQ(bind(listener_, address, size), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    EXPECT_EQ(getsockname(listener_, address, &size), 0);
    port_ = ntohs(where.sin_port);
    thread_ = std::thread([this, text = std::move(answer)] { Serve(text); });
  }
  ~OneAnswer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  void Serve(const std::string& answer) const {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    std::string request;
    char chunk[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const auto got = recv(fd, chunk, sizeof chunk, 0);
      if (got <= 0) break;
      request.append(chunk, static_cast<std::size_t>(got));
    }
    send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    close(fd);
  }

  const int listener_;
  int port_ = 0;
  std::thread thread_;
};

ApiAnswer Ask(const std::string& answer, std::size_t body_bytes_max) {
  OneAnswer server(answer);
  EventLoop loop;
  ApiClient::Options options;
  options.url = server.url();
  options.timeout = Duration{60000};  // nothing waits for it
  options.body_bytes_max = body_bytes_max;
  const auto client = ApiClient::Open(options, loop);
  EXPECT_TRUE(client);
  ApiAnswer told;
  (*client)->Send({"GET", "x", "", {}}, "a token", [&](const ApiAnswer& got) {
    told = got;
    loop.Stop();
  });
  loop.Run();
  return told;
}

std::string Whole(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string Chunked(const std::string& body) {
  std::string text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char one : body) text += std::string("1\r\n") + one + "\r\n";
  return text + "0\r\n\r\n";
}

TEST(ApiClientTest, ABodyUpToTheLimitIsAnAnswerAndALongerOneIsNone) {
  for (auto* const form : {Whole, Chunked}) {
    const auto fits = Ask(form("0123456789"), 10);
    EXPECT_EQ(fits.status, 200) << fits.failure;
    EXPECT_EQ(fits.body, "0123456789");
    const auto longer = Ask(form("0123456789a"), 10);
    EXPECT_EQ(longer.status, 0);
    EXPECT_EQ(longer.body, "");
    EXPECT_NE(longer.failure.find("too long"), std::string::npos) << longer.failure;
  }
}

TEST(ApiClientTest, BodiesAreLimitedWithoutAnOptionToo) {
  EXPECT_EQ(ApiClient::Options{}.body_bytes_max, std::size_t{256} << 20);
}

}  // namespace
}  // namespace zkexec
