// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/run_fence.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "tests/fakes/fake_execution_api.h"

namespace zkexec {
namespace {

class RunFenceTest : public ::testing::Test {
 protected:
  std::vector<std::string> failures_;
  RunFence fence_{[this](const std::string& why) { failures_.push_back(why); }};
  FakeExecutionApi api_;
};

TEST_F(RunFenceTest, AnExceptionIsToldOnceAndNothingIsCalledAfterIt) {
  int calls = 0;
  fence_.Run([&] { ++calls; });
  EXPECT_FALSE(fence_.down());
  fence_.Run([] { throw std::runtime_error("broken"); });
  fence_.Run([&] { ++calls; });
  fence_.Run([] { throw std::runtime_error("again"); });
  EXPECT_TRUE(fence_.down());
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(failures_, std::vector<std::string>{"broken"});
}

TEST_F(RunFenceTest, WhatIsThrownNeedNotBeAnException) {
  fence_.Run([] { throw 5; });
  EXPECT_EQ(failures_.size(), 1u);
}

TEST_F(RunFenceTest, AnAnswerWhoseCallbackThrowsTakesTheFenceDown) {
  FencedApi fenced(api_, fence_);
  fenced.Send({}, "token", [](const ApiAnswer&) { throw std::runtime_error("broken"); });
  int answers = 0;
  fenced.Send({}, "token", [&](const ApiAnswer&) { ++answers; });
  api_.Answer(200);
  api_.Answer(200);
  EXPECT_EQ(failures_, std::vector<std::string>{"broken"});
  EXPECT_EQ(answers, 0);
}

TEST_F(RunFenceTest, AnAnswerAfterTheEndOfItsRunGoesNowhere) {
  int answers = 0;
  {
    FencedApi fenced(api_, fence_);
    fenced.Send({}, "token", [&](const ApiAnswer&) { ++answers; });
  }
  api_.Answer(200);
  EXPECT_EQ(answers, 0);
  EXPECT_TRUE(failures_.empty());
}

}  // namespace
}  // namespace zkexec
