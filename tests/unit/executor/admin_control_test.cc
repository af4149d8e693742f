// SPDX-License-Identifier: Apache-2.0
#include "executor/admin_control.h"

#include <gtest/gtest.h>

namespace zkexec {
namespace {

TEST(KillTargetTest, ADispatchIsMeantByItsWholeId) {
  const KillTarget target{"d1", "", ""};
  EXPECT_TRUE(target.Matches("d1", "dag.task run 1 -1"));
  EXPECT_FALSE(target.Matches("d11", "dag.task run 1 -1"));
}

TEST(KillTargetTest, ATaskInstanceIsMeantByItsLabelWhateverTheTry) {
  const KillTarget target{"", "dag.task run ", " -1"};
  EXPECT_TRUE(target.Matches("d1", "dag.task run 1 -1"));
  EXPECT_TRUE(target.Matches("d1", "dag.task run 120 -1"));
  EXPECT_FALSE(target.Matches("d1", "dag.task run 1 0"));
  EXPECT_FALSE(target.Matches("d1", "dag.task run 1 1 -1"));
  EXPECT_FALSE(target.Matches("d1", "dag.task run  -1"));
  EXPECT_FALSE(target.Matches("d1", "dag.task run -1")) << "head and tail must not overlap";
  EXPECT_FALSE(target.Matches("d1", "dag.task runs 1 -1"));
  EXPECT_FALSE(target.Matches("d1", ""));
}

}  // namespace
}  // namespace zkexec
