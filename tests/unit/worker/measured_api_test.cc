// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/measured_api.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_execution_api.h"

namespace zkexec {
namespace {

TEST(MeasuredApiTest, TellsKindStatusAndTimeAndHandsTheAnswerOn) {
  FakeExecutionApi api;
  FakeClock clock;
  std::vector<std::string> told;
  MeasuredApi measured(api, clock, [&](const char* kind, const char* status, double seconds) {
    told.push_back(std::string(kind) + " " + status + " " + std::to_string(seconds).substr(0, 3));
  });
  const auto ask = [&](const std::string& path, int status) {
    int answered = -1;
    measured.Send({"GET", path, "", {}}, "token",
                  [&](const ApiAnswer& answer) { answered = answer.status; });
    clock.Advance(Duration{1500});
    api.Answer(status);
    EXPECT_EQ(answered, status);
  };
  ask("task-instances/1/run", 200);
  ask("task-instances/1/heartbeat", 409);
  ask("task-instances/1/state", 503);
  ask("task-instances/states", 307);
  ask("dag-runs/d/r/state", 0);
  EXPECT_EQ(told, (std::vector<std::string>{"run 2xx 1.5", "heartbeat 4xx 1.5", "state 5xx 1.5",
                                            "other 3xx 1.5", "other none 1.5"}));
  EXPECT_EQ(api.tokens.front(), "token");
}

}  // namespace
}  // namespace zkexec
