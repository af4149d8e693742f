// SPDX-License-Identifier: Apache-2.0
#include "worker/settings.h"

#include <gtest/gtest.h>

#include <limits>

namespace zkexec {
namespace {

nlohmann::json Handshake() {
  return {{"hosts", "zk1:2181"},
          {"root", "/zk-executor"},
          {"digest_auth", ""},
          {"secret", "an encryption key"},
          {"session_timeout_ms", 15000},
          {"partitions", 4},
          {"slots", 16},
          {"slots_max", 64},
          {"queues", {"default"}},
          {"hostname", "host"},
          {"http_host", "0.0.0.0"},
          {"http_port", 8793},
          {"drain_timeout_ms", 1000},
          {"kill_grace_ms", 1000},
          {"relist_interval_ms", 1000},
          {"journal_dir", "/tmp/journal"},
          {"log_level", "info"},
          {"api_secret_key", ""},
          {"base_log_folder", "/tmp"},
          {"log_clock_grace_s", 30},
          {"airflow_version", "3.3.2"}};
}

TEST(SettingsTest, TakesServersFromTheFlagAndGivesThemTheirPort) {
  Flags flags;
  flags.hosts = " localhost , [::1]:2182,localhost:2181 ";
  const auto settings = Settings::Make(Handshake(), flags);
  ASSERT_TRUE(settings) << settings.error().message;
  EXPECT_EQ(settings->hosts, "localhost:2181,[::1]:2182");
}

TEST(SettingsTest, RefusesServersThatTheClientCouldNotUseAndNamesOptionValueAndReason) {
  for (const std::string hosts : {"", " ", "zk1:0", "zk1:2181/chroot", "::1:2181", "zk1 zk2"}) {
    Flags flags;
    flags.hosts = hosts;
    const auto settings = Settings::Make(Handshake(), flags);
    ASSERT_FALSE(settings) << hosts;
    EXPECT_EQ(settings.error().code, ErrorCode::kInvalid);
    const auto& message = settings.error().message;
    EXPECT_EQ(message.find("--hosts / [zk_executor] hosts: '" + hosts + "' is invalid: "), 0u)
        << message;
  }
}

TEST(SettingsTest, TakesSlotsUpToTheBoundThatThePythonSideNames) {
  for (const int slots : {1, 64}) {
    Flags flags;
    flags.slots = slots;
    const auto settings = Settings::Make(Handshake(), flags);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(settings->slots, slots);
  }
  for (const int slots : {-1, 0, 65}) {
    Flags flags;
    flags.slots = slots;
    const auto settings = Settings::Make(Handshake(), flags);
    ASSERT_FALSE(settings) << slots;
    EXPECT_EQ(
        settings.error().message,
        "--slots / [zk_executor] worker_slots: must be 1 to 64, it is " + std::to_string(slots));
  }
}

TEST(SettingsTest, TakesTimesInTheRangeOfTheOptionsAndRefusesWhatIsNoNumber) {
  const double day = 24 * 3600;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double seconds : {0.0, 0.5, day}) {
    Flags flags;
    flags.drain_timeout_s = seconds;
    flags.kill_grace_s = seconds;
    const auto settings = Settings::Make(Handshake(), flags);
    ASSERT_TRUE(settings) << settings.error().message;
    EXPECT_EQ(settings->drain_timeout.count(), seconds * 1000);
    EXPECT_EQ(settings->kill_grace.count(), seconds * 1000);
  }
  for (const double seconds : {-0.5, nan, infinity, 1e300, 31 * day}) {
    Flags drain;
    drain.drain_timeout_s = seconds;
    const auto refused = Settings::Make(Handshake(), drain);
    ASSERT_FALSE(refused) << seconds;
    EXPECT_EQ(refused.error().message,
              "--drain-timeout / [zk_executor] drain_timeout: must be 0 to 2592000 seconds");
    Flags grace;
    grace.kill_grace_s = seconds;
    EXPECT_FALSE(Settings::Make(Handshake(), grace)) << seconds;
  }
}

}  // namespace
}  // namespace zkexec
