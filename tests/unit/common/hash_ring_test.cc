// SPDX-License-Identifier: Apache-2.0
#include "common/hash_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace zkexec {
namespace {

std::vector<HashRing::Node> Workers(int count) {
  std::vector<HashRing::Node> nodes;
  for (int i = 0; i < count; ++i) nodes.push_back({"worker-" + std::to_string(i), 16});
  return nodes;
}

// Producers and workers of different versions must agree: these are for ever.
TEST(HashRingTest, HashIsStableAcrossBuilds) {
  EXPECT_EQ(StableHash(""), 0xefd01f60ba992926ULL);
  EXPECT_EQ(StableHash("worker-0#0"), 0x20f07d3b8a2dd42ULL);
}

TEST(HashRingTest, OwnerIsTheSameWhateverTheOrderOfNodes) {
  auto nodes = Workers(5);
  const HashRing forward(nodes);
  std::reverse(nodes.begin(), nodes.end());
  const HashRing backward(nodes);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(forward.Owner(std::to_string(i)), backward.Owner(std::to_string(i)));
  }
}

TEST(HashRingTest, JoinMovesOnlyTheJoinersShare) {
  const HashRing eight(Workers(8));
  const HashRing nine(Workers(9));
  int moved = 0;
  for (int i = 0; i < 9000; ++i) {
    const auto key = std::to_string(i);
    if (eight.Owner(key) == nine.Owner(key)) continue;
    EXPECT_EQ(nine.Owner(key), "worker-8");
    ++moved;
  }
  EXPECT_NEAR(moved, 1000, 300);
}

TEST(HashRingTest, SharesFollowTheWeights) {
  const HashRing ring({{"small", 8}, {"large", 24}});
  std::map<std::string, int> count;
  for (int i = 0; i < 10000; ++i) ++count[ring.Owner(std::to_string(i))];
  EXPECT_NEAR(count["large"], 7500, 900);
}

// A weight is read from a znode that anybody may have written.
TEST(HashRingTest, AWeightOutOfBoundsCountsAsTheBound) {
  constexpr int kMost = HashRing::kWeightMax;
  const HashRing wild({{"wild", 2'147'483'647}, {"none", -5}, {"other", 16}});
  const HashRing bounded({{"wild", kMost}, {"none", 1}, {"other", 16}});
  RingOwners few({"0", "1", "2", "3"});
  few.Add({"wild", 1'000'000'000});
  few.Add({"other", 16});
  RingOwners same({"0", "1", "2", "3"});
  same.Add({"wild", kMost});
  same.Add({"other", 16});
  EXPECT_EQ(few.Owners(), same.Owners());
  for (int i = 0; i < 500; ++i) {
    EXPECT_EQ(wild.Owner(std::to_string(i)), bounded.Owner(std::to_string(i)));
  }
}

TEST(HashRingTest, PreferenceNamesEachNodeOnceOwnerFirst) {
  const HashRing ring(Workers(4));
  const auto all = ring.Preference("key", 10);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0], ring.Owner("key"));
  const std::set<std::string> different(all.begin(), all.end());
  EXPECT_EQ(different.size(), 4u);
}

TEST(RingOwnersTest, AnswersAreThoseOfTheRingWhoeverJoinsInWhateverOrder) {
  std::vector<std::string> keys;
  for (int i = 0; i < 300; ++i) keys.push_back("partition/default/" + std::to_string(i));
  std::vector<HashRing::Node> nodes;
  RingOwners owners(keys);
  EXPECT_TRUE(owners.empty());
  for (const int number : {7, 3, 11, 1, 200, 42}) {
    nodes.push_back({"worker-" + std::to_string(number), 1 + number % 40});
    owners.Add(nodes.back());
    const HashRing ring(nodes);
    const auto of = owners.Owners();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(owners.names()[of[i]], ring.Owner(keys[i]));
    }
  }
}

TEST(RingOwnersTest, OneKeyBelongsToSomebodyThoughTheOnlyPointsLieFarAway) {
  RingOwners owners({"key"});
  owners.Add({"small", 0});
  EXPECT_EQ(owners.Owners(), std::vector<std::uint32_t>{0});
}

TEST(HashRingTest, EmptyRingPrefersNobody) {
  EXPECT_TRUE(HashRing().empty());
  EXPECT_TRUE(HashRing().Preference("key", 3).empty());
}

}  // namespace
}  // namespace zkexec
