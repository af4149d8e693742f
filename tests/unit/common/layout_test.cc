// SPDX-License-Identifier: Apache-2.0
#include "common/layout.h"

#include <gtest/gtest.h>

namespace zkexec {
namespace {

TEST(LayoutTest, RefusesRootsThatAreNoPaths) {
  for (const std::string root : {"", "/", "zk", "/zk/", "/a//b"}) {
    EXPECT_FALSE(Layout::Make(root, "default")) << root;
  }
  EXPECT_TRUE(Layout::Make("/zk-executor", "default"));
  EXPECT_FALSE(Layout::Make("/zk-executor", ""));
}

TEST(LayoutTest, NamesThatPeopleChooseStayOnePathComponent) {
  const auto layout = *Layout::Make("/zk", "team a");
  EXPECT_EQ(layout.Partition("a/b", 3), "/zk/team%20a/queues/a%2fb/3");
  for (const std::string name : {"a/b", "..", ".", "ü", "plain", "100%", "%zz"}) {
    EXPECT_EQ(DecodeComponent(EncodeComponent(name)), name);
    EXPECT_EQ(EncodeComponent(name).find('/'), std::string::npos);
  }
  EXPECT_NE(EncodeComponent(".."), "..");
}

TEST(EntryNameTest, SortsByPriorityThenByAge) {
  const auto name = [](int priority, std::int64_t time) {
    return EntryName{priority, time, "d"}.Encode();
  };
  EXPECT_LT(name(10, 500), name(1, 100));
  EXPECT_LT(name(1, 100), name(1, 101));
  EXPECT_LT(name(1, 100), name(0, 1));
  EXPECT_LT(name(0, 100), name(-5, 1));
  EXPECT_LT(name(2147483647, 1), name(2147483646, 0));
}

TEST(EntryNameTest, DecodesWhatItEncodes) {
  for (const int priority : {-2147483647, -1, 0, 1, 2147483647}) {
    const auto decoded = EntryName::Decode(EntryName{priority, 1800000000123, "ab-c"}.Encode());
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->priority, priority);
    EXPECT_EQ(decoded->enqueued_unix_ms, 1800000000123);
    EXPECT_EQ(decoded->dispatch, "ab-c");
  }
}

TEST(EntryNameTest, RefusesWhatOthersWrote) {
  for (const std::string name : {"", "x", "00000000-000000000000-", "zzzzzzzz-000000000000-d",
                                 "00000000-000000000000-a/b", "lock-0000000001"}) {
    EXPECT_FALSE(EntryName::Decode(name)) << name;
  }
}

TEST(ResultNameTest, SplitsDispatchAndOutcome) {
  const auto result = ResultName::Decode("ab-1=failed");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->dispatch, "ab-1");
  EXPECT_EQ(result->outcome, "failed");
  EXPECT_FALSE(ResultName::Decode("ab-1"));
  EXPECT_FALSE(ResultName::Decode("ab-1="));
  EXPECT_FALSE(ResultName::Decode("=failed"));
}

}  // namespace
}  // namespace zkexec
