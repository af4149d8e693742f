// SPDX-License-Identifier: Apache-2.0
// A real HTTP server on a free port, with a folder of logs, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/worker/http/log_token.h"
#include "tests/unit/worker/http/raw_client.h"
#include "tests/unit/worker/temp_folder.h"
#include "worker/http/http_server.h"

namespace zkexec {

class HttpServerFixture : public ::testing::Test {
 protected:
  explicit HttpServerFixture(HttpServer::Options options = {.host = "127.0.0.1"})
      : options_(std::move(options)) {
    Restart();
  }

  // With options_ and handlers_ as they are now.
  void Restart() {
    server_.reset();
    auto opened = HttpServer::Open(options_, logs_, handlers_);
    if (!opened) throw std::runtime_error(opened.error().message);
    server_ = std::move(*opened);
  }

  // What comes back for these bytes until the server hangs up.
  std::string Exchange(const std::string& bytes) const {
    const RawClient client(server_->port());
    client.Write(bytes);
    return client.Read();
  }
  // One request in plain text, the connection closed after it.
  std::string Raw(const std::string& request_line, const std::string& headers = "") const {
    return Exchange(request_line + "\r\nHost: x\r\nConnection: close\r\n" + headers + "\r\n");
  }
  RawAnswer Request(const std::string& method, const std::string& path,
                    const std::string& token = "") const {
    return RawAnswer(Raw(method + " " + path + " HTTP/1.1",
                         token.empty() ? "" : "Authorization: " + token + "\r\n"));
  }
  RawAnswer GetLog(const std::string& name) const {
    return Request("GET", "/log/" + name, LogToken{.filename = name}.Encode());
  }
  static std::string Authorization(const std::string& filename) {
    return "Authorization: " + LogToken{.filename = filename}.Encode() + "\r\n";
  }
  static std::string LogRequest(const std::string& name) {
    return "GET /log/" + name + " HTTP/1.1\r\nHost: x\r\n" + Authorization(name) + "\r\n";
  }
  // That it lives, on a connection of its own.
  void ExpectHealthy() const { EXPECT_EQ(Request("GET", "/health/live").status, 200); }

  // Waits until this many connections were dropped for this reason.
  void AwaitDropped(const std::string& reason, int wanted) {
    std::unique_lock lock(mutex_);
    const auto enough = [&] {
      return std::count(dropped_.begin(), dropped_.end(), reason) >= wanted;
    };
    EXPECT_TRUE(told_.wait_for(lock, std::chrono::seconds(20), enough))
        << reason << " of " << dropped_.size();
  }
  bool WasDropped(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    return std::count(dropped_.begin(), dropped_.end(), reason) > 0;
  }

  HttpServer::Options options_;
  TempFolder folder_;
  LogAccess logs_{folder_.path().string(), kTestSecret, kTestGrace};
  std::atomic<bool> ready_{true};
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<std::string> refused_;  // guarded by mutex_, as the next two
  std::vector<std::string> dropped_;
  std::vector<int> answered_;
  HttpServer::Handlers handlers_{
      .metrics_text = [] { return std::string("up 1\n"); },
      .live = [] { return HttpServer::Health{true, R"({"live":true})"}; },
      .ready = [this] { return HttpServer::Health{ready_, R"({"zookeeper":"connecting"})"}; },
      .log_refused =
          [this](int status, const std::string& reason) {
            const std::lock_guard lock(mutex_);
            refused_.push_back(std::to_string(status) + " " + reason);
          },
      .answered =
          [this](int status) {
            const std::lock_guard lock(mutex_);
            answered_.push_back(status);
          },
      .dropped =
          [this](const std::string& reason) {
            const std::lock_guard lock(mutex_);
            dropped_.push_back(reason);
            told_.notify_all();
          },
      .epoch_s = [] { return kTestNow; },
  };
  std::unique_ptr<HttpServer> server_;  // last, so that it ends first
};

}  // namespace zkexec
