// SPDX-License-Identifier: Apache-2.0
// Well-meant clients with connections of their own kind: many requests, half-closed, IPv6.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "tests/unit/worker/http/http_server_fixture.h"
#include "worker/http/listener.h"

namespace zkexec {
namespace {

constexpr char kLast[] = "Host: x\r\nConnection: close\r\n\r\n";

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

bool HasIpv6() { return Listener::Open("::1", 0).has_value(); }

int BufferOf(int fd, int option) {
  int bytes = 0;
  socklen_t size = sizeof(bytes);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, option, &bytes, &size), 0);
  return bytes;
}

class HttpConnectionTest : public HttpServerFixture {};

TEST_F(HttpConnectionTest, AnswersRequestsInOnePacketInTheirOrder) {
  folder_.Write("a.log", std::string(300'000, 'a') + "\n");
  std::string packet = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" + LogRequest("a.log") +
                       "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n" +
                       "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" +
                       "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" +
                       std::string("GET /health/live HTTP/1.1\r\n") + kLast;
  const auto all = Exchange(packet);
  EXPECT_EQ(CountOf(all, "HTTP/1.1 "), 6);
  std::size_t at = 0;
  for (const char* expected :
       {"HTTP/1.1 200 OK\r\n", "\r\n\r\nup 1\nHTTP/1.1 200 OK\r\n", "Content-Length: 300001\r\n",
        "a\nHTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n\r\nHTTP/1.1 405 ", "HTTP/1.1 404 ",
        "no such page\nHTTP/1.1 200 OK\r\n", "{\"live\":true}"}) {
    at = all.find(expected, at);
    ASSERT_NE(at, std::string::npos) << expected;
  }
  EXPECT_TRUE(all.ends_with("{\"live\":true}"));
}

TEST_F(HttpConnectionTest, AnswersManyRequestsInOnePacket) {
  std::string packet;
  for (int i = 0; i < 2000; ++i) packet += "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto all = Exchange(packet + "GET /health/live HTTP/1.1\r\n" + kLast);
  EXPECT_EQ(CountOf(all, "\r\n\r\nup 1\n"), 2000);
  EXPECT_EQ(CountOf(all, "{\"live\":true}"), 1);
}

TEST_F(HttpConnectionTest, ReadsRequestsByteByByte) {
  const RawClient client(server_->port());
  for (const char byte : std::string("GET /metrics HTTP/1.1\r\n") + kLast) {
    ASSERT_TRUE(client.Write(std::string(1, byte)));
  }
  EXPECT_TRUE(client.Read().ends_with("\r\n\r\nup 1\n"));
}

TEST_F(HttpConnectionTest, KeepsConnectionForNextRequest) {
  const RawClient client(server_->port());
  for (int i = 0; i < 3; ++i) {
    client.Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(RawAnswer(client.Read("up 1\n")).Header("Connection"), "(none)");
  }
}

TEST_F(HttpConnectionTest, ClosesAfterAnswerToOldClients) {
  const auto answer = RawAnswer(Exchange("GET /metrics HTTP/1.0\r\n\r\n"));
  EXPECT_EQ(answer.Header("Connection"), "close");
  EXPECT_EQ(answer.body, "up 1\n");
}

TEST_F(HttpConnectionTest, AnswersClientThatHasSentItsLast) {
  folder_.Write("a.log", std::string(3'000'000, 'a'));
  const RawClient client(server_->port());
  client.Write(LogRequest("a.log"));
  client.EndOfRequests();
  EXPECT_EQ(RawAnswer(client.Read()).body.size(), 3'000'000U);
}

TEST_F(HttpConnectionTest, UnderstandsTargetsForProxies) {
  EXPECT_EQ(Request("GET", "http://worker:8793/metrics?x=/log/").body, "up 1\n");
  EXPECT_EQ(Request("GET", "http://worker:8793").status, 404);
  EXPECT_EQ(Request("GET", "*").status, 404);
  EXPECT_EQ(Request("GET", "/metrics?name[]=x").body, "up 1\n");
}

TEST_F(HttpConnectionTest, MakesPageOfHandlerThatThrows) {
  handlers_.metrics_text = []() -> std::string { throw std::runtime_error("broken"); };
  Restart();
  EXPECT_EQ(Request("GET", "/metrics").status, 500);
  ExpectHealthy();
}

TEST_F(HttpConnectionTest, ServesIpv6) {
  if (!HasIpv6()) GTEST_SKIP() << "no IPv6 on this machine";
  for (const char* host : {"::1", "[::1]"}) {
    options_.host = host;
    Restart();
    const RawClient client(server_->port(), AF_INET6);
    client.Write(std::string("GET /metrics HTTP/1.1\r\n") + kLast);
    EXPECT_TRUE(client.Read().ends_with("up 1\n")) << host;
  }
}

TEST_F(HttpConnectionTest, ServesBothFamiliesOnAnyIpv6Address) {
  if (!HasIpv6()) GTEST_SKIP() << "no IPv6 on this machine";
  options_.host = "::";
  Restart();
  for (const int family : {AF_INET, AF_INET6}) {
    const RawClient client(server_->port(), family);
    client.Write(std::string("GET /metrics HTTP/1.1\r\n") + kLast);
    EXPECT_TRUE(client.Read().ends_with("up 1\n")) << family;
  }
}

TEST(ListenerTest, NamesIpv6PortThatIsTaken) {
  if (!HasIpv6()) GTEST_SKIP() << "no IPv6 on this machine";
  const auto first = Listener::Open("::1", 0);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = Listener::Open("[::1]", first->port());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().message, "port " + std::to_string(first->port()) + " is taken on [::1]");
}

// The kernel doubles what it is asked for. A size that was asked for doesn't grow any more.
TEST(ListenerTest, BoundsWhatTheKernelHoldsForAnAcceptedClient) {
  auto listener = Listener::Open("127.0.0.1", 0);
  ASSERT_TRUE(listener) << listener.error().message;
  const RawClient client(listener->port());
  pollfd waiting{listener->Release(), POLLIN, 0};
  ASSERT_EQ(poll(&waiting, 1, 20000), 1);
  const int accepted = accept(waiting.fd, nullptr, nullptr);
  ASSERT_GE(accepted, 0);
  EXPECT_LE(BufferOf(accepted, SO_SNDBUF), 128 * 1024);
  EXPECT_LE(BufferOf(accepted, SO_RCVBUF), 64 * 1024);
  close(accepted);
  close(waiting.fd);
}

TEST(ListenerTest, WritesAddressesAsUrlsDo) {
  EXPECT_EQ(HostAndPort("0.0.0.0", 80), "0.0.0.0:80");
  EXPECT_EQ(HostAndPort("::1", 80), "[::1]:80");
  EXPECT_EQ(HostAndPort("[::1]", 80), "[::1]:80");
  EXPECT_EQ(HostAndPort("worker", 80), "worker:80");
}

}  // namespace
}  // namespace zkexec
