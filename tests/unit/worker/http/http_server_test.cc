// SPDX-License-Identifier: Apache-2.0
#include "worker/http/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/worker/http/http_server_fixture.h"

namespace zkexec {
namespace {

constexpr char kLog[] = "dag_id=d/run_id=manual__2026-01-02T03:04:05+00:00/attempt=1.log";

class HttpServerTest : public HttpServerFixture {};

TEST_F(HttpServerTest, ServesLogWithContentLength) {
  folder_.Write(kLog, "one\ntwo\n");
  const auto response = GetLog(kLog);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Content-Length"), "8");
  EXPECT_EQ(response.Header("Transfer-Encoding"), "(none)");
  EXPECT_EQ(response.Header("Content-Encoding"), "(none)");
  EXPECT_EQ(response.body, "one\ntwo\n");
}

TEST_F(HttpServerTest, ServesLogWithEncodedName) {
  folder_.Write(kLog, "x");
  const auto response = Request(
      "GET", "/log/dag_id=d/run_id=manual__2026-01-02T03%3A04%3A05+00%3A00/attempt=1.log?a=b",
      LogToken{.filename = kLog}.Encode());
  EXPECT_EQ(response.status, 200);
}

// Asked to compress, as requests does on every call.
TEST_F(HttpServerTest, DoesNotCompressLog) {
  folder_.Write("a.log", std::string(1000, 'a'));
  const auto reply =
      Raw("GET /log/a.log HTTP/1.1", "Accept-Encoding: gzip, deflate\r\n" + Authorization("a.log"));
  EXPECT_NE(reply.find("Content-Length: 1000\r\n"), std::string::npos) << reply;
  EXPECT_TRUE(reply.ends_with("\r\n\r\n" + std::string(1000, 'a'))) << reply;
}

TEST_F(HttpServerTest, ServesEmptyLog) {
  folder_.Write("empty.log", "");
  const auto response = GetLog("empty.log");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Content-Length"), "0");
  EXPECT_EQ(response.body, "");
}

TEST_F(HttpServerTest, ServesLargeBinaryLogUnchanged) {
  std::string text;
  for (int i = 0; text.size() < 3'000'000; ++i) text += std::to_string(i) + '\0' + '\xff' + "\r\n";
  folder_.Write("large.log", text);
  const auto response = GetLog("large.log");
  EXPECT_EQ(response.Header("Content-Length"), std::to_string(text.size()));
  EXPECT_TRUE(response.body == text);
}

// A running task appends while its log is being read. The response ends where
// the log ended at the start, and the connection can be used again.
TEST_F(HttpServerTest, CutsLogThatGrowsWhileServed) {
  const std::string before(8'000'000, 'a');  // more than the sockets' buffers hold
  folder_.Write("a.log", before);
  const RawClient connection(server_->port());
  connection.Write(LogRequest("a.log"));
  std::string reply = connection.Read("\r\n\r\n");
  std::ofstream(folder_.path() / "a.log", std::ios::app) << std::string(100'000, 'b');
  connection.Write("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  reply += connection.Read();
  EXPECT_NE(reply.find("Content-Length: 8000000\r\n"), std::string::npos);
  EXPECT_NE(reply.find("\r\n\r\n" + before + "HTTP/1.1 200 OK\r\n"), std::string::npos);
  EXPECT_EQ(reply.find('b', reply.find("\r\n\r\n")), std::string::npos);
}

// Better a visibly broken response than one filled up with something.
TEST_F(HttpServerTest, HangsUpWhenLogShrinksWhileServed) {
  folder_.Write("a.log", std::string(8'000'000, 'a'));
  const RawClient connection(server_->port());
  connection.Write(LogRequest("a.log"));
  std::string reply = connection.Read("\r\n\r\n");
  std::filesystem::resize_file(folder_.path() / "a.log", 10);
  reply += connection.Read();
  EXPECT_LT(reply.size(), 8'000'000U);
}

TEST_F(HttpServerTest, AnswersHeadWithoutBody) {
  folder_.Write("a.log", "one\ntwo\n");
  const auto log = Raw("HEAD /log/a.log HTTP/1.1", Authorization("a.log"));
  EXPECT_TRUE(log.starts_with("HTTP/1.1 200 OK\r\n")) << log;
  EXPECT_NE(log.find("Content-Length: 8\r\n"), std::string::npos) << log;
  EXPECT_TRUE(log.ends_with("\r\n\r\n")) << log;
  const auto metrics = Raw("HEAD /metrics HTTP/1.1");
  EXPECT_NE(metrics.find("Content-Length: 5\r\n"), std::string::npos) << metrics;
  EXPECT_TRUE(metrics.ends_with("\r\n\r\n")) << metrics;
  EXPECT_TRUE(Raw("HEAD /log/a.log HTTP/1.1").starts_with("HTTP/1.1 403 "));
}

TEST_F(HttpServerTest, ExplainsRefusalToCallerAndOwner) {
  folder_.Write(kLog, "x");
  const auto response = Request("GET", std::string("/log/") + kLog,
                                LogToken{.filename = kLog, .secret = "other"}.Encode());
  EXPECT_EQ(response.status, 403);
  EXPECT_NE(response.body.find("secret_key"), std::string::npos);
  EXPECT_EQ(Request("GET", std::string("/log/") + kLog).status, 403);
  const std::lock_guard lock(mutex_);
  ASSERT_EQ(refused_.size(), 2U);
  EXPECT_TRUE(refused_[0].starts_with("403 the token's signature")) << refused_[0];
  EXPECT_EQ(refused_[1], "403 the Authorization header is missing");
}

TEST_F(HttpServerTest, RefusesPathsThatLeaveTheFolder) {
  for (const char* path : {"../x.log", "%2e%2e/x.log", "a/..%2f..%2fx.log"}) {
    const auto reply =
        Raw(std::string("GET /log/") + path + " HTTP/1.1", Authorization("../x.log"));
    EXPECT_TRUE(reply.starts_with("HTTP/1.1 400 ")) << path << ": " << reply;
  }
}

TEST_F(HttpServerTest, ReportsMissingLogAs404) { EXPECT_EQ(GetLog("missing.log").status, 404); }

TEST_F(HttpServerTest, ServesMetrics) {
  const auto response = Request("GET", "/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.Header("Content-Type"), "text/plain; version=0.0.4");
  EXPECT_EQ(response.body, "up 1\n");
}

TEST_F(HttpServerTest, ReportsHealth) {
  EXPECT_EQ(Request("GET", "/health/live").status, 200);
  EXPECT_EQ(Request("GET", "/health/ready").status, 200);
  ready_ = false;
  const auto response = Request("GET", "/health/ready");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.Header("Content-Type"), "application/json");
  EXPECT_EQ(response.body, R"({"zookeeper":"connecting"})");
  EXPECT_EQ(Request("GET", "/health/live").status, 200);
}

TEST_F(HttpServerTest, RefusesOtherPathsAndMethods) {
  for (const char* path : {"/", "/log", "/health", "/metrics/x", "/nothing"}) {
    EXPECT_EQ(Request("GET", path).status, 404) << path;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
    const auto response = Request(method, "/metrics");
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_EQ(response.Header("Allow"), "GET, HEAD") << method;
  }
}

TEST_F(HttpServerTest, SurvivesNonsense) {
  EXPECT_EQ(RawAnswer(Raw("GET")).status, 400);
  EXPECT_EQ(RawAnswer(Raw("\x16\x03\x01")).status, 400);
  EXPECT_EQ(RawAnswer(Raw("GET /%zz HTTP/1.1")).status, 404);
  EXPECT_EQ(RawAnswer(Raw("GET /\xff HTTP/1.1")).status, 404);
  EXPECT_EQ(Request("GET", "/health/live").status, 200);
}

TEST_F(HttpServerTest, AnswersManyClientsAtOnce) {
  const std::string text(200'000, 'a');
  folder_.Write("a.log", text);
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int n = 0; n < 5; ++n) {
        if (Raw("GET /log/a.log HTTP/1.1", Authorization("a.log")).ends_with("\n" + text)) ++good;
        if (Raw("GET /metrics HTTP/1.1").ends_with("\nup 1\n")) ++good;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(good, 80);
}

TEST_F(HttpServerTest, NamesPortThatIsTaken) {
  const auto second =
      HttpServer::Open({.host = "127.0.0.1", .port = server_->port()}, logs_, handlers_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInvalid);
  EXPECT_NE(second.error().message.find("port " + std::to_string(server_->port()) + " is taken"),
            std::string::npos)
      << second.error().message;
  EXPECT_EQ(Request("GET", "/metrics").status, 200);
}

TEST_F(HttpServerTest, RejectsImpossibleAddress) {
  for (const HttpServer::Options& options :
       {HttpServer::Options{"no.such.host.invalid", 0}, HttpServer::Options{"192.0.2.1", 0},
        HttpServer::Options{"127.0.0.1", 65536}}) {
    const auto opened = HttpServer::Open(options, logs_, handlers_);
    ASSERT_FALSE(opened) << options.host;
    EXPECT_EQ(opened.error().code, ErrorCode::kInvalid) << options.host;
  }
}

TEST_F(HttpServerTest, FreesPortWhenClosed) {
  const int port = server_->port();
  const RawClient idle(port);
  const RawClient kept_alive(port);
  kept_alive.Write("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n");
  kept_alive.Read("}");
  server_->Close();
  server_->Close();
  EXPECT_EQ(kept_alive.Read(), "");
  auto again = HttpServer::Open({.host = "127.0.0.1", .port = port}, logs_, handlers_);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ((*again)->port(), port);
  server_ = std::move(*again);
  EXPECT_EQ(Request("GET", "/health/live").status, 200);
}

// A client that reads slowly must not keep the worker from exiting.
TEST_F(HttpServerTest, ClosesWhileLogIsBeingServed) {
  folder_.Write("a.log", std::string(8'000'000, 'a'));
  const RawClient connection(server_->port());
  connection.Write(LogRequest("a.log"));
  connection.Read("\r\n\r\n");
  server_->Close();
}

}  // namespace
}  // namespace zkexec
