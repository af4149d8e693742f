// SPDX-License-Identifier: Apache-2.0
#include "worker/channel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "worker/fork_server.h"

namespace zkexec {
namespace {

class ChannelTest : public ::testing::Test {
 protected:
  ChannelTest() : other_(*channel_.OpenPair()) {}
  ~ChannelTest() override { close(other_); }

  void Say(const std::string& body) const { SayTo(other_, body); }
  static void SayTo(int socket, const std::string& body) {
    std::string bytes(3, '\0');
    bytes += static_cast<char>(body.size());
    bytes += body;
    ASSERT_EQ(send(socket, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }

  Channel channel_;
  int other_;
  nlohmann::json message_;
  std::vector<int> fds_;
};

TEST_F(ChannelTest, AMessageThatIsNoObjectIsPassedOver) {
  for (const char* body : {"[]", "null", "5", "{", "\"x\"", "{\"a\":\"\xff\"}"}) Say(body);
  Say(R"({"event":"x"})");
  ASSERT_TRUE(channel_.Receive());
  ASSERT_TRUE(channel_.Pop(&message_, &fds_));
  EXPECT_EQ(message_["event"], "x");
  EXPECT_FALSE(channel_.broken());
}

TEST_F(ChannelTest, AMessageWithAnOddCountOfDescriptorsEndsTheReading) {
  for (const char* count : {"null", "\"1\"", "[]", "-1", "1.5", "17", "1e300"}) {
    Channel channel;
    const int other = *channel.OpenPair();
    SayTo(other, std::string("{\"fds\":") + count + "}");
    SayTo(other, R"({"event":"x"})");
    ASSERT_TRUE(channel.Receive());
    EXPECT_FALSE(channel.Pop(&message_, &fds_)) << count;
    EXPECT_TRUE(channel.broken()) << count;
    close(other);
  }
}

class Told : public ForkServer::Listener {
 public:
  void OnSpawned(int child, pid_t, int pidfd) override {
    told.push_back("spawned " + std::to_string(child));
    close(pidfd);
  }
  void OnEnded(int child, const ProcessEnd& end) override {
    told.push_back("ended " + std::to_string(child) + " " + std::to_string(end.code));
  }
  void OnForkFailed(int child, const std::string& why) override {
    told.push_back("failed " + std::to_string(child) + " " + why);
  }
  void OnLost(ForkServer&) override {}
  std::vector<std::string> told;
};

TEST(ForkEventTest, AMessageWithOddFieldsIsReadAsFarAsItGoesAndItsDescriptorsAreClosed) {
  struct Case {
    const char* message;
    std::vector<std::string> told;
  };
  for (const auto& one : std::vector<Case>{
           {R"({"event":"spawned","child":1,"pid":5})", {"spawned 1"}},
           {R"({"event":"spawned","child":1,"pid":null})", {"failed 1 cannot fork"}},
           {R"({"event":"spawned","child":1,"pid":1e300})", {"failed 1 cannot fork"}},
           {R"({"event":"ended","child":1,"code":"x","peak_kb":[]})", {"ended 1 1"}},
           {R"({"event":"ended","child":1,"code":18446744073709551615})", {"ended 1 1"}},
           {R"({"event":"fork_failed","child":2,"message":{}})", {"failed 2 cannot fork"}},
           {R"({"event":null})", {}},
           {R"({"event":["ended"],"child":{}})", {}},
           {"{}", {}},
           {"[]", {}}}) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    Told told;
    TellForkEvent(nlohmann::json::parse(one.message), {ends[1]}, &told);
    EXPECT_EQ(told.told, one.told) << one.message;
    EXPECT_EQ(fcntl(ends[1], F_GETFD), -1) << one.message;
    close(ends[0]);
  }
}

}  // namespace
}  // namespace zkexec
