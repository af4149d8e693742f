// SPDX-License-Identifier: Apache-2.0
// What every Coordinator must do: run on the fake, and on a real server if the
// environment names one in ZKEXEC_TEST_HOSTS.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>

#include "common/event_loop.h"
#include "common/ids.h"
#include "common/zookeeper_coordinator.h"
#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

// One client, and a way to let it work.
class Driver {
 public:
  virtual ~Driver() = default;
  virtual Coordinator& zk() = 0;
  virtual void Turn() = 0;
};

class FakeDriver : public Driver {
 public:
  explicit FakeDriver(FakeServer& server) : zk_(server, clock_) { zk_.Connect(); }
  Coordinator& zk() override { return zk_; }
  void Turn() override { zk_.Deliver(); }

 private:
  FakeClock clock_;
  FakeCoordinator zk_;
};

class RealDriver : public Driver {
 public:
  explicit RealDriver(const std::string& hosts) : zk_(Options(hosts), clock_) { loop_.Add(&zk_); }
  ~RealDriver() override { loop_.Remove(&zk_); }
  Coordinator& zk() override { return zk_; }
  void Turn() override { loop_.Turn(Duration{20}); }

 private:
  static ZookeeperCoordinator::Options Options(const std::string& hosts) {
    ZookeeperCoordinator::Options options;
    options.hosts = hosts;
    return options;
  }
  SystemClock clock_;
  EventLoop loop_;
  ZookeeperCoordinator zk_;
};

const char* RealHosts() { return std::getenv("ZKEXEC_TEST_HOSTS"); }

class CoordinatorContractTest : public testing::TestWithParam<const char*>,
                                public Coordinator::Listener {
 protected:
  void SetUp() override {
    real_ = std::string(GetParam()) == "real";
    if (real_ && RealHosts() == nullptr) GTEST_SKIP() << "ZKEXEC_TEST_HOSTS names no server";
    base_ = "/contract-" + RandomHex();
    driver_ = Open();
    driver_->zk().SetListener(this);
    ASSERT_TRUE(Write({Op::Create(base_, "")}));
  }
  void TearDown() override {
    if (driver_) driver_->zk().SetListener(nullptr);
  }

  std::unique_ptr<Driver> Open() {
    std::unique_ptr<Driver> driver;
    if (real_) {
      driver = std::make_unique<RealDriver>(RealHosts());
    } else {
      driver = std::make_unique<FakeDriver>(server_);
    }
    for (int i = 0; i < 500 && driver->zk().state() != SessionState::kConnected; ++i) {
      driver->Turn();
    }
    EXPECT_EQ(driver->zk().state(), SessionState::kConnected);
    return driver;
  }
  template <typename T, typename Call>
  Result<T> Await(Driver& driver, Call call) {
    std::optional<Result<T>> answer;
    call([&answer](Result<T> result) { answer = std::move(result); });
    EXPECT_FALSE(answer) << "a callback ran inside the call";
    for (int i = 0; i < 500 && !answer; ++i) driver.Turn();
    return answer ? *answer : Result<T>(Error{ErrorCode::kInternal, "no answer"});
  }
  Result<std::vector<OpResult>> Write(std::vector<Op> ops) {
    return Await<std::vector<OpResult>>(
        *driver_, [&](auto done) { driver_->zk().Multi(std::move(ops), done); });
  }
  Result<NodeData> Read(const std::string& path, Watch watch = Watch::kNo) {
    return Await<NodeData>(*driver_, [&](auto done) { driver_->zk().Get(path, watch, done); });
  }
  Result<std::vector<std::string>> List(const std::string& path, Watch watch = Watch::kNo) {
    return Await<std::vector<std::string>>(
        *driver_, [&](auto done) { driver_->zk().Children(path, watch, done); });
  }
  bool AwaitChange(const std::string& path) {
    for (int i = 0; i < 500; ++i) {
      if (std::find(changed_.begin(), changed_.end(), path) != changed_.end()) return true;
      driver_->Turn();
    }
    return false;
  }

  void OnSession(SessionState) override {}
  void OnChanged(const std::string& path) override { changed_.push_back(path); }

  bool real_ = false;
  FakeServer server_;
  std::string base_;
  std::unique_ptr<Driver> driver_;
  std::vector<std::string> changed_;
};

TEST_P(CoordinatorContractTest, ReadsBackWhatWasWritten) {
  ASSERT_TRUE(Write({Op::Create(base_ + "/a", std::string("x\0y", 3))}));
  const auto node = Read(base_ + "/a");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->data, std::string("x\0y", 3));
  EXPECT_EQ(node->stat.version, 0);
}

TEST_P(CoordinatorContractTest, MultiIsAllOrNothingAndNamesTheRefusedOperation) {
  const auto result = Write(
      {Op::Create(base_ + "/a", ""), Op::Create(base_ + "/b", ""), Op::Remove(base_ + "/missing")});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(result.error().failed_op, 2);
  EXPECT_EQ(Read(base_ + "/a").error().code, ErrorCode::kNotFound);
}

TEST_P(CoordinatorContractTest, AnswersSayWhatIsInTheWay) {
  ASSERT_TRUE(Write({Op::Create(base_ + "/a", "")}));
  EXPECT_EQ(Write({Op::Create(base_ + "/a", "")}).error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(Write({Op::Set(base_ + "/a", "", 7)}).error().code, ErrorCode::kConflict);
  EXPECT_EQ(Write({Op::Remove(base_)}).error().code, ErrorCode::kConflict);
  EXPECT_EQ(Write({Op::Create(base_ + "/no/parent", "")}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(List(base_ + "/none").error().code, ErrorCode::kNotFound);
}

TEST_P(CoordinatorContractTest, BadPathsAreRefusedInAnyPlaceOfAMulti) {
  for (const std::string path : {"", "relative", "/ends/", "/double//slash"}) {
    EXPECT_EQ(Write({Op::Create(path, ""), Op::Create(base_ + "/a", "")}).error().code,
              ErrorCode::kInvalid);
    EXPECT_EQ(Write({Op::Create(base_ + "/a", ""), Op::Create(path, "")}).error().code,
              ErrorCode::kInvalid);
    EXPECT_EQ(Read(path).error().code, ErrorCode::kInvalid);
  }
  EXPECT_TRUE(Write({Op::Create(base_ + "/a", "")}));
}

TEST_P(CoordinatorContractTest, SequentialCreateTellsTheRealPath) {
  const auto made = Write({Op::Create(base_ + "/p", ""),
                           Op::Create(base_ + "/p/c-", "", NodeMode::kEphemeralSequential),
                           Op::Create(base_ + "/p/c-", "", NodeMode::kEphemeralSequential)});
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)[1].path.size(), (base_ + "/p/c-").size() + 10);
  EXPECT_LT((*made)[1].path, (*made)[2].path);
  EXPECT_EQ(Read((*made)[1].path)->stat.owner, driver_->zk().session());
}

TEST_P(CoordinatorContractTest, EphemeralsGoWhenTheirSessionIsClosed) {
  if (!real_) {
    GTEST_SKIP() << "the fake's sessions end by Expire(), which the agent's tests use";
  }
  auto other = Open();
  ASSERT_TRUE((Await<std::vector<OpResult>>(*other, [&](auto done) {
    other->zk().Multi({Op::Create(base_ + "/e", "", NodeMode::kEphemeral)}, done);
  })));
  ASSERT_TRUE(Read(base_ + "/e", Watch::kYes));
  other.reset();
  EXPECT_TRUE(AwaitChange(base_ + "/e"));
  EXPECT_EQ(Read(base_ + "/e").error().code, ErrorCode::kNotFound);
}

TEST_P(CoordinatorContractTest, ChildWatchFiresOnceForANewChild) {
  ASSERT_TRUE(List(base_, Watch::kYes));
  ASSERT_TRUE(Write({Op::Create(base_ + "/a", "")}));
  ASSERT_TRUE(AwaitChange(base_));
  changed_.clear();
  ASSERT_TRUE(Write({Op::Create(base_ + "/b", "")}));
  ASSERT_TRUE(List(base_));
  EXPECT_TRUE(changed_.empty());
}

TEST_P(CoordinatorContractTest, DataWatchFiresForAWrite) {
  ASSERT_TRUE(Read(base_, Watch::kYes));
  ASSERT_TRUE(Write({Op::Set(base_, "new")}));
  EXPECT_TRUE(AwaitChange(base_));
}

TEST_P(CoordinatorContractTest, PipelinedOperationsAreAnsweredInOrder) {
  std::vector<int> order;
  for (int i = 0; i < 5; ++i) {
    driver_->zk().Multi({Op::Create(base_ + "/" + std::to_string(i), "")},
                        [&order, i](Result<std::vector<OpResult>>) { order.push_back(i); });
  }
  EXPECT_TRUE(Await<Done>(*driver_, [&](auto done) { driver_->zk().Sync(done); }));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST_P(CoordinatorContractTest, LeaseLiesAheadWhileConnected) {
  SystemClock clock;
  FakeClock fake;
  const auto now = real_ ? clock.Now() : fake.Now();
  EXPECT_GT(driver_->zk().lease_until(), now);
}

INSTANTIATE_TEST_SUITE_P(Each, CoordinatorContractTest, testing::Values("fake", "real"),
                         [](const auto& which) { return std::string(which.param); });

}  // namespace
}  // namespace zkexec
