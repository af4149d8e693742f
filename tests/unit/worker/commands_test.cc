// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "tests/fakes/fake_coordinator.h"
#include "tests/fakes/memory_journal.h"
#include "worker/agent.h"

namespace zkexec {
namespace {

using Ids = std::vector<std::string>;

class RecordingLauncher : public Launcher {
 public:
  void Start(const std::string& id, const std::string&) override { started.push_back(id); }
  void Kill(const std::string& id, Signal) override { kills.push_back(id); }
  Ids started;
  Ids kills;
};

struct Refusals : Observer {
  void OnRefused(const std::string& reason) override { reasons.push_back(reason); }
  Ids reasons;
};

class CommandsTest : public testing::Test {
 protected:
  void SetUp() override {
    zk_ = std::make_unique<FakeCoordinator>(server_, clock_);
    Agent::Options options;
    options.worker = "w1";
    options.queues = {"default"};
    options.slots = 2;
    options.slots_max = 64;
    options.partitions = 2;
    agent_ = std::make_unique<Agent>(options, *zk_, layout_, launcher_, clock_, sealer_, refusals_,
                                     journal_);
    zk_->Connect();
    Run();
  }
  // Everything that is under way, and `time` of the worker's ticks.
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
  static proto::Command Verb(const std::string& verb) {
    proto::Command command;
    command.set_verb(verb);
    command.set_by("ann@example");
    return command;
  }
  static proto::Command Slots(std::uint32_t slots) {
    auto command = Verb("concurrency");
    command.set_slots(slots);
    return command;
  }
  static proto::Command Queues(const std::string& verb, const Ids& queues) {
    auto command = Verb(verb);
    for (const auto& queue : queues) command.add_queues(queue);
    return command;
  }
  std::string SendRaw(const std::string& data) {
    char name[32];
    std::snprintf(name, sizeof name, "%010d", sent_++);
    const auto path = layout_.CommandPrefix("w1") + name;
    server_.Put(path, data);
    return path;
  }
  std::string Send(const proto::Command& command) { return SendRaw(command.SerializeAsString()); }
  void Queue(const std::string& id, const std::string& queue = "default") {
    proto::Entry entry;
    entry.set_protocol_version(kProtocolVersion);
    entry.set_dispatch_id(id);
    entry.set_scheduler("s1");
    entry.set_kind("task");
    entry.set_queue(queue);
    entry.set_slots(1);
    entry.set_sealed(*sealer_.Seal("workload", id));
    const EntryName name{0, clock_.UnixMs() + ++queued_, id};
    server_.Put(layout_.Partition(queue, 0) + "/" + name.Encode(), entry.SerializeAsString());
  }
  proto::Worker Node() const {
    proto::Worker node;
    node.ParseFromString(server_.Data(layout_.Worker("w1")));
    return node;
  }
  Ids NodeQueues() const {
    const auto node = Node();
    return {node.queues().begin(), node.queues().end()};
  }
  Ids Left() const { return server_.Names(layout_.Control("w1")); }

  FakeServer server_;
  FakeClock clock_;
  const Layout layout_ = *Layout::Make("/zk", "default");
  const Sealer sealer_ = *Sealer::Make("a secret of some length");
  RecordingLauncher launcher_;
  Refusals refusals_;
  MemoryJournal journal_;
  std::unique_ptr<FakeCoordinator> zk_;
  std::unique_ptr<Agent> agent_;
  int queued_ = 0;
  int sent_ = 0;
};

TEST_F(CommandsTest, DrainClaimsNothingMoreAndLeavesWhatRunsAndResumeEndsIt) {
  Queue("d1");
  Run();
  Send(Verb("drain"));
  Run();
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_TRUE(Left().empty());
  Queue("d2");
  Run(Duration{20000});
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  EXPECT_TRUE(launcher_.kills.empty());
  EXPECT_FALSE(agent_->drained()) << "the process stays";
  Send(Verb("resume"));
  Run();
  EXPECT_EQ(Node().state(), "active");
  EXPECT_EQ(launcher_.started, (Ids{"d1", "d2"})) << "at once, not at the next look around";
}

TEST_F(CommandsTest, MaintenanceTellsItsCommentAndResumeClearsIt) {
  auto command = Verb("maintenance");
  command.set_comment("new disk");
  Send(command);
  Queue("d1");
  Run(Duration{6000});
  EXPECT_EQ(Node().state(), "maintenance");
  EXPECT_EQ(Node().comment(), "new disk");
  EXPECT_TRUE(launcher_.started.empty());
  Send(Verb("resume"));
  Run();
  EXPECT_EQ(Node().comment(), "");
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(CommandsTest, NothingIsClaimedOnceADrainIsConfirmedWheneverItComes) {
  for (int steps = 0; steps < 12; ++steps) {
    const auto id = "d" + std::to_string(steps);
    const auto dir = layout_.Partition("default", 0);
    Queue(id);
    for (int i = 0; i < steps; ++i) zk_->Deliver();
    const auto command = Send(Verb("drain"));
    while (server_.Has(command)) ASSERT_TRUE(zk_->Deliver());
    const auto waiting = server_.Names(dir);
    Run(Duration{1000});
    EXPECT_EQ(server_.Names(dir), waiting) << "the drain came after " << steps << " steps";
    Send(Verb("resume"));
    Run();
    EXPECT_EQ(launcher_.started.back(), id);
    agent_->OnExit({id, "success", ""});
    Run();
  }
}

TEST_F(CommandsTest, MoreSlotsClaimMoreAtOnceAndFewerWaitForRoom) {
  for (int i = 0; i < 6; ++i) Queue("d" + std::to_string(i));
  Run();
  ASSERT_EQ(launcher_.started.size(), 2u);
  Send(Slots(4));
  Run();
  EXPECT_EQ(launcher_.started.size(), 4u);
  EXPECT_EQ(Node().slots(), 4u);
  EXPECT_EQ(agent_->slots(), 4);
  Send(Slots(1));
  Run();
  EXPECT_EQ(Node().slots(), 1u);
  for (int i = 0; i < 3; ++i) {
    agent_->OnExit({"d" + std::to_string(i), "success", ""});
    Run();
  }
  EXPECT_EQ(launcher_.started.size(), 4u) << "one still runs, in the one slot";
  agent_->OnExit({"d3", "success", ""});
  Run();
  EXPECT_EQ(launcher_.started.size(), 5u);
}

TEST_F(CommandsTest, AnAddedQueueHasItsPartitionsBeforeItIsAnnouncedAndIsServedAtOnce) {
  Send(Queues("queues_add", {"heavy", "default", "a b/c"}));
  while (zk_->Deliver()) {
    if (NodeQueues().size() > 1) {
      ASSERT_TRUE(server_.Has(layout_.Partition("heavy", 1)));
      ASSERT_TRUE(server_.Has(layout_.RunningPartition("a b/c", 1)));
    }
  }
  Run();
  EXPECT_EQ(NodeQueues(), (Ids{"default", "heavy", "a b/c"}));
  Queue("d1", "heavy");
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(CommandsTest, ARemovedQueueIsNotClaimedFromAndTheLastOneMayGo) {
  Send(Queues("queues_remove", {"default", "never-served"}));
  Run();
  EXPECT_TRUE(NodeQueues().empty());
  Queue("d1");
  Run(Duration{10000});
  EXPECT_TRUE(launcher_.started.empty());
  zk_->Expire();
  zk_->Connect();
  Run(Duration{2000});
  EXPECT_TRUE(agent_->ready()) << "a worker without a queue registers, too";
  Send(Queues("queues_add", {"default"}));
  Run();
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(CommandsTest, CommandsAreObeyedInTheOrderOfTheirSequence) {
  zk_->Disconnect();
  Send(Slots(7));
  Send(Verb("drain"));
  Send(Slots(3));
  Send(Verb("resume"));
  zk_->Connect();
  Run(Duration{6000});
  EXPECT_EQ(Node().slots(), 3u);
  EXPECT_EQ(Node().state(), "active");
  EXPECT_TRUE(Left().empty());
}

TEST_F(CommandsTest, DuplicatesAreHarmless) {
  for (int i = 0; i < 3; ++i) {
    Send(Slots(5));
    Send(Queues("queues_add", {"heavy"}));
    Send(Verb("drain"));
  }
  Run();
  EXPECT_EQ(Node().slots(), 5u);
  EXPECT_EQ(NodeQueues(), (Ids{"default", "heavy"}));
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_TRUE(refusals_.reasons.empty());
}

// The bound is the one of the start: see Settings.
TEST_F(CommandsTest, SlotsAreBoundedByTheBoundOfTheStart) {
  Send(Slots(64));
  Run();
  EXPECT_EQ(Node().slots(), 64u);
  Send(Slots(65));
  Run();
  EXPECT_EQ(Node().slots(), 64u);
  EXPECT_EQ(refusals_.reasons, Ids{"bad_command"});
  Send(Slots(1));
  Run();
  EXPECT_EQ(Node().slots(), 1u);
}

TEST_F(CommandsTest, BadCommandsAreCountedAndTakenAwayAndHinderNobody) {
  SendRaw("\xff\xff not ours");
  Send(Verb("format-disk"));
  Send(Slots(0));
  Send(Slots(65));
  Send(Queues("queues_add", {}));
  Send(Queues("queues_add", {""}));
  Send(Queues("queues_remove", {"a\nb"}));
  Send(Queues("queues_add", {std::string(300, 'x')}));
  auto talkative = Verb("maintenance");
  talkative.set_comment(std::string(2000, 'x'));
  Send(talkative);
  Send(Slots(9));
  Run();
  EXPECT_EQ(refusals_.reasons, Ids(9, "bad_command"));
  EXPECT_TRUE(Left().empty());
  EXPECT_EQ(Node().slots(), 9u);
  EXPECT_EQ(Node().state(), "active");
}

TEST_F(CommandsTest, ForeignNamesAreLeftAloneToldOnceAndCauseNoWrites) {
  const Ids foreign{"command-", "command-12x", "lock-0000000001"};
  for (const auto& name : foreign) server_.Put(layout_.Control("w1") + "/" + name, "");
  Run();
  const int before = zk_->multis();
  Run(Duration{30000});
  EXPECT_EQ(zk_->multis(), before);
  EXPECT_EQ(refusals_.reasons, Ids(3, "bad_command"));
  EXPECT_EQ(Left(), foreign);
}

TEST_F(CommandsTest, ACommandThatCannotBeRemovedIsNoBusyLoopAndHindersNobody) {
  const auto stuck = Send(Slots(7));
  server_.Put(stuck + "/child", "");
  Send(Verb("drain"));
  Run();
  const int before = zk_->multis();
  Run(Duration{20000});
  EXPECT_LE(zk_->multis() - before, 5) << "no more than one for each look around";
  EXPECT_EQ(Node().slots(), 2u);
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_EQ(refusals_.reasons, Ids{"bad_command"});
}

TEST_F(CommandsTest, ALostRequestIsObeyedOnTheNextLook) {
  Send(Slots(5));
  zk_->LoseNextRequest();
  Run(Duration{1000});
  EXPECT_EQ(Node().slots(), 5u);
  EXPECT_TRUE(Left().empty());
}

TEST_F(CommandsTest, ALostReplyIsAsGoodAsDone) {
  Send(Verb("drain"));
  zk_->LoseNextReply();
  Queue("d1");
  Run(Duration{6000});
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_TRUE(launcher_.started.empty());
}

TEST_F(CommandsTest, WhatWasConfirmedHoldsIfTheSessionEndsBeforeTheReply) {
  const auto command = Send(Verb("drain"));
  zk_->LoseNextReply();
  while (server_.Has(command) && zk_->Deliver()) {
  }
  zk_->Expire();
  Queue("d1");
  zk_->Connect();
  Run(Duration{10000});
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_TRUE(launcher_.started.empty());
}

TEST_F(CommandsTest, ACommandIsReadAgainInTheNextSession) {
  const auto command = Send(Slots(5));
  for (int i = 0; i < 2; ++i) zk_->Deliver();
  ASSERT_TRUE(server_.Has(command));
  zk_->Expire();
  EXPECT_TRUE(server_.Has(command));
  zk_->Connect();
  Run();
  EXPECT_FALSE(server_.Has(command));
  EXPECT_EQ(Node().slots(), 5u);
}

TEST_F(CommandsTest, StateSlotsAndQueuesSurviveTheSession) {
  Send(Slots(5));
  Send(Queues("queues_add", {"heavy"}));
  auto command = Verb("maintenance");
  command.set_comment("new disk");
  Send(command);
  Run();
  const auto before = Node();
  clock_.Advance(Duration{5000});
  zk_->Expire();
  zk_->Connect();
  Run();
  EXPECT_EQ(Node().SerializeAsString(), before.SerializeAsString());
}

TEST_F(CommandsTest, AWithdrawnCommandIsNotObeyed) {
  const auto command = Send(Verb("drain"));
  const int before = zk_->multis();
  while (zk_->multis() == before && zk_->Deliver()) {
  }
  ASSERT_TRUE(server_.Has(command));
  server_.Erase(command);
  Queue("d1");
  Run();
  EXPECT_EQ(Node().state(), "active");
  EXPECT_EQ(launcher_.started, Ids{"d1"});
}

TEST_F(CommandsTest, ResumeAfterSigtermIsIgnoredAndTheProcessStillEnds) {
  Queue("d1");
  Run();
  agent_->Drain();
  Send(Verb("resume"));
  Queue("d2");
  Run(Duration{6000});
  EXPECT_TRUE(Left().empty());
  EXPECT_EQ(Node().state(), "draining");
  EXPECT_EQ(launcher_.started, Ids{"d1"});
  agent_->OnExit({"d1", "success", ""});
  Run();
  EXPECT_TRUE(agent_->drained());
}

TEST_F(CommandsTest, SigtermEndsAWorkerThatWasDrainedBefore) {
  Send(Verb("maintenance"));
  Run();
  EXPECT_FALSE(agent_->drained());
  agent_->Drain();
  Run();
  EXPECT_TRUE(agent_->drained());
  EXPECT_EQ(Node().state(), "draining");
}

TEST_F(CommandsTest, KillsAreObeyedBesideCommands) {
  Queue("d1");
  Run();
  server_.Put(layout_.KillNode("w1", "d1"), "");
  server_.Put(layout_.KillNode("w1", "unknown"), "");
  Send(Slots(3));
  Run();
  EXPECT_EQ(launcher_.kills, Ids{"d1"});
  EXPECT_TRUE(Left().empty());
  EXPECT_EQ(Node().slots(), 3u);
}

}  // namespace
}  // namespace zkexec
