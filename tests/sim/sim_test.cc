// SPDX-License-Identifier: Apache-2.0
// A few simulated worlds under the sanitizers, and the mutations that they must notice.
// Many more seeds: `make sim`.
#include <gtest/gtest.h>

#include "common/log.h"
#include "tests/sim/mutations.h"
#include "tests/sim/world.h"

namespace zkexec::sim {
namespace {

constexpr std::uint64_t kSeeds = 150;
constexpr std::uint64_t kSeedsOfAMutation = 10000;

class SimTest : public testing::Test {
 protected:
  void SetUp() override { SetUpLogging("off"); }
};

TEST_F(SimTest, KeepsEveryRuleUnderFaults) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    EXPECT_EQ(World(seed, {}).Run(), "") << "again: zkexec_sim --seed " << seed;
  }
}

TEST_F(SimTest, KeepsTheOrderWhenNothingBreaks) {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Plan plan;
    plan.calm = true;
    EXPECT_EQ(World(seed, plan).Run(), "") << "seed " << seed;
  }
}

TEST_F(SimTest, TheSameSeedGivesTheSameHistory) {
  World first(7, {});
  World second(7, {});
  EXPECT_EQ(first.Run(), second.Run());
  EXPECT_EQ(first.faults(), second.faults());
}

class MutationTest : public SimTest, public testing::WithParamInterface<NamedMutation> {};

TEST_P(MutationTest, IsNoticed) {
  for (std::uint64_t seed = 1; seed <= kSeedsOfAMutation; ++seed) {
    Plan plan;
    plan.calm = GetParam().calm;
    plan.mutator = GetParam().mutator.get();
    const auto violation = World(seed, plan).Run();
    if (violation.empty()) continue;
    RecordProperty("noticed", violation);
    return;
  }
  FAIL() << GetParam().name << " breaks " << GetParam().rule << ", and no seed shows it";
}

INSTANTIATE_TEST_SUITE_P(Rules, MutationTest, testing::ValuesIn(AllMutations()),
                         [](const auto& mutation) { return std::string(mutation.param.name); });

}  // namespace
}  // namespace zkexec::sim
