// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/fakes/fake_clock.h"

namespace zkexec {
namespace {

// A measurement that takes 5 ms may come again after half a second, not with the next turn.
TEST(MeasuringPaceTest, TakesAHundredthOfTheTimeAtMost) {
  FakeClock clock;
  MeasuringPace pace(clock);
  int measured = 0;
  const auto measure = [&] {
    ++measured;
    clock.Advance(Duration{5});
  };
  pace.Try(measure);
  EXPECT_EQ(measured, 1);
  clock.Advance(Duration{499});
  pace.Try(measure);
  EXPECT_EQ(measured, 1);
  clock.Advance(Duration{1});
  pace.Try(measure);
  EXPECT_EQ(measured, 2);
}

TEST(MeasuringPaceTest, RestsAlsoAfterWhatTakesNoTime) {
  FakeClock clock;
  MeasuringPace pace(clock);
  int measured = 0;
  pace.Try([&] { ++measured; });
  pace.Try([&] { ++measured; });
  EXPECT_EQ(measured, 1);
}

TEST(ProportionalMemoryTest, IsThatOfTheProcess) {
  EXPECT_GT(ProportionalMemory(getpid()), 100'000);
  EXPECT_EQ(ProportionalMemory(0), 0);
}

}  // namespace
}  // namespace zkexec
