// SPDX-License-Identifier: Apache-2.0
#include "executor/sweeper.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

constexpr Duration kAfter{3600000};

class SweeperTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const auto& dir :
         {layout_.Workers(), layout_.Schedulers(), layout_.Controls(), layout_.Results()}) {
      server_.Put(dir, "");
    }
    zk_.Connect();
    zk_.Settle();
  }
  // The minutes pass, a tick each.
  void Pass(int minutes) {
    for (int i = 0; i < minutes; ++i) {
      clock_.Advance(Duration{60000});
      sweeper_.Tick();
      zk_.Settle();
    }
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  FakeCoordinator zk_{server_, clock_};
  Sweeper sweeper_{kAfter, zk_, layout_, clock_};
};

TEST_F(SweeperTest, WhatADeadWorkerLeftGoesAfterAWhileWithItsCommands) {
  const auto control = layout_.Control("w1");
  server_.Put(control, "");
  server_.Put(layout_.KillNode("w1", "d1"), "");
  server_.Put(layout_.CommandPrefix("w1") + "0000000001", "");
  Pass(45);
  EXPECT_TRUE(server_.Has(control));
  Pass(45);
  EXPECT_FALSE(server_.Has(control));
  EXPECT_FALSE(server_.Has(layout_.Worker("w1")));
}

TEST_F(SweeperTest, WhatALiveWorkerNeedsStays) {
  server_.Put(layout_.Control("w1"), "");
  server_.Put(layout_.Worker("w1"), "");
  Pass(300);
  EXPECT_TRUE(server_.Has(layout_.Control("w1")));
  EXPECT_TRUE(server_.Has(layout_.Worker("w1")));
}

TEST_F(SweeperTest, AWorkerThatComesBackStartsTheTimeAnew) {
  server_.Put(layout_.Control("w1"), "");
  Pass(45);
  server_.Put(layout_.Worker("w1"), "");
  Pass(30);
  server_.Erase(layout_.Worker("w1"));
  Pass(45);
  EXPECT_TRUE(server_.Has(layout_.Control("w1")));
}

TEST_F(SweeperTest, AWorkerThatComesBackDuringTheSweepKeepsItsOwn) {
  int before_the_removal = 0;
  for (int answers = 0; answers < 12; ++answers) {
    const auto name = "w" + std::to_string(answers);
    const auto control = layout_.Control(name);
    server_.Put(control, "");
    Pass(60);
    clock_.Advance(Duration{60000});
    sweeper_.Tick();
    for (int i = 0; i < answers; ++i) zk_.Deliver();
    if (!server_.Has(control)) break;
    ++before_the_removal;
    server_.Put(layout_.Worker(name), "");
    zk_.Settle();
    EXPECT_TRUE(server_.Has(control)) << "after " << answers << " answers";
  }
  EXPECT_GE(before_the_removal, 4);
}

TEST_F(SweeperTest, ResultsOfADeadSchedulerStayUntilSomebodyHasTakenThem) {
  server_.Put(layout_.ResultDir("s1"), "");
  server_.Put(layout_.ResultDir("s1") + "/d1=success", "");
  Pass(300);
  EXPECT_TRUE(server_.Has(layout_.ResultDir("s1") + "/d1=success"));
  server_.Erase(layout_.ResultDir("s1") + "/d1=success");
  Pass(20);
  EXPECT_FALSE(server_.Has(layout_.ResultDir("s1")));
}

TEST_F(SweeperTest, WhatOthersWroteBelowAWorkersCommandsStays) {
  server_.Put(layout_.Control("w1"), "");
  server_.Put(layout_.Control("w1") + "/lock-0000000001", "");
  server_.Put(layout_.KillNode("w1", "d1"), "");
  Pass(300);
  EXPECT_TRUE(server_.Has(layout_.Control("w1") + "/lock-0000000001"));
  EXPECT_TRUE(server_.Has(layout_.KillNode("w1", "d1")));
}

}  // namespace
}  // namespace zkexec
