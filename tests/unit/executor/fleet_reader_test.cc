// SPDX-License-Identifier: Apache-2.0
#include "executor/fleet_reader.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

constexpr std::int64_t kNow = 1'000'000'000;

class FleetReaderTest : public testing::Test {
 protected:
  FleetReaderTest() { zk_.Connect(); }

  // A node and what is above it.
  void Put(const std::string& path, const std::string& data = "") {
    for (auto at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
      zk_.Multi({Op::Create(path.substr(0, at), "")}, [](auto) {});
    }
    zk_.Multi({Op::Create(path, data)}, [](auto result) { ASSERT_TRUE(result); });
    zk_.Settle();
  }
  void PutWorker(const std::string& name, const std::string& state,
                 const std::vector<std::string>& queues) {
    proto::Worker worker;
    worker.set_name(name);
    worker.set_state(state);
    worker.set_slots(4);
    for (const auto& queue : queues) worker.add_queues(queue);
    Put(layout_.Worker(name), worker.SerializeAsString());
  }
  std::string Running(const std::string& dispatch, const std::string& worker, int slots) {
    proto::Entry entry;
    entry.set_worker(worker);
    entry.set_slots(static_cast<std::uint32_t>(slots));
    const auto path = layout_.RunningNode("q", 0, dispatch);
    Put(path, entry.SerializeAsString());
    return path;
  }
  FleetView View() {
    FleetReader reader(zk_, layout_, kNow);
    reader.Begin();
    EXPECT_FALSE(reader.done());
    zk_.Settle();
    EXPECT_TRUE(reader.done());
    EXPECT_FALSE(reader.error());
    return reader.view();
  }

  FakeClock clock_;
  FakeServer server_;
  FakeCoordinator zk_{server_, clock_};
  Layout layout_ = *Layout::Make("/r", "default");
};

TEST_F(FleetReaderTest, SeesNothingWhereThereIsNoTree) {
  const auto view = View();
  EXPECT_TRUE(view.queues.empty());
  EXPECT_TRUE(view.workers.empty());
  EXPECT_EQ(view.unrecognized, 0);
}

TEST_F(FleetReaderTest, CountsWhatWaitsAndHowOldTheOldestIs) {
  Put(layout_.Partition("q", 0) + "/" + EntryName{1, kNow - 3000, "d1"}.Encode());
  Put(layout_.Partition("q", 1) + "/" + EntryName{1, kNow - 9000, "d2"}.Encode());
  Put(layout_.Partition("other queue", 0) + "/" + EntryName{1, kNow + 5000, "d3"}.Encode());
  const auto view = View();
  EXPECT_EQ(view.queues.at("q").depth, 2);
  EXPECT_EQ(view.queues.at("q").oldest_age_s, 9.0);
  EXPECT_EQ(view.queues.at("other queue").oldest_age_s, 0.0) << "clocks that differ";
  EXPECT_EQ(view.unrecognized, 0);
}

TEST_F(FleetReaderTest, CountsWhatRunsByQueueAndWorkerAndWhatHasNoClaim) {
  PutWorker("w1", "active", {"q"});
  Put(Running("d1", "w1", 3) + "/claim-x-0");
  Running("d2", "gone", 2);
  const auto view = View();
  EXPECT_EQ(view.queues.at("q").running, 2);
  EXPECT_EQ(view.queues.at("q").reserved_slots, 5);
  EXPECT_EQ(view.workers.at("w1").running, 1);
  EXPECT_EQ(view.workers.at("w1").reserved_slots, 3);
  EXPECT_EQ(view.workers.count("gone"), 0u);
  EXPECT_EQ(view.without_claim, 1);
}

TEST_F(FleetReaderTest, ListsAQueueThatIsServedAndEmptyWithItsActiveWorkers) {
  PutWorker("w1", "active", {"q", "q"});
  PutWorker("w2", "draining", {"q"});
  const auto view = View();
  EXPECT_EQ(view.queues.at("q").workers, 1);
  EXPECT_EQ(view.queues.at("q").depth, 0);
  EXPECT_FALSE(view.queues.at("q").oldest_age_s);
}

TEST_F(FleetReaderTest, CountsResultsAndCommandsThatWait) {
  Put(layout_.ResultNode("s1", "d1", "success"));
  Put(layout_.ResultNode("s2", "d2", "failed"));
  Put(layout_.KillNode("w1", "d3"));
  Put(layout_.CommandPrefix("w1") + "0000000001");
  Put(layout_.Scheduler("s1"));
  const auto view = View();
  EXPECT_EQ(view.results_waiting, 2);
  EXPECT_EQ(view.commands, 2);
  EXPECT_EQ(view.schedulers, 1);
}

TEST_F(FleetReaderTest, CountsWhatIsNotOurs) {
  Put(layout_.base() + "/extra");
  Put(layout_.Queue("q") + "/no-number");
  Put(layout_.Partition("q", 0) + "/no-entry");
  Put(layout_.RunningPartition("q", 0) + "/no.dispatch");
  Put(layout_.RunningNode("q", 1, "d1"), "\xff no entry");
  Put(layout_.ResultDir("s1") + "/no-result");
  Put(layout_.Control("w1") + "/no-command");
  Put(layout_.Worker("w1"), "\xff no worker");
  const auto view = View();
  EXPECT_EQ(view.unrecognized, 8);
  EXPECT_EQ(view.queues.at("q").depth, 0);
}

TEST_F(FleetReaderTest, ReportsALostConnection) {
  FleetReader reader(zk_, layout_, kNow);
  reader.Begin();
  zk_.Disconnect();
  zk_.Settle();
  EXPECT_TRUE(reader.done());
  ASSERT_TRUE(reader.error());
  EXPECT_EQ(reader.error()->code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace zkexec
