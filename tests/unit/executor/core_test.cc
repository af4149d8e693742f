// SPDX-License-Identifier: Apache-2.0
#include "executor/core.h"

#include <gtest/gtest.h>

#include <memory>

#include "common/tree.h"
#include "tests/fakes/fake_coordinator.h"

namespace zkexec {
namespace {

constexpr char kSecret[] = "a secret of some length";

class CoreTest : public testing::Test {
 protected:
  void SetUp() override { Open("s1"); }

  void Open(const std::string& scheduler) {
    core_.reset();
    zk_ = std::make_unique<FakeCoordinator>(server_, clock_);
    Core::Options options;
    options.scheduler = scheduler;
    options.partitions = 4;
    options.workload_bytes_max = 2000;
    core_ = std::make_unique<Core>(options, *zk_, layout_, clock_, sealer_,
                                   [this](Event event) { events_.push_back(std::move(event)); });
  }
  void Connect() {
    zk_->Connect();
    Run();
  }
  void Run(Duration time = Duration{0}) {
    zk_->Settle();
    for (Duration done{0}; done < time; done += Duration{100}) {
      clock_.Advance(Duration{100});
      core_->Tick();
      zk_->Settle();
    }
    core_->Tick();
    zk_->Settle();
  }
  static Placement Make(const std::string& id, int priority = 0) {
    return {id, "default", "task", "bundle||dag.py", 1, priority, "{\"token\":\"t\"}", "d.t " + id};
  }
  std::vector<std::string> Entries(const std::string& queue = "default") const {
    std::vector<std::string> found;
    for (int i = 0; i < 4; ++i) {
      const auto dir = layout_.Partition(queue, i);
      if (!server_.Has(dir)) continue;
      for (const auto& name : server_.Names(dir)) found.push_back(dir + "/" + name);
    }
    return found;
  }
  // What a worker does to an entry, in ZooKeeper.
  std::string ClaimAll(const std::string& worker, bool with_claim = true, bool started = true) {
    std::string last;
    server_.Put(layout_.Control(worker), "");
    for (const auto& path : Entries()) {
      proto::Entry entry;
      entry.ParseFromString(server_.Data(path));
      entry.set_worker(worker);
      entry.set_started(started);
      server_.Erase(path);
      const auto partition = path.substr(layout_.Queue("default").size() + 1, 1);
      last = layout_.RunningPartition("default", std::stoi(partition)) + "/" + entry.dispatch_id();
      server_.Put(last, entry.SerializeAsString());
      if (with_claim) server_.Put(last + "/claim-g-0000000000", "");
    }
    return last;
  }
  void PutResult(const std::string& dispatch, const std::string& outcome,
                 const std::string& info = "", const std::string& scheduler = "s1") {
    proto::ResultInfo data;
    data.set_info(info);
    server_.Put(layout_.ResultNode(scheduler, dispatch, outcome), data.SerializeAsString());
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  const Sealer sealer_ = *Sealer::Make(kSecret);
  std::unique_ptr<FakeCoordinator> zk_;
  std::unique_ptr<Core> core_;
  std::vector<Event> events_;
};

TEST_F(CoreTest, PlacesWhatWasGivenBeforeZooKeeperWasThere) {
  core_->Place(Make("d1"));
  Run();
  EXPECT_TRUE(Entries().empty());
  Connect();
  ASSERT_EQ(Entries().size(), 1u);
  proto::Entry entry;
  ASSERT_TRUE(entry.ParseFromString(server_.Data(Entries()[0])));
  EXPECT_EQ(entry.dispatch_id(), "d1");
  EXPECT_EQ(entry.scheduler(), "s1");
  EXPECT_EQ(*sealer_.Open(entry.sealed(), "d1"), "{\"token\":\"t\"}");
}

TEST_F(CoreTest, TokenIsNowhereInTheTreeInClear) {
  Connect();
  auto placement = Make("d1");
  placement.workload = "{\"token\":\"eyJsecret\"}";
  core_->Place(placement);
  Run();
  ASSERT_EQ(Entries().size(), 1u);
  EXPECT_EQ(server_.Data(Entries()[0]).find("eyJsecret"), std::string::npos);
}

TEST_F(CoreTest, GathersABatchWhileOneIsUnderWay) {
  Connect();
  core_->Place(Make("warm"));
  Run();
  const int before = zk_->multis();
  for (int i = 0; i < 20; ++i) core_->Place(Make("d" + std::to_string(i)));
  Run();
  EXPECT_EQ(Entries().size(), 21u);
  EXPECT_LE(zk_->multis() - before, 3);
}

TEST_F(CoreTest, PlacesOnceWhenTheReplyIsLost) {
  Connect();
  core_->Place(Make("warm"));
  Run();
  zk_->LoseNextReply();
  core_->Place(Make("d1"));
  Run();
  EXPECT_EQ(Entries().size(), 2u);
  EXPECT_TRUE(events_.empty());
}

// Else Airflow's refusal of the next start would be nobody's loss, and the task would hang.
TEST_F(CoreTest, WhoLostADispatchIsStillKnownAfterItCameBackForAFreshToken) {
  Connect();
  core_->Place(Make("d1"));
  Run();
  server_.Erase(Entries()[0]);
  proto::ResultInfo info;
  info.set_lost_by("w1");
  server_.Put(layout_.ResultNode("s1", "d1", "token"), info.SerializeAsString());
  Run();
  ASSERT_EQ(events_.size(), 1u);
  core_->Place(Make("d1"));
  core_->Acknowledge({"d1"});
  Run();
  ASSERT_EQ(Entries().size(), 1u);
  proto::Entry entry;
  entry.ParseFromString(server_.Data(Entries()[0]));
  EXPECT_EQ(entry.lost_by(), "w1");
}

// The entry was placed, claimed and finished before the producer asked again.
TEST_F(CoreTest, DoesNotPlaceAgainWhatWasFinishedWhileTheReplyWasLost) {
  Connect();
  core_->Place(Make("warm"));
  Run();
  zk_->LoseNextReply();
  core_->Place(Make("d1"));
  while (Entries().size() < 2) ASSERT_TRUE(zk_->Deliver());
  for (const auto& path : Entries()) {
    if (path.ends_with("-d1")) server_.Erase(path);
  }
  PutResult("d1", "success");
  Run();
  EXPECT_EQ(Entries().size(), 1u);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "success");
}

TEST_F(CoreTest, PlacesAfterTheRequestWasLost) {
  Connect();
  core_->Place(Make("warm"));
  Run();
  zk_->LoseNextRequest();
  core_->Place(Make("d1"));
  Run();
  EXPECT_EQ(Entries().size(), 2u);
}

TEST_F(CoreTest, PlacesAfterItsSessionExpired) {
  Connect();
  zk_->Expire();
  core_->Place(Make("d1"));
  Connect();
  EXPECT_EQ(Entries().size(), 1u);
  EXPECT_TRUE(server_.Has(layout_.Scheduler("s1")));
}

TEST_F(CoreTest, WorkloadTooLargeIsRejectedAloneAndNamed) {
  Connect();
  auto large = Make("large");
  std::uint64_t seed = 1;
  for (int i = 0; i < 5000; ++i) {  // incompressible
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    large.workload += static_cast<char>(seed >> 56);
  }
  core_->Place(large);
  core_->Place(Make("d1"));
  Run();
  EXPECT_EQ(Entries().size(), 1u);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].dispatch_id, "large");
  EXPECT_EQ(events_[0].outcome, "rejected");
  EXPECT_NE(events_[0].info.find("too large"), std::string::npos);
  EXPECT_NE(events_[0].info.find("max_workload_bytes"), std::string::npos);
}

TEST_F(CoreTest, ResultBecomesAnEventOnceAndStaysUntilItIsAcknowledged) {
  Connect();
  core_->Place(Make("d1"));
  Run();
  PutResult("d1", "failed", "the task process exited with code 3");
  Run(Duration{6000});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "failed");
  EXPECT_EQ(events_[0].info, "the task process exited with code 3");
  EXPECT_EQ(server_.Names(layout_.ResultDir("s1")), std::vector<std::string>{"d1=failed"});
  core_->Acknowledge({"d1"});
  Run(Duration{6000});
  EXPECT_TRUE(server_.Names(layout_.ResultDir("s1")).empty());
  EXPECT_EQ(events_.size(), 1u);
  EXPECT_EQ(core_->outstanding(), 0u);
}

TEST_F(CoreTest, RunThatLostItsClaimUnnoticedIsFoundByTheAudit) {
  Connect();
  core_->Place(Make("d1"));
  Run(Duration{2000});
  ClaimAll("w1", /*with_claim=*/false);
  Run(Duration{70000});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "lost");
}

TEST_F(CoreTest, ResultThatNobodyWaitsForIsDeletedWithoutAnEvent) {
  Connect();
  PutResult("unknown", "success");
  Run(Duration{6000});
  EXPECT_TRUE(events_.empty());
  EXPECT_TRUE(server_.Names(layout_.ResultDir("s1")).empty());
}

TEST_F(CoreTest, RevokeRemovesAQueuedEntry) {
  Connect();
  core_->Place(Make("d1"));
  Run();
  core_->Revoke("d1");
  Run();
  EXPECT_TRUE(Entries().empty());
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(core_->outstanding(), 0u);
}

TEST_F(CoreTest, RevokeTellsTheHolderToKillAClaimedOne) {
  Connect();
  core_->Place(Make("d1"));
  Run();
  server_.Put(layout_.Control("w1"), "");
  ClaimAll("w1");
  core_->Revoke("d1");
  Run();
  EXPECT_EQ(server_.Names(layout_.Control("w1")), std::vector<std::string>{"kill-d1"});
}

TEST_F(CoreTest, RunWithoutAClaimIsLostAfterTheGrace) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  Run();
  core_->Place(Make("d1"));
  Run();
  const auto run = ClaimAll("w1", /*with_claim=*/false);
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{1500});
  EXPECT_TRUE(events_.empty()) << "within the grace";
  Run(Duration{6000});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "lost");
  EXPECT_NE(events_[0].info.find("w1"), std::string::npos);
  EXPECT_FALSE(server_.Has(run));
}

TEST_F(CoreTest, RunThatIsClaimedAgainWithinTheGraceIsNotLost) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  core_->Place(Make("d1"));
  Run(Duration{1000});
  const auto run = ClaimAll("w1", /*with_claim=*/false);
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{1000});
  server_.Put(run + "/claim-g-0000000001", "");
  Run(Duration{20000});
  EXPECT_TRUE(events_.empty());
  EXPECT_TRUE(server_.Has(run));
}

TEST_F(CoreTest, RunOfAWorkerWhoseGuardianHasSpokenIsLostWithoutAGrace) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  core_->Place(Make("d1"));
  Run(Duration{1000});
  ClaimAll("w1", /*with_claim=*/false);
  server_.Erase(layout_.Control("w1"));
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{200});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "lost");
}

TEST_F(CoreTest, RunThatHadNotStartedGoesBackToItsQueueUnderItsName) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  core_->Place(Make("d1", 7));
  Run(Duration{1000});
  const auto before = Entries();
  const auto run = ClaimAll("w1", /*with_claim=*/false, /*started=*/false);
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{6000});
  EXPECT_TRUE(events_.empty()) << "Airflow need not know";
  EXPECT_FALSE(server_.Has(run));
  ASSERT_EQ(Entries().size(), 1u);
  const auto name = [](const std::string& path) { return path.substr(path.rfind('/')); };
  EXPECT_EQ(name(Entries()[0]), name(before[0])) << "priority and age are what they were";
  proto::Entry entry;
  ASSERT_TRUE(entry.ParseFromString(server_.Data(Entries()[0])));
  EXPECT_EQ(*sealer_.Open(entry.sealed(), "d1"), "{\"token\":\"t\"}");
}

TEST_F(CoreTest, RunThatWasMarkedAsStartedMeanwhileIsNotPutBack) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  core_->Place(Make("d1"));
  Run(Duration{1000});
  const auto run = ClaimAll("w1", /*with_claim=*/false, /*started=*/false);
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{1000});
  // Until the transaction that puts it back is on its way...
  const int before = zk_->multis();
  for (int i = 0; i < 50 && zk_->multis() == before; ++i) {
    clock_.Advance(Duration{100});
    core_->Tick();
    while (zk_->multis() == before && zk_->Deliver()) {
    }
  }
  ASSERT_EQ(zk_->multis(), before + 1);
  // ...when its worker claims it again, marks it as started, and loses it again.
  proto::Entry entry;
  entry.ParseFromString(server_.Data(run));
  entry.set_started(true);
  FakeCoordinator worker(server_, clock_);
  worker.Connect();
  worker.Multi({Op::Set(run, entry.SerializeAsString())}, [](auto) {});
  worker.Settle();
  Run(Duration{70000});
  EXPECT_TRUE(Entries().empty()) << "it had started: nobody may run it again";
  EXPECT_FALSE(server_.Has(run));
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "lost");
}

TEST_F(CoreTest, RunWhoseContentsAreDamagedIsReportedLostAndRunByNobody) {
  Connect();
  server_.Put(layout_.Worker("w1"), "");
  core_->Place(Make("d1"));
  Run(Duration{1000});
  const auto run = ClaimAll("w1", /*with_claim=*/false, /*started=*/false);
  server_.Put(run, "\xff\xff half an en");
  server_.Erase(layout_.Worker("w1"));
  Run(Duration{6000});
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].outcome, "lost");
  EXPECT_TRUE(Entries().empty());
}

TEST_F(CoreTest, AnHeirsHeirReadsTheResultsOfTheFirst) {
  Connect();
  core_->Place(Make("d1"));
  Run();
  ClaimAll("w1");
  zk_->Expire();
  Open("s2");
  core_->Adopt("d1", "default");
  Connect();
  Run(Duration{1000});
  zk_->Expire();
  Open("s3");
  core_->Adopt("d1", "default");
  Connect();
  Run(Duration{1000});
  server_.Erase(layout_.RunningPartition("default", 0) + "/d1");
  PutResult("d1", "success", "", "s1");
  Run(Duration{20000});
  ASSERT_FALSE(events_.empty());
  EXPECT_EQ(events_.back().outcome, "success");
}

TEST_F(CoreTest, AdoptsWhatIsQueuedRunningOrFinishedAndReportsTheRestAsGone) {
  Connect();
  core_->Place(Make("running"));
  Run();
  ClaimAll("w1");
  core_->Place(Make("queued"));
  Run();
  zk_->Expire();
  PutResult("finished", "success");
  Open("s2");
  for (const auto* id : {"queued", "running", "finished", "nowhere"}) core_->Adopt(id, "default");
  Connect();
  Run(Duration{3000});
  std::map<std::string, std::string> told;
  for (const auto& event : events_) told[event.dispatch_id] = event.outcome;
  EXPECT_EQ(told,
            (std::map<std::string, std::string>{{"finished", "success"}, {"nowhere", "gone"}}));
  // Their results still go to the dead scheduler's directory.
  PutResult("running", "success");
  Run(Duration{6000});
  EXPECT_EQ(events_.back().dispatch_id, "running");
  EXPECT_EQ(core_->outstanding(), 1u);
}

TEST_F(CoreTest, NothingIsReportedGoneWhileZooKeeperIsAway) {
  core_->Adopt("d1", "default");
  Run(Duration{60000});
  EXPECT_TRUE(events_.empty());
}

TEST_F(CoreTest, FencedProducerGivesUpAllThatWasItsOwn) {
  Connect();
  core_->Place(Make("warm"));
  Run();
  zk_->LoseNextRequest();
  core_->Place(Make("d1"));
  while (zk_->pending() > 1) zk_->Deliver();
  // An adopter moves the counter, by as much as our own batch would have.
  FakeCoordinator other(server_, clock_);
  other.Connect();
  other.Multi({Op::Set(layout_.Producer("s1"), "fenced by s2")}, [](auto) {});
  other.Settle();
  Run();
  EXPECT_EQ(Entries().size(), 1u);
  ASSERT_EQ(events_.size(), 2u) << "what was placed before is the adopter's as well";
  EXPECT_EQ(events_[0].outcome, "fenced");
  EXPECT_EQ(core_->outstanding(), 0u);
}

TEST_F(CoreTest, RefusesATreeOfAnotherProtocolVersionAndTriesAgain) {
  proto::Meta meta;
  meta.set_protocol_version(99);
  meta.set_partitions(4);
  server_.Put(layout_.Meta(), meta.SerializeAsString());
  Connect();
  EXPECT_FALSE(core_->ready());
  EXPECT_NE(core_->last_error().find("version 99"), std::string::npos);
  meta.set_protocol_version(kProtocolVersion);
  server_.Put(layout_.Meta(), meta.SerializeAsString());
  Run(Duration{2000});
  EXPECT_TRUE(core_->ready());
}

TEST_F(CoreTest, OtherSoftwaresNodesInTheTreeAreLeftAlone) {
  Connect();
  server_.Put(layout_.ResultDir("s1") + "/lock-0000000001", "not ours");
  server_.Put(layout_.Worker("stranger"), "\xff\xff garbage");
  core_->Place(Make("d1"));
  Run(Duration{10000});
  EXPECT_EQ(Entries().size(), 1u);
  EXPECT_TRUE(server_.Has(layout_.ResultDir("s1") + "/lock-0000000001"));
  EXPECT_EQ(core_->strangers(), 2u) << "each once, however often it is seen";
}

}  // namespace
}  // namespace zkexec
