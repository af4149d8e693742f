// SPDX-License-Identifier: Apache-2.0
#include "executor/router.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "common/strangers.h"
#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

constexpr int kPartitions = 64;

class RouterTest : public testing::Test {
 protected:
  void Join(const std::string& name, int slots, const std::string& state = "active") {
    proto::Worker worker;
    worker.set_slots(static_cast<std::uint32_t>(slots));
    worker.set_state(state);
    worker.add_queues("default");
    server_.Put(layout_.Worker(name), worker.SerializeAsString());
  }
  void Look() {
    server_.Put(layout_.Workers(), "");
    if (zk_.session() == 0) zk_.Connect();
    fleet_.Start(kPartitions);
    zk_.Settle();
    fleet_.Tick(clock_.Now());
    zk_.Settle();
  }
  std::string OwnerOf(int partition) const { return fleet_.Shares("default")->Owner(partition); }
  // Routes one more dispatch of this key; who looks after the partition that it goes to.
  std::string Place(const std::string& key, int slots = 1) {
    const auto id = "d" + std::to_string(placed_++);
    const int partition = router_.Choose("default", key, id, slots);
    router_.Add("default", partition, slots);
    return OwnerOf(partition);
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  FakeCoordinator zk_{server_, clock_};
  Strangers strangers_;
  Fleet fleet_{zk_, layout_, strangers_, {}, {100, {}}};
  Router router_{fleet_};
  int placed_ = 0;
};

// Who places by the same ring, from Python, must come to the router's own answers.
TEST_F(RouterTest, PreferredNodesAreThoseThatTheRouterTriesFirst) {
  std::vector<HashRing::Node> nodes;
  for (const auto* name : {"a", "b", "c", "d"}) {
    Join(name, 1000);
    nodes.push_back({name, 1000});
  }
  Look();
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) keys.push_back("key " + std::to_string(i));
  const auto preferred = PreferredNodes(nodes, keys, 2);
  ASSERT_EQ(preferred.size(), keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    ASSERT_EQ(preferred[i].size(), 2U);
    EXPECT_EQ(preferred[i].front(), Place(keys[i]));
    EXPECT_NE(preferred[i].front(), preferred[i].back());
  }
  EXPECT_EQ(PreferredNodes({}, {"key"}, 2), std::vector<std::vector<std::string>>{{}});
}

TEST_F(RouterTest, AKeyStaysWithOneWorkerWhileItHasRoom) {
  for (const auto* name : {"a", "b", "c", "d"}) Join(name, 10);
  Look();
  const auto first = Place("bundle||dag.py");
  for (int i = 1; i < 10; ++i) EXPECT_EQ(Place("bundle||dag.py"), first);
  EXPECT_NE(Place("bundle||dag.py"), first) << "its slots are taken";
}

TEST_F(RouterTest, AHotKeySpillsOverEvenly) {
  for (const auto* name : {"a", "b", "c", "d"}) Join(name, 10);
  Look();
  for (int i = 0; i < 160; ++i) Place("bundle||hot.py");
  for (const auto* name : {"a", "b", "c", "d"}) {
    EXPECT_LE(router_.LoadOf(name), 50 + 1) << name << " has more than 1.25 times the mean";
    EXPECT_GT(router_.LoadOf(name), 0) << name;
  }
}

TEST_F(RouterTest, LoadFollowsTheSlots) {
  Join("small", 4);
  Join("large", 36);
  Look();
  for (int i = 0; i < 40; ++i) Place("bundle||hot.py");
  EXPECT_EQ(router_.LoadOf("small"), 4);
  EXPECT_EQ(router_.LoadOf("large"), 36);
}

TEST_F(RouterTest, WorkersThatDrainGetNothing) {
  Join("a", 10);
  Join("b", 10, "draining");
  Look();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(Place("key" + std::to_string(i)), "a");
}

TEST_F(RouterTest, LoadGoesWithThePartitionsThatChangeHands) {
  Join("a", 100);
  Look();
  for (int i = 0; i < 60; ++i) Place("key" + std::to_string(i));
  ASSERT_EQ(router_.LoadOf("a"), 60);
  Join("b", 100);
  Look();
  EXPECT_EQ(router_.LoadOf("a") + router_.LoadOf("b"), 60);
  EXPECT_GT(router_.LoadOf("b"), 0);
}

TEST_F(RouterTest, WithoutWorkersDispatchesAreSpread) {
  Look();
  std::set<int> used;
  for (int i = 0; i < 200; ++i) {
    const int partition = router_.Choose("default", "key", "d" + std::to_string(i), 1);
    ASSERT_GE(partition, 0);
    ASSERT_LT(partition, kPartitions);
    used.insert(partition);
  }
  EXPECT_GT(used.size(), 40u);
}

TEST_F(RouterTest, ANodeThatIsNoWorkersIsCountedOnceAndHindersNobody) {
  Join("a", 10);
  server_.Put(layout_.Worker("stranger"), "\xff\xff not a worker");
  Look();
  fleet_.Refresh();
  zk_.Settle();
  EXPECT_EQ(strangers_.count(), 1u);
  EXPECT_EQ(Place("key"), "a");
}

}  // namespace
}  // namespace zkexec
