// SPDX-License-Identifier: Apache-2.0
#include "worker/settings.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace zkexec
