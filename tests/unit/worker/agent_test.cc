// SPDX-License-Identifier: Apache-2.0
#include "worker/agent.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/fakes/fake_coordinator.h"
#include "tests/fakes/memory_journal.h"

namespace zkexec {
namespace {

class FakeLauncher : public Launcher {
 public:
  void Start(const std::string& id, const std::string& workload) override {
    started.push_back(id);
    workloads[id] = workload;
  }
  void Kill(const std::string& id, Signal signal) override {
    kills.push_back(id + (signal == Signal::kKill ? " KILL" : " TERM"));
  }
  std::vector<std::string> started;
  std::map<std::string, std::string> workloads;
  std::vector<std::string> kills;
};

struct Recorder : Observer {
  void OnRefused(const std::string& reason) override { refused.push_back(reason); }
  void OnWaited(double seconds) override { waited.push_back(seconds); }
  void OnStartDelay(double seconds) override { start_delays.push_back(seconds); }
  void OnKilled(const std::string& cause) override { kill_causes.push_back(cause); }
  std::vector<double> waited;
  std::vector<double> start_delays;
  std::vector<std::string> kill_causes;
  std::vector<std::string> refused;
};

using Ids = std::vector<std::string>;

class AgentTest : public testing::Test {
 protected:
  void SetUp() override { Open(4); }

  void Open(int slots) {
    agent_.reset();
    zk_ = std::make_unique<FakeCoordinator>(server_, clock_);
    Agent::Options options;
    options.worker = "w1";
    options.queues = {"default"};
    options.slots = slots;
    options.partitions = 2;
    options.drain_timeout = Duration{30000};
    agent_ = std::make_unique<Agent>(options, *zk_, layout_, launcher_, clock_, sealer_, recorder_,
                                     journal_);
    zk_->Connect();
    Run();
  }
  void Run(Duration time = Duration{0}) {
    zk_->Settle();
    for (Duration done{0}; done < time; done += Duration{100}) {
      clock_.Advance(Duration{100});
      agent_->Tick();
      zk_->Settle();
    }
    agent_->Tick();
    zk_->Settle();
  }
  proto::Entry Entry(const std::string& id, int slots = 1) {
    proto::Entry entry;
    entry.set_protocol_version(kProtocolVersion);
    entry.set_dispatch_id(id);
    entry.set_scheduler("s1");
    entry.set_kind("task");
    entry.set_queue("default");
    entry.set_slots(static_cast<std::uint32_t>(slots));
    entry.set_label("dag.task " + id);
    entry.set_sealed(*sealer_.Seal("workload of " + id, id));
    return entry;
  }
  std::string Queue(const std::string& id, int priority = 0, int slots = 1) {
    return QueueRaw(EntryName{priority, clock_.UnixMs() + ++queued_, id}.Encode(),
                    Entry(id, slots).SerializeAsString());
  }
  std::string QueueRaw(const std::string& name, const std::string& data) {
    const auto path = layout_.Partition("default", 0) + "/" + name;
    server_.Put(path, data);
    return path;
  }
  std::string RunPath(const std::string& id) { return layout_.RunningNode("default", 0, id); }
  Ids Results() const {
    const auto dir = layout_.ResultDir("s1");
    return server_.Has(dir) ? server_.Names(dir) : Ids{};
  }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  const Sealer sealer_ = *Sealer::Make("a secret of some length");
  FakeLauncher launcher_;
  Recorder recorder_;
  MemoryJournal journal_;
  std::unique_ptr<FakeCoordinator> zk_;
  std::unique_ptr<Agent> agent_;
  int queued_ = 0;
};

TEST_F(AgentTest, ClaimsStartsAndFinishesOneEntry) {
  const auto entry = Queue("d1");
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  EXPECT_EQ(launcher_.workloads["d1"], "workload of d1");
  EXPECT_FALSE(server_.Has(entry));
  EXPECT_EQ(server_.Names(RunPath("d1")).size(), 1u);
  agent_->OnExit({"d1", "success", ""});
  Run();
  EXPECT_FALSE(server_.Has(RunPath("d1")));
  EXPECT_EQ(Results(), Ids{"d1=success"});
  EXPECT_EQ(agent_->running(), 0);
}

TEST_F(AgentTest, TellsHowLongAnEntryWaitedAndHowLongItsStartTook) {
  auto entry = Entry("d1");
  entry.set_enqueued_unix_ms(clock_.UnixMs() - 2500);
  QueueRaw(EntryName{0, entry.enqueued_unix_ms(), "d1"}.Encode(), entry.SerializeAsString());
  auto early = Entry("d2");
  early.set_enqueued_unix_ms(clock_.UnixMs() + 60000);
  QueueRaw(EntryName{0, early.enqueued_unix_ms(), "d2"}.Encode(), early.SerializeAsString());
  Run();
  EXPECT_EQ(recorder_.waited, (std::vector<double>{2.5, 0.0})) << "the scheduler's clock is ahead";
  EXPECT_EQ(recorder_.start_delays, (std::vector<double>{0.0, 0.0}));
}

TEST_F(AgentTest, CountsWhatRunsApartFromResultsThatWait) {
  Queue("d1");
  Queue("d2");
  Run();
  EXPECT_EQ(agent_->executing(), 2);
  EXPECT_EQ(agent_->results_waiting(), 0);
  zk_->Disconnect();
  agent_->OnExit({"d1", "success", ""});
  agent_->Tick();
  EXPECT_EQ(agent_->executing(), 1);
  EXPECT_EQ(agent_->results_waiting(), 1);
  zk_->Connect();
  Run(Duration{2000});
  EXPECT_EQ(agent_->results_waiting(), 0);
}

TEST_F(AgentTest, TellsWhyItEndedARun) {
  Queue("d1");
  Queue("d2");
  Run();
  server_.Put(layout_.KillNode("w1", "d1"), "");
  Run();
  agent_->OnExit({"d1", "failed", ""});
  agent_->Drain();
  Run(Duration{31000});
  EXPECT_EQ(recorder_.kill_causes, (std::vector<std::string>{"revoked", "drain"}));
}

TEST_F(AgentTest, ResultOfAFailureCarriesTheReason) {
  Queue("d1");
  Run();
  agent_->OnExit({"d1", "failed", "the task process was killed by SIGKILL"});
  Run();
  ASSERT_EQ(Results(), Ids{"d1=failed"});
  proto::ResultInfo info;
  info.ParseFromString(server_.Data(layout_.ResultDir("s1") + "/d1=failed"));
  EXPECT_EQ(info.info(), "the task process was killed by SIGKILL");
  EXPECT_EQ(info.worker(), "w1");
}

TEST_F(AgentTest, TheWordsOfAResultAreTextThatADatabaseTakesWhereverTheyComeFrom) {
  using namespace std::string_literals;
  // As an earlier worker has left it, that let everything through.
  journal_.Keep({"d2", "default", 0, "s1", "failed", "old\0words"s, "w0"});
  auto old = Entry("d2");
  old.set_worker("w0");
  server_.Put(RunPath("d2"), old.SerializeAsString());
  Open(4);
  Queue("d1");
  Queue("d3");
  Run();
  agent_->OnExit({"d1", "failed", "the server said: a\0b\x1b[31m\xff"s});
  agent_->OnExit({"d3", "failed", std::string(1999, 'x') + "\xc3\xa4"});
  Run();
  const auto words = [this](const std::string& name) {
    proto::ResultInfo info;
    EXPECT_TRUE(info.ParseFromString(server_.Data(layout_.ResultDir("s1") + "/" + name))) << name;
    return info.info();
  };
  EXPECT_EQ(words("d1=failed"),
            "the server said: a\xef\xbf\xbd"s + "b\xef\xbf\xbd[31m\xef\xbf\xbd");
  EXPECT_EQ(words("d3=failed"), std::string(1999, 'x')) << "cut between characters";
  EXPECT_EQ(words("d2=failed"), "old\xef\xbf\xbdwords");
}

TEST_F(AgentTest, WhatASecondStartIsRefusedAfterALossIsTheFirstWorkersLoss) {
  auto entry = Entry("d1");
  entry.set_lost_by("w0");
  QueueRaw(EntryName{0, clock_.UnixMs(), "d1"}.Encode(), entry.SerializeAsString());
  Run();
  agent_->OnExit({"d1", "already_running", ""});
  Run();
  EXPECT_EQ(Results(), Ids{"d1=lost"});
}

TEST_F(AgentTest, ARefusedTokenTellsWhoMayHaveStartedItBefore) {
  auto entry = Entry("d1");
  entry.set_lost_by("w0");
  QueueRaw(EntryName{0, clock_.UnixMs(), "d1"}.Encode(), entry.SerializeAsString());
  Run();
  agent_->OnExit({"d1", "token", "expired"});
  Run();
  ASSERT_EQ(Results(), Ids{"d1=token"});
  proto::ResultInfo info;
  info.ParseFromString(server_.Data(layout_.ResultDir("s1") + "/d1=token"));
  EXPECT_EQ(info.lost_by(), "w0");
}

TEST_F(AgentTest, TakesNoMoreThanItsSlotsTheBestFirst) {
  for (int i = 0; i < 6; ++i) Queue("low" + std::to_string(i), 1);
  Queue("high", 9);
  Run();
  EXPECT_EQ(launcher_.started.size(), 4u);
  EXPECT_TRUE(std::count(launcher_.started.begin(), launcher_.started.end(), "high"));
  agent_->OnExit({"high", "success", ""});
  Run();
  EXPECT_EQ(launcher_.started.size(), 5u);
}

TEST_F(AgentTest, WhatCameWhileItWasFullIsReadBeforeTheNextIsTaken) {
  Open(1);
  Queue("first", 1);
  Queue("low", 1);
  Run();
  ASSERT_EQ(launcher_.started, Ids{"first"});
  Queue("high", 9);
  Run(Duration{5000});
  agent_->OnExit({"first", "success", ""});
  Run();
  EXPECT_EQ(launcher_.started, (Ids{"first", "high"}));
}

TEST_F(AgentTest, ATaskOfSeveralSlotsWaitsForRoomAndIsNotOvertaken) {
  Queue("a", 9, 3);
  Run();
  Queue("big", 8, 2);
  Queue("small", 1, 1);
  Run();
  EXPECT_EQ(launcher_.started, Ids{"a"});
  agent_->OnExit({"a", "success", ""});
  Run();
  EXPECT_EQ(launcher_.started, (Ids{"a", "big", "small"}));
}

TEST_F(AgentTest, ATaskOfMoreSlotsThanTheWorkerHasRunsAlone) {
  Queue("huge", 0, 100);
  Run();
  EXPECT_EQ(launcher_.started, Ids{"huge"});
  Queue("next");
  Run();
  EXPECT_EQ(launcher_.started, Ids{"huge"});
}

TEST_F(AgentTest, StartsOnceWhenTheClaimsReplyIsLost) {
  Run();
  zk_->LoseNextReply();
  Queue("d1");
  Run(Duration{1000});
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  EXPECT_EQ(server_.Names(RunPath("d1")).size(), 1u) << "one claim, not two";
  agent_->OnExit({"d1", "success", ""});
  Run(Duration{1000});
  EXPECT_EQ(Results(), Ids{"d1=success"});
}

TEST_F(AgentTest, StartsNothingWhenTheClaimsRequestWasLostUntilClaimedAgain) {
  Run();
  zk_->LoseNextRequest();
  Queue("d1");
  Run(Duration{10000});
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(AgentTest, AnEntryThatAnotherWorkerTookIsDropped) {
  Run();
  const auto mine = Queue("d1");
  Queue("d2");
  // Between our read and our claim.
  while (zk_->pending() > 0 && zk_->multis() == 0) zk_->Deliver();
  const int before = zk_->multis();
  while (zk_->multis() == before && zk_->Deliver()) {
  }
  server_.Erase(mine);
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d2"});
}

TEST_F(AgentTest, RunsGoOnWhenTheSessionExpiresAndAreClaimedAgain) {
  Queue("d1");
  Run();
  zk_->Expire();
  EXPECT_TRUE(server_.Names(RunPath("d1")).empty());
  EXPECT_FALSE(server_.Has(layout_.Worker("w1")));
  zk_->Connect();
  Run();
  EXPECT_EQ(server_.Names(RunPath("d1")).size(), 1u);
  EXPECT_TRUE(server_.Has(layout_.Worker("w1")));
  EXPECT_TRUE(launcher_.kills.empty());
  agent_->OnExit({"d1", "success", ""});
  Run();
  EXPECT_EQ(Results(), Ids{"d1=success"});
}

TEST_F(AgentTest, ARunDeclaredLostMeanwhileIsKilledWithoutAResult) {
  Queue("d1");
  Run();
  zk_->Expire();
  server_.Erase(RunPath("d1"));
  zk_->Connect();
  Run();
  EXPECT_EQ(launcher_.kills, Ids{"d1 KILL"});
  agent_->OnExit({"d1", "failed", "killed"});
  Run();
  EXPECT_TRUE(Results().empty());
  EXPECT_EQ(agent_->running(), 0);
}

TEST_F(AgentTest, ResultWaitsWhileZooKeeperIsAway) {
  Queue("d1");
  Run();
  zk_->Disconnect();
  agent_->OnExit({"d1", "success", ""});
  Run(Duration{2000});
  zk_->Expire();
  agent_->Tick();
  zk_->Connect();
  Run(Duration{1000});
  EXPECT_EQ(Results(), Ids{"d1=success"});
  EXPECT_FALSE(server_.Has(RunPath("d1")));
}

TEST_F(AgentTest, ReportsOnceWhenTheResultsReplyIsLost) {
  Queue("d1");
  Run();
  zk_->LoseNextReply();
  agent_->OnExit({"d1", "success", ""});
  Run(Duration{1000});
  EXPECT_EQ(Results(), Ids{"d1=success"});
  EXPECT_EQ(agent_->running(), 0);
}

TEST_F(AgentTest, StartsNothingWithoutALiveLease) {
  zk_->SetLeaseFresh(false);
  Queue("d1");
  Run(Duration{5000});
  EXPECT_TRUE(server_.Has(RunPath("d1"))) << "claimed, but perhaps by a session that is over";
  EXPECT_TRUE(launcher_.started.empty());
  zk_->SetLeaseFresh(true);
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(AgentTest, KillCommandEndsTheTaskThenForcesIt) {
  Queue("d1");
  Run();
  server_.Put(layout_.KillNode("w1", "d1"), "");
  Run();
  EXPECT_EQ(launcher_.kills, Ids{"d1 TERM"});
  EXPECT_TRUE(server_.Names(layout_.Control("w1")).empty());
  Run(Duration{10100});
  EXPECT_EQ(launcher_.kills, (Ids{"d1 TERM", "d1 KILL"}));
  agent_->OnExit({"d1", "failed", "killed by SIGKILL"});
  Run();
  EXPECT_EQ(Results(), Ids{"d1=killed"});
}

TEST_F(AgentTest, DrainClaimsNothingMoreAndEndsWhenAllIsReported) {
  Queue("d1");
  Run();
  agent_->Drain();
  Queue("d2");
  Run(Duration{10000});
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  EXPECT_FALSE(agent_->drained());
  proto::Worker self;
  self.ParseFromString(server_.Data(layout_.Worker("w1")));
  EXPECT_EQ(self.state(), "draining");
  agent_->OnExit({"d1", "success", ""});
  Run();
  EXPECT_TRUE(agent_->drained());
  EXPECT_EQ(Results(), Ids{"d1=success"});
}

TEST_F(AgentTest, DrainEndsTheTasksWhenItsTimeIsOver) {
  Queue("d1");
  Run();
  agent_->Drain();
  Run(Duration{29000});
  EXPECT_TRUE(launcher_.kills.empty());
  Run(Duration{2000});
  EXPECT_EQ(launcher_.kills, Ids{"d1 TERM"});
  Run(Duration{10000});
  EXPECT_EQ(launcher_.kills, (Ids{"d1 TERM", "d1 KILL"}));
  agent_->OnExit({"d1", "failed", "killed by SIGKILL"});
  Run();
  EXPECT_EQ(Results(), Ids{"d1=failed"}) << "a drained task is Airflow's to retry";
}

TEST_F(AgentTest, UnreadableEntriesAreRefusedOnceAndHinderNobody) {
  const auto name = EntryName{9, clock_.UnixMs(), "bad"}.Encode();
  const auto garbage = QueueRaw(name, "\xff\xff not ours");
  const auto stranger = QueueRaw("lock-0000000001", "");
  Queue("d1");
  Run(Duration{20000});
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  EXPECT_EQ(recorder_.refused.size(), 2u);
  EXPECT_TRUE(server_.Has(garbage));
  EXPECT_TRUE(server_.Has(stranger));
}

TEST_F(AgentTest, AnEntryOfANewerProtocolIsLeftForNewerWorkers) {
  auto entry = Entry("d1");
  entry.set_protocol_version(kProtocolVersion + 1);
  const auto path =
      QueueRaw(EntryName{0, clock_.UnixMs(), "d1"}.Encode(), entry.SerializeAsString());
  Run(Duration{20000});
  EXPECT_TRUE(launcher_.started.empty());
  EXPECT_EQ(recorder_.refused, Ids{"newer_protocol"});
  EXPECT_TRUE(server_.Has(path));
}

TEST_F(AgentTest, AnEntrySealedWithAnotherSecretIsRefusedBeforeItIsClaimed) {
  auto entry = Entry("d1");
  entry.set_sealed(*Sealer::Make("quite another secret")->Seal("x", "d1"));
  QueueRaw(EntryName{0, clock_.UnixMs(), "d1"}.Encode(), entry.SerializeAsString());
  Run();
  EXPECT_TRUE(launcher_.started.empty());
  EXPECT_EQ(recorder_.refused, Ids{"other_secret"});
}

TEST_F(AgentTest, EntriesOfSchedulersWhoseClocksAreWrongByMinutesAreRun) {
  for (const int minutes : {-10, 0, 10}) {
    const auto id = "at" + std::to_string(minutes);
    QueueRaw(EntryName{0, clock_.UnixMs() + minutes * 60'000, id}.Encode(),
             Entry(id).SerializeAsString());
  }
  Run(Duration{1000});
  EXPECT_EQ(launcher_.started, (Ids{"at-10", "at0", "at10"}));
  EXPECT_TRUE(recorder_.refused.empty());
}

TEST_F(AgentTest, NothingIsClaimedWhileTheLauncherIsNotReady) {
  agent_->SetLauncherReady(false);
  const auto entry = Queue("d1");
  Run(Duration{10000});
  EXPECT_TRUE(server_.Has(entry));
  agent_->SetLauncherReady(true);
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(AgentTest, AMissingDirectoryOfResultsIsMade) {
  Queue("d1");
  Run();
  ASSERT_FALSE(server_.Has(layout_.ResultDir("s1")));
  agent_->OnExit({"d1", "success", ""});
  Run(Duration{1000});
  EXPECT_EQ(Results(), Ids{"d1=success"});
}

TEST_F(AgentTest, TwoWorkersOnOneQueueStartEachEntryOnce) {
  FakeCoordinator zk2(server_, clock_);
  Agent::Options options;
  options.worker = "w2";
  options.queues = {"default"};
  options.slots = 4;
  options.partitions = 2;
  FakeLauncher launcher2;
  Agent second(options, zk2, layout_, launcher2, clock_, sealer_, recorder_, journal_);
  zk2.Connect();
  zk2.Settle();
  for (int i = 0; i < 8; ++i) Queue("d" + std::to_string(i));
  for (int i = 0; i < 2000; ++i) {
    zk_->Deliver();
    zk2.Deliver();
    if (i % 20 != 0) continue;
    clock_.Advance(Duration{100});
    agent_->Tick();
    second.Tick();
  }
  auto all = launcher_.started;
  all.insert(all.end(), launcher2.started.begin(), launcher2.started.end());
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (Ids{"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"}));
}

}  // namespace
}  // namespace zkexec
