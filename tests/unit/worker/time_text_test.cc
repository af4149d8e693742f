// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/time_text.h"

#include <gtest/gtest.h>

namespace zkexec {
namespace {

// Each as Airflow's msgspec has it.
TEST(TimeTextTest, AMomentIsToldFromWhatIsNone) {
  for (const auto* text :
       {"2026-01-02T03:04:05Z", "2026-01-02t03:04:05z", "2026-01-02 03:04:05",
        "2026-01-02T03:04:05+0100", "2026-01-02T03:04:05.1234567890Z", "2026-01-02T03:04:05-23:59",
        "2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z"})
    EXPECT_TRUE(IsMoment(text)) << text;
  for (const auto* text : {"",
                           "t",
                           "1697190085",
                           "2026-01-02",
                           "2026-01-02T03:04Z",
                           "2026-01-02T03:04:05+01",
                           "2026-01-02T03:04:60Z",
                           "2026-02-30T03:04:05Z",
                           "2026-02-29T03:04:05Z",
                           "1900-02-29T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-01-00T00:00:00Z",
                           "2026-01-02T03:04:05.Z",
                           "2026-01-02T03:04:05+24:00",
                           "0000-01-02T03:04:05Z",
                           "2026-01-02T24:00:00Z",
                           "2026-01-02T03:04:05Zx",
                           "2026-01-02T03:04:05x",
                           "2026-01-02T03:04:05+01:60"})
    EXPECT_FALSE(IsMoment(text)) << text;
}

}  // namespace
}  // namespace zkexec
