// SPDX-License-Identifier: Apache-2.0
#include "common/event_loop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace zkexec {
namespace {

TEST(EventLoopTest, RunsWhatOtherThreadsPostedOnItsOwnThread) {
  EventLoop loop;
  std::thread::id ran_on;
  std::thread runner([&] { loop.Run(); });
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) {
      loop.Post([&] { ran_on = std::this_thread::get_id(); });
    }
    loop.Stop();
  });
  const auto runner_id = runner.get_id();
  poster.join();
  runner.join();
  EXPECT_TRUE(ran_on == runner_id || ran_on == std::thread::id());
}

TEST(EventLoopTest, PostBeforeRunIsNotLost) {
  EventLoop loop;
  bool ran = false;
  loop.Post([&] { ran = true; });
  loop.Turn(Duration{1000});
  EXPECT_TRUE(ran);
}

TEST(EventLoopTest, WorkMayPostMoreWork) {
  EventLoop loop;
  int count = 0;
  loop.Post([&] {
    ++count;
    loop.Post([&] {
      ++count;
      loop.Stop();
    });
  });
  loop.Run();
  EXPECT_EQ(count, 2);
}

}  // namespace
}  // namespace zkexec
