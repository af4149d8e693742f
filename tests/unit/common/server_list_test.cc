// SPDX-License-Identifier: Apache-2.0
#include "common/server_list.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace zkexec {
namespace {

nlohmann::json Cases() {
  std::ifstream file(ZKEXEC_TEST_DATA "/server_lists.json");
  return nlohmann::json::parse(file);
}

// The table that zk_executor/servers.py is tested with, too.
TEST(ServerListTest, ReadsEveryCaseOfTheTableAsItSays) {
  int read = 0;
  int refused = 0;
  for (const auto& one : Cases()) {
    SCOPED_TRACE(one.at("about").get<std::string>());
    const auto list = ServerList::Parse(one.at("text"));
    if (one.contains("error")) {
      ++refused;
      ASSERT_FALSE(list) << list->ToString();
      EXPECT_EQ(list.error().code, ErrorCode::kInvalid);
      EXPECT_EQ(list.error().message, one.at("error").get<std::string>());
    } else {
      ++read;
      ASSERT_TRUE(list) << list.error().message;
      EXPECT_EQ(list->ToString(), one.at("servers").get<std::string>());
      EXPECT_EQ(list->ForClient(), one.at("for_client").get<std::string>());
    }
  }
  EXPECT_GT(read, 10);
  EXPECT_GT(refused, 10);
}

// Each process hands the list on to the next in this form.
TEST(ServerListTest, ReadsWhatItWrites) {
  for (const auto& one : Cases()) {
    if (one.contains("error")) continue;
    const auto list = ServerList::Parse(one.at("servers"));
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_EQ(list->ToString(), one.at("servers").get<std::string>());
  }
}

// An embedded NUL would end the client's list there.
TEST(ServerListTest, RefusesANulCharacter) {
  EXPECT_FALSE(ServerList::Parse(std::string("zk1\0:2181", 9)));
  EXPECT_FALSE(ServerList::Parse(std::string("[::1\0]:2181", 11)));
}

}  // namespace
}  // namespace zkexec
