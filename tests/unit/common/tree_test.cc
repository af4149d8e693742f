// SPDX-License-Identifier: Apache-2.0
#include "common/tree.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

class TreeTest : public testing::Test {
 protected:
  void SetUp() override {
    zk_.Connect();
    EnsureTree(zk_, layout_, 4, [](Result<int> tree) { ASSERT_TRUE(tree); });
    zk_.Settle();
  }
  bool Ensure() {
    bool made = false;
    EnsureQueue(zk_, layout_, "default", 4, [&made](Status done) { made = bool(done); });
    zk_.Settle();
    return made;
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  FakeCoordinator zk_{server_, clock_};
};

TEST_F(TreeTest, AQueueIsMadeWithAllItsPartitions) {
  EXPECT_TRUE(Ensure());
  EXPECT_EQ(server_.Names(layout_.Queue("default")).size(), 4u);
  EXPECT_EQ(server_.Names(layout_.RunningQueue("default")).size(), 4u);
}

TEST_F(TreeTest, AQueueThatIsThereCostsNoWrite) {
  Ensure();
  const int before = zk_.multis();
  EXPECT_TRUE(Ensure());
  EXPECT_EQ(zk_.multis(), before);
}

TEST_F(TreeTest, OnlyWhatIsMissingOfAHalfMadeQueueIsMade) {
  Ensure();
  server_.Erase(layout_.RunningPartition("default", 2));
  server_.Put(layout_.Queue("default") + "/not-ours", "");
  const int before = zk_.multis();
  EXPECT_TRUE(Ensure());
  EXPECT_EQ(zk_.multis(), before + 1);
  EXPECT_TRUE(server_.Has(layout_.RunningPartition("default", 2)));
}

}  // namespace
}  // namespace zkexec
