// SPDX-License-Identifier: Apache-2.0
// What one client, or many, can take from the others: little, and not for long.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "tests/unit/worker/http/http_server_fixture.h"

namespace zkexec {
namespace {

using std::chrono::milliseconds;
using Steady = std::chrono::steady_clock;

constexpr char kBegun[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n";
constexpr std::size_t kLargeBytes = 20'000'000;  // more than the sockets of both sides hold
// For deadlines that must pass, but not while a loaded machine keeps the test from writing.
constexpr milliseconds kShort{1000};
constexpr int kSmallBuffer = 4096;
// What may lie in the kernel's buffers of both sides if the client's is small.
constexpr std::size_t kHeldBytesMax = 300'000;

// Changes the soft limit of descriptors until it is destroyed.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t soft) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now{std::min(soft, before_.rlim_max), before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

// Leaves this process no free descriptor until it is destroyed.
class NoDescriptors {
 public:
  NoDescriptors() : limit_(256) {
    for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY))
      taken_.push_back(fd);
  }
  ~NoDescriptors() {
    for (const int fd : taken_) close(fd);
  }

 private:
  DescriptorLimit limit_;
  std::list<int> taken_;
};

class HttpLimitsTest : public HttpServerFixture {
 protected:
  void RestartWith(std::size_t connections_max, milliseconds request = milliseconds(30000),
                   milliseconds progress = milliseconds(30000)) {
    options_.connections_max = connections_max;
    options_.request_timeout = request;
    options_.progress_timeout = progress;
    Restart();
  }
};

TEST_F(HttpLimitsTest, AnswersWhileThousandsOfConnectionsAreIdle) {
  const DescriptorLimit raised(8192);
  std::list<RawClient> idle;
  for (int i = 0; i < 2000; ++i) {
    idle.emplace_back(server_->port());
    if (i % 3 == 0) idle.back().Write(kBegun);
    if (i % 500 == 499) ExpectHealthy();
  }
  folder_.Write("a.log", std::string(1'000'000, 'a'));
  EXPECT_EQ(GetLog("a.log").body.size(), 1'000'000U);
  EXPECT_TRUE(idle.front().IsHungUp());
}

TEST_F(HttpLimitsTest, ClosesConnectionThatWasIdleLongestToMakeRoom) {
  RestartWith(2);
  const RawClient first(server_->port());
  const RawClient second(server_->port());
  for (const auto* client : {&first, &second, &first}) {
    client->Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    client->Read("up 1\n");
  }
  ExpectHealthy();
  EXPECT_TRUE(second.IsHungUp());
  EXPECT_TRUE(WasDropped("idle"));
}

TEST_F(HttpLimitsTest, RefusesConnectionWhenAllOthersAreBusy) {
  RestartWith(2);
  folder_.Write("a.log", std::string(kLargeBytes, 'a'));
  const RawClient first(server_->port(), AF_INET, kSmallBuffer);
  const RawClient second(server_->port(), AF_INET, kSmallBuffer);
  for (const auto* client : {&first, &second}) {
    client->Write(LogRequest("a.log"));
    client->Read("\r\n\r\n");
  }
  EXPECT_EQ(RawAnswer(RawClient(server_->port()).Read()).status, 503);
  EXPECT_TRUE(WasDropped("full"));
}

TEST_F(HttpLimitsTest, EndsRequestThatIsWrittenTooSlowly) {
  RestartWith(256, kShort);
  const RawClient client(server_->port());
  client.Write(kBegun);
  EXPECT_EQ(RawAnswer(client.Read()).status, 408);
  EXPECT_TRUE(WasDropped("slow"));
}

// Each byte comes in time; the deadline is for the whole head.
TEST_F(HttpLimitsTest, EndsRequestThatNeverComesToItsEnd) {
  RestartWith(256, kShort);
  const RawClient client(server_->port());
  client.Write(kBegun);
  pollfd answered{client.fd(), POLLIN, 0};
  const auto latest = Steady::now() + std::chrono::seconds(20);
  while (poll(&answered, 1, 10) == 0 && Steady::now() < latest) client.Write("a");
  EXPECT_EQ(RawAnswer(client.Read()).status, 408);
}

TEST_F(HttpLimitsTest, ClosesIdleConnectionsWithoutWord) {
  RestartWith(256, milliseconds(100));
  const RawClient fresh(server_->port());
  const RawClient kept(server_->port());
  kept.Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  kept.Read("up 1\n");
  EXPECT_EQ(fresh.Read() + kept.Read(), "");
  EXPECT_FALSE(WasDropped("slow"));
}

TEST_F(HttpLimitsTest, EndsAnswerThatNobodyReads) {
  RestartWith(256, milliseconds(30000), milliseconds(200));
  folder_.Write("a.log", std::string(kLargeBytes, 'a'));
  const RawClient client(server_->port(), AF_INET, kSmallBuffer);
  client.Write(LogRequest("a.log"));
  AwaitDropped("slow", 1);
  EXPECT_LT(client.Read().size(), kLargeBytes);
}

// The kernel must not take the whole of it off the server's hands: what it holds for a client is
// memory of the machine, and the client decides how long. It still comes after the server hung up.
TEST_F(HttpLimitsTest, LeavesLittleInTheKernelOfAnAnswerThatNobodyReads) {
  RestartWith(256, milliseconds(30000), kShort);
  folder_.Write("a.log", std::string(kLargeBytes, 'a'));
  const RawClient client(server_->port(), AF_INET, kSmallBuffer);
  client.Write(LogRequest("a.log"));
  AwaitDropped("slow", 1);
  const auto held = client.Read().size();
  EXPECT_GT(held, 0U);
  EXPECT_LT(held, kHeldBytesMax);
}

// As many small answers to requests that came at once.
TEST_F(HttpLimitsTest, LeavesFewAnswersInTheKernelThatNobodyReads) {
  constexpr std::size_t kPageBytes = 20'000;
  handlers_.metrics_text = [] { return std::string(kPageBytes, 'm'); };
  RestartWith(256, milliseconds(30000), kShort);
  const RawClient client(server_->port(), AF_INET, kSmallBuffer);
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  client.Write(requests);
  AwaitDropped("slow", 1);
  const std::lock_guard lock(mutex_);
  EXPECT_GT(answered_.size(), 1U);
  EXPECT_LT(answered_.size() * kPageBytes, kHeldBytesMax);
}

// Requests without end whose answers are not read: the server stops reading, and then hangs up.
TEST_F(HttpLimitsTest, EndsClientThatOnlyWrites) {
  RestartWith(256, milliseconds(30000), milliseconds(200));
  const RawClient client(server_->port(), AF_INET, kSmallBuffer);
  std::string requests;
  for (int i = 0; i < 1000; ++i) requests += "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
  while (client.Write(requests)) {
  }
  EXPECT_TRUE(WasDropped("slow"));
  ExpectHealthy();
}

TEST_F(HttpLimitsTest, ServesOthersWhileLogsAreNotRead) {
  folder_.Write("a.log", std::string(kLargeBytes, 'a'));
  std::list<RawClient> stuck;
  for (int i = 0; i < 12; ++i) {
    stuck.emplace_back(server_->port(), AF_INET, kSmallBuffer);
    stuck.back().Write(LogRequest("a.log"));
    stuck.back().Read("\r\n\r\n");
  }
  EXPECT_EQ(Request("GET", "/metrics").status, 200);
  EXPECT_EQ(GetLog("a.log").body.size(), kLargeBytes);
}

// A file system that hangs, seen from the server: whatever looks into a log does not come back.
class HangingLogsTest : public HttpLimitsTest {
 protected:
  HangingLogsTest() {
    folder_.Write("a.log", "x");
    // It owns what it waits for, because it may outlive the server and the test.
    handlers_.epoch_s = [gate = gate_] {
      std::unique_lock lock(gate->mutex);
      ++gate->waiting;
      gate->changed.notify_all();
      gate->changed.wait(lock, [&] { return gate->open; });
      return kTestNow;
    };
  }
  ~HangingLogsTest() override { OpenGate(); }

  void OpenGate() const {
    const std::lock_guard lock(gate_->mutex);
    gate_->open = true;
    gate_->changed.notify_all();
  }
  void AwaitHanging(int wanted) const {
    std::unique_lock lock(gate_->mutex);
    EXPECT_TRUE(gate_->changed.wait_for(lock, std::chrono::seconds(20),
                                        [&] { return gate_->waiting >= wanted; }));
  }

  struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool open = false;  // guarded by mutex, as the next
    int waiting = 0;
  };
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
};

TEST_F(HangingLogsTest, ServesMetricsAndHealthAndLogsOnceTheyComeBack) {
  RestartWith(256);
  std::list<RawClient> waiting;
  for (int i = 0; i < 8; ++i) {
    waiting.emplace_back(server_->port());
    waiting.back().Write(LogRequest("a.log"));
  }
  AwaitHanging(4);
  EXPECT_EQ(Request("GET", "/metrics").status, 200);
  EXPECT_EQ(Request("GET", "/health/ready").status, 200);
  OpenGate();
  for (const auto& client : waiting)
    EXPECT_EQ(RawAnswer(client.Read("\r\n\r\nx")).Header("Content-Length"), "1");
}

TEST_F(HangingLogsTest, SaysThatLogsDoNotAnswer) {
  RestartWith(256, milliseconds(30000), kShort);
  std::list<RawClient> waiting;
  for (int i = 0; i < 6; ++i) {
    waiting.emplace_back(server_->port());
    waiting.back().Write(LogRequest("a.log"));
  }
  for (const auto& client : waiting) EXPECT_EQ(RawAnswer(client.Read()).status, 503);
  ExpectHealthy();
  OpenGate();
  EXPECT_EQ(GetLog("a.log").status, 200);
}

TEST_F(HangingLogsTest, ClosesAlthoughLogsHang) {
  RestartWith(256);
  const RawClient client(server_->port());
  client.Write(LogRequest("a.log"));
  AwaitHanging(1);
  server_->Close();
  EXPECT_EQ(client.Read(), "");
  server_.reset();
}

TEST_F(HttpLimitsTest, MakesDescriptorFreeWhenThereAreNone) {
  const RawClient idle(server_->port());
  idle.Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  idle.Read("up 1\n");
  std::unique_ptr<NoDescriptors> none;
  const int reserved = open("/dev/null", O_RDONLY);
  none = std::make_unique<NoDescriptors>();
  close(reserved);  // for the client's end; the server's has none
  const RawClient client(server_->port());
  client.Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(RawAnswer(client.Read("up 1\n")).status, 200);
  EXPECT_TRUE(idle.IsHungUp());
  EXPECT_TRUE(WasDropped("descriptors"));
}

TEST_F(HttpLimitsTest, WaitsForDescriptorsWithoutSpinning) {
  const int reserved = open("/dev/null", O_RDONLY);
  auto none = std::make_unique<NoDescriptors>();
  close(reserved);
  const RawClient client(server_->port());
  client.Write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  AwaitDropped("descriptors", 1);
  const auto first = Steady::now();
  AwaitDropped("descriptors", 4);
  EXPECT_GT(Steady::now() - first, milliseconds(150));
  none.reset();
  EXPECT_EQ(RawAnswer(client.Read("up 1\n")).status, 200);
  ExpectHealthy();
}

}  // namespace
}  // namespace zkexec
