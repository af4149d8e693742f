// SPDX-License-Identifier: Apache-2.0
#include "common/fleet.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

constexpr int kPartitions = 64;

proto::Worker Serving(const std::string& queue, int slots, const std::string& state = "active") {
  proto::Worker worker;
  worker.set_slots(static_cast<std::uint32_t>(slots));
  worker.set_state(state);
  worker.add_queues(queue);
  return worker;
}

// A fleet of more than two is a large one.
class FleetTest : public testing::Test {
 protected:
  void SetUp() override { server_.Put(layout_.Workers(), ""); }
  void Join(const std::string& name, const proto::Worker& worker) {
    server_.Put(layout_.Worker(name), worker.SerializeAsString());
  }
  void Start() {
    zk_.Connect();
    fleet_.Start(kPartitions);
    zk_.Settle();
  }
  void Pass(Duration time) {
    for (Duration done{0}; done < time; done += Duration{100}) {
      clock_.Advance(Duration{100});
      fleet_.Tick(clock_.Now());
      zk_.Settle();
    }
    fleet_.Tick(clock_.Now());
  }
  int SlotsOf(const std::string& name) {
    return static_cast<int>(fleet_.workers().at(name).slots());
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  FakeCoordinator zk_{server_, clock_};
  Strangers strangers_;
  std::vector<std::string> left_;
  Fleet fleet_{zk_,
               layout_,
               strangers_,
               [this](const std::string& worker) { left_.push_back(worker); },
               {2, [] { return Serving("default", 16); }}};
};

TEST_F(FleetTest, SmallFleetIsReadBeforeItIsKnown) {
  Join("a", Serving("default", 3));
  Join("b", Serving("other", 5));
  Start();
  fleet_.Tick(clock_.Now());
  EXPECT_TRUE(fleet_.known());
  EXPECT_EQ(fleet_.live_slots(), 8);
  EXPECT_EQ(fleet_.Shares("default")->workers(), 1);
  EXPECT_EQ(fleet_.Shares("other")->Owner(0), "b");
  EXPECT_EQ(fleet_.Shares("nobody's"), nullptr);
}

TEST_F(FleetTest, LargeFleetIsGuessedAtOnceAndReadLittleByLittle) {
  for (const auto* name : {"a", "b", "c", "d"}) Join(name, Serving("default", 16));
  Join("e", Serving("other", 7));
  Start();
  EXPECT_TRUE(fleet_.known());
  EXPECT_EQ(fleet_.Shares("default")->workers(), 5);
  const auto guessed = fleet_.generation();
  Pass(Duration{900});
  EXPECT_EQ(fleet_.generation(), guessed) << "the guess was right so far";
  EXPECT_EQ(SlotsOf("e"), 16);
  Pass(Duration{2000});
  EXPECT_EQ(SlotsOf("e"), 7);
  EXPECT_EQ(fleet_.Shares("default")->workers(), 4);
  EXPECT_EQ(fleet_.live_slots(), 4 * 16 + 7);
}

TEST_F(FleetTest, SharesAfterJoinsAreThoseOfAFleetThatIsReadAnew) {
  for (int i = 0; i < 5; ++i) Join("w" + std::to_string(i), Serving("default", 16));
  Start();
  ASSERT_NE(fleet_.Shares("default"), nullptr);
  for (int i = 5; i < 20; ++i) Join("w" + std::to_string(i), Serving("default", 16));
  fleet_.OnChanged(layout_.Workers());
  Pass(Duration{1000});
  QueueShares anew("default", kPartitions);
  for (int i = 19; i >= 0; --i) anew.Add("w" + std::to_string(i), 16);
  const auto* shares = fleet_.Shares("default");
  ASSERT_EQ(shares->workers(), 20);
  for (int i = 0; i < kPartitions; ++i) EXPECT_EQ(shares->Owner(i), anew.Owner(i));
}

TEST_F(FleetTest, WhoLeavesOwnsNothingAnyMore) {
  for (const auto* name : {"a", "b", "c", "d"}) Join(name, Serving("default", 16));
  Start();
  ASSERT_EQ(fleet_.Shares("default")->workers(), 4);
  server_.Erase(layout_.Worker("b"));
  fleet_.OnChanged(layout_.Workers());
  Pass(Duration{1000});
  EXPECT_EQ(left_, std::vector<std::string>{"b"});
  EXPECT_EQ(fleet_.Shares("default")->workers(), 3);
  EXPECT_EQ(fleet_.Shares("default")->Owned("b"), nullptr);
}

TEST_F(FleetTest, DrainingWorkerOfASmallFleetLosesItsShare) {
  Join("a", Serving("default", 16));
  Join("b", Serving("default", 16));
  Start();
  fleet_.Tick(clock_.Now());
  ASSERT_EQ(fleet_.Shares("default")->workers(), 2);
  Join("b", Serving("default", 16, "draining"));
  fleet_.OnChanged(layout_.Worker("b"));
  zk_.Settle();
  fleet_.Tick(clock_.Now());
  EXPECT_EQ(fleet_.Shares("default")->workers(), 1);
  EXPECT_EQ(fleet_.live_slots(), 16);
}

}  // namespace
}  // namespace zkexec
