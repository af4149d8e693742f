// SPDX-License-Identifier: Apache-2.0
#include "worker/http/file_threads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <vector>

namespace zkexec {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience{20};

// One thread, and a job that keeps it until Release().
class FileThreadsTest : public ::testing::Test {
 protected:
  ~FileThreadsTest() override { Release(); }

  void Occupy() {
    auto running = std::make_shared<std::promise<void>>();
    ASSERT_TRUE(threads_.Post([running, until = until_] {
      running->set_value();
      until.wait();
    }));
    ASSERT_EQ(running->get_future().wait_for(kPatience), std::future_status::ready);
  }
  void Release() {
    if (!released_) release_.set_value();
    released_ = true;
  }

  std::promise<void> release_;
  const std::shared_future<void> until_ = release_.get_future().share();
  bool released_ = false;
  FileThreads threads_{1, 2};
};

// Its owner must learn that nothing will come, and what it holds must not stay.
TEST_F(FileThreadsTest, RefusesJobAfterClose) {
  threads_.Close(milliseconds(0));
  const auto held = std::make_shared<bool>(false);
  EXPECT_FALSE(threads_.Post([held] { *held = true; }));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(*held);
}

TEST_F(FileThreadsTest, RefusesJobAfterCloseThatLeftOneRunning) {
  Occupy();
  threads_.Close(milliseconds(0));
  const auto held = std::make_shared<bool>(false);
  EXPECT_FALSE(threads_.Post([held] { *held = true; }));
  EXPECT_EQ(held.use_count(), 1);
  Release();
  threads_.Close(kPatience);
  EXPECT_FALSE(*held);
}

TEST_F(FileThreadsTest, DropsJobsThatWaitWhenClosed) {
  Occupy();
  const auto held = std::make_shared<bool>(false);
  ASSERT_TRUE(threads_.Post([held] { *held = true; }));
  threads_.Close(milliseconds(0));
  EXPECT_EQ(held.use_count(), 1);
  Release();
  threads_.Close(kPatience);
  EXPECT_FALSE(*held);
}

TEST_F(FileThreadsTest, RefusesJobWhenTooManyWaitAndRunsTheOthersInTheirOrder) {
  Occupy();
  const auto order = std::make_shared<std::vector<int>>();
  auto last = std::make_shared<std::promise<void>>();
  EXPECT_TRUE(threads_.Post([order] { order->push_back(1); }));
  EXPECT_TRUE(threads_.Post([order, last] {
    order->push_back(2);
    last->set_value();
  }));
  EXPECT_FALSE(threads_.Post([order] { order->push_back(3); }));
  Release();
  ASSERT_EQ(last->get_future().wait_for(kPatience), std::future_status::ready);
  threads_.Close(kPatience);
  EXPECT_EQ(*order, (std::vector<int>{1, 2}));
}

TEST_F(FileThreadsTest, GoesOnAfterJobThatThrows) {
  ASSERT_TRUE(threads_.Post([] { throw std::runtime_error("broken"); }));
  auto done = std::make_shared<std::promise<void>>();
  ASSERT_TRUE(threads_.Post([done] { done->set_value(); }));
  EXPECT_EQ(done->get_future().wait_for(kPatience), std::future_status::ready);
}

}  // namespace
}  // namespace zkexec
