// SPDX-License-Identifier: Apache-2.0
#include "common/repeated_log.h"

#include <gtest/gtest.h>

namespace zkexec {
namespace {

constexpr Duration kMinute{60000};
constexpr Duration kSecond{1000};
const std::string kRefused =
    "2026-01-01 10:00:00,123:42(0x7f):ZOO_ERROR@handle_socket_error_msg@2485: Socket [127.0.0.1:1] "
    "zk retcode=-4, errno=111(Connection refused): server refused to accept the client";
const std::string kRefusedLater =
    "2026-01-01 10:00:01,456:42(0x7f):ZOO_ERROR@handle_socket_error_msg@2485: Socket [127.0.0.2:1] "
    "zk retcode=-4, errno=111(Connection refused): server refused to accept the client";
const std::string kOther =
    "2026-01-01 10:00:00,123:42(0x7f):ZOO_ERROR@check_events@2703: timed out";

TEST(RepeatedLogTest, LeavesOutWhatComesAgainWithinTheInterval) {
  RepeatedLog log(kMinute);
  TimePoint now{};
  EXPECT_EQ(log.Admit(kRefused, now), kRefused);
  EXPECT_EQ(log.Admit(kRefusedLater, now + kSecond), std::nullopt);
  EXPECT_EQ(log.Admit(kRefusedLater, now + kMinute - Duration{1}), std::nullopt);
}

TEST(RepeatedLogTest, SaysHowManyWereLeftOutWhenItTellsTheKindAgain) {
  RepeatedLog log(kMinute);
  TimePoint now{};
  log.Admit(kRefused, now);
  log.Admit(kRefused, now);
  log.Admit(kRefusedLater, now);
  EXPECT_EQ(log.Admit(kRefusedLater, now + kMinute), kRefusedLater + " (2 like it were left out)");
  EXPECT_EQ(log.Admit(kRefused, now + 2 * kMinute), kRefused);
}

TEST(RepeatedLogTest, TellsEachKindByItself) {
  RepeatedLog log(kMinute);
  EXPECT_EQ(log.Admit(kRefused, {}), kRefused);
  EXPECT_EQ(log.Admit(kOther, {}), kOther);
  EXPECT_EQ(log.Admit("no place", {}), "no place");
  EXPECT_EQ(log.Admit("no other place", {}), "no other place");
  EXPECT_EQ(log.Admit("no place", {}), std::nullopt);
}

TEST(RepeatedLogTest, TellsEachOfAnyNumberOfKinds) {
  RepeatedLog log(kMinute);
  for (int i = 0; i < 10000; ++i) EXPECT_TRUE(log.Admit("message " + std::to_string(i), {}));
}

}  // namespace
}  // namespace zkexec
