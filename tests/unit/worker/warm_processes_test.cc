// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/warm_processes.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"

namespace zkexec {
namespace {

constexpr char kPandas[] = R"([["pandas",[]]])";
constexpr char kBoth[] = R"([["pandas",[]],["polars",["col"]]])";

class FakeServer : public ForkServer {
 public:
  void Fork(int, const Sockets&) override {}
};

class FakeWarmProcess : public WarmProcess {
 public:
  explicit FakeWarmProcess(Listener listeners) : listener(std::move(listeners)) {}
  void Fork(int, const Sockets&) override {}
  const Facts& facts() const override { return told; }
  bool Fresh() const override { return told.state == State::kReady && fresh; }

  void BeReady(const std::string& modules, Duration took = Duration{300}) {
    static pid_t next = 100;
    told = {State::kReady, ++next, took, modules, "", "", 0};
    listener.settled();
  }
  void Fail(const std::string& reason, std::size_t index) {
    told.state = State::kFailed;
    told.reason = reason;
    told.index = index;
    listener.settled();
  }

  Listener listener;
  Facts told;
  bool fresh = true;
};

class WarmProcessesTest : public ::testing::Test, public Observer {
 protected:
  WarmProcessesTest() { Make({}); }

  void Make(WarmProcesses::Options options) {
    WarmProcesses::Parts parts;
    parts.start = [this](const std::string& list, WarmProcess::Listener listener) {
      auto made = std::make_unique<FakeWarmProcess>(std::move(listener));
      started.emplace_back(list, made.get());
      return made;
    };
    parts.can_start = [this] { return zygote_ready; };
    parts.scan = [this](const nlohmann::json&, ImportScan::Done done) {
      scans.push_back(std::move(done));
      return std::make_shared<int>(0);
    };
    parts.memory = [this](pid_t pid) { return memory[pid]; };
    parts.ready = [this](ForkServer&) { ++told_ready; };
    warm = std::make_unique<WarmProcesses>(options, std::move(parts), zygote, clock, *this);
  }
  void OnWarmProcess(const std::string& result) override { results.push_back(result); }

  // The process that has imported nothing.
  void StartBase() {
    warm->Tick();
    ASSERT_FALSE(started.empty());
    base = started.back().second;
    base->BeReady("airflow");
  }
  // A task of the file has told where it lies, and the file imports that.
  void Know(const std::string& path, const std::string& list) {
    Choose(path);
    base->listener.located({{"bundle", "b"},
                            {"version", nullptr},
                            {"path", path},
                            {"file", "/dags/" + path},
                            {"bundle_path", "/dags"}});
    ASSERT_FALSE(scans.empty());
    const auto done = std::exchange(scans, {}).back();
    done({list, {}, "", ""});
  }
  std::string Choose(const std::string& path = "dag.py") {
    const auto choice = warm->Choose({"b", "", path});
    chosen = &choice.server;
    return choice.how;
  }
  FakeWarmProcess* last() const { return started.back().second; }
  std::vector<std::string> lists() const {
    std::vector<std::string> found;
    for (const auto& [list, process] : started) found.push_back(list);
    return found;
  }

  FakeClock clock;
  FakeServer zygote;
  bool zygote_ready = true;
  int told_ready = 0;
  std::map<pid_t, std::int64_t> memory;
  std::vector<std::string> results;
  std::vector<std::pair<std::string, FakeWarmProcess*>> started;
  std::vector<ImportScan::Done> scans;
  FakeWarmProcess* base = nullptr;
  ForkServer* chosen = nullptr;
  std::unique_ptr<WarmProcesses> warm;
};

TEST_F(WarmProcessesTest, WithoutThemTheZygoteForks) {
  Make({.on = false});
  EXPECT_EQ(Choose(), "off");
  EXPECT_EQ(chosen, &zygote);
  warm->Tick();
  EXPECT_TRUE(started.empty());
  EXPECT_FALSE(warm->Incomplete());
}

TEST_F(WarmProcessesTest, TheFirstOneIsStartedAheadOnceTheZygoteCanFork) {
  zygote_ready = false;
  warm->Tick();
  EXPECT_TRUE(started.empty());
  EXPECT_TRUE(warm->Incomplete());
  EXPECT_EQ(Choose(), "starting");
  EXPECT_EQ(chosen, &zygote);
  zygote_ready = true;
  StartBase();
  EXPECT_FALSE(warm->Incomplete());
  EXPECT_EQ(told_ready, 1);
  EXPECT_EQ(Choose(), "unknown");
  EXPECT_EQ(chosen, base);
}

TEST_F(WarmProcessesTest, FileWithoutInstalledImportsIsServedByTheFirstOne) {
  StartBase();
  Know("dag.py", "[]");
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, base);
  EXPECT_EQ(started.size(), 1u);
}

TEST_F(WarmProcessesTest, NobodyWaitsForAProcessThatIsBeingPrepared) {
  StartBase();
  Know("dag.py", kPandas);
  EXPECT_EQ(started.size(), 1u) << "one task alone is not worth a process";
  EXPECT_EQ(Choose(), "preparing");
  EXPECT_EQ(chosen, base);
  ASSERT_EQ(lists(), (std::vector<std::string>{"[]", kPandas}));
  EXPECT_EQ(Choose(), "preparing");
  EXPECT_EQ(started.size(), 2u);
  last()->BeReady("airflow pandas");
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, last());
}

TEST_F(WarmProcessesTest, FilesWithTheSameImportsShareAProcess) {
  StartBase();
  Know("one.py", kPandas);
  Choose("one.py");
  last()->BeReady("airflow pandas");
  Know("two.py", kPandas);
  EXPECT_EQ(Choose("two.py"), "warm");
  EXPECT_EQ(chosen, last());
  EXPECT_EQ(started.size(), 2u);
}

TEST_F(WarmProcessesTest, ListsThatLoadTheSameModulesInTheSameOrderShareAProcess) {
  StartBase();
  Know("one.py", kPandas);
  Choose("one.py");
  auto* const first = last();
  first->BeReady("airflow pandas");
  Know("two.py", R"([["pandas.core",[]]])");
  Choose("two.py");
  last()->BeReady("airflow pandas");
  EXPECT_EQ(results.back(), "same");
  EXPECT_EQ(Choose("two.py"), "warm");
  EXPECT_EQ(chosen, first);
}

TEST_F(WarmProcessesTest, ImportsThatTakeNoTimeAreNotWorthAProcess) {
  StartBase();
  Know("dag.py", R"([["small",[]]])");
  Choose();
  last()->BeReady("airflow small", Duration{3});
  EXPECT_EQ(results.back(), "cheap");
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, base);
}

TEST_F(WarmProcessesTest, WhatIsImportedBeforeAnUnfitModuleIsImportedWithoutIt) {
  StartBase();
  Know("dag.py", kBoth);
  Choose();
  last()->Fail("threads", 1);
  EXPECT_EQ(results.back(), "threads");
  ASSERT_EQ(lists(), (std::vector<std::string>{"[]", kBoth, kPandas}));
  EXPECT_EQ(Choose(), "preparing");
  EXPECT_EQ(chosen, base);
  last()->BeReady("airflow pandas");
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, last());
}

TEST_F(WarmProcessesTest, UnfitFirstModuleLeavesTheTasksToTheFirstProcess) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  last()->Fail("died", 0);
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, base);
  EXPECT_EQ(started.size(), 2u);
}

TEST_F(WarmProcessesTest, UnfitModuleIsTriedAgainAfterAWhileAndWithANewZygote) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  last()->Fail("timeout", 0);
  clock.Advance(Duration{601'000});
  Choose();
  Choose();
  EXPECT_EQ(started.size(), 3u);
  last()->Fail("died", 0);
  warm->LoseAll();
  StartBase();
  Choose();
  Choose();
  EXPECT_EQ(lists().back(), kPandas);
}

TEST_F(WarmProcessesTest, ProcessWhosePackagesHaveChangedIsReplaced) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  auto* const old = last();
  old->BeReady("airflow pandas");
  old->fresh = false;
  warm->CountChild(*old, 1);
  EXPECT_EQ(Choose(), "preparing");
  EXPECT_EQ(chosen, base);
  EXPECT_TRUE(warm->Retired(*old)) << "a task of it still runs";
  Choose();
  last()->BeReady("airflow pandas of today");
  EXPECT_EQ(Choose(), "warm");
  EXPECT_NE(chosen, old);
  warm->CountChild(*old, -1);
  warm->Tick();
  EXPECT_FALSE(warm->Retired(*old));
}

TEST_F(WarmProcessesTest, ProcessThatDiesAgainAndAgainIsNotStartedForAWhile) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  for (int death = 0; death < 2; ++death) {
    last()->BeReady("airflow pandas");
    EXPECT_EQ(Choose(), "warm");
    EXPECT_EQ(chosen, last());
    last()->told.state = WarmProcess::State::kFailed;
    EXPECT_EQ(Choose(), "preparing");
    EXPECT_EQ(chosen, base);
    EXPECT_EQ(results.back(), "died");
    if (death == 0) Choose();
  }
  EXPECT_EQ(started.size(), 3u);
  for (int task = 0; task < 3; ++task) {
    EXPECT_EQ(Choose(), "warm");
    EXPECT_EQ(chosen, base);
  }
  EXPECT_EQ(started.size(), 3u);
  clock.Advance(Duration{60'001});
  Choose();
  Choose();
  EXPECT_EQ(started.size(), 4u);
}

TEST_F(WarmProcessesTest, ProcessThatDoesNotForkIsNotChosenForAWhile) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  auto* const silent = last();
  silent->BeReady("airflow pandas");
  warm->CountChild(*silent, 1);
  warm->GiveUp(*silent);
  EXPECT_EQ(results.back(), "silent");
  EXPECT_TRUE(warm->Retired(*silent));
  EXPECT_EQ(Choose(), "warm");
  EXPECT_EQ(chosen, base);
  warm->GiveUp(*base);
  EXPECT_EQ(Choose(), "starting");
  EXPECT_EQ(chosen, &zygote);
}

TEST_F(WarmProcessesTest, EventOfARetiredProcessIsNotTakenForItsSuccessors) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  auto* const old = last();
  warm->CountChild(*old, 1);  // keeps it
  warm->LoseAll();
  StartBase();
  Choose();
  Choose();
  ASSERT_NE(last(), old);
  old->Fail("died", 0);
  EXPECT_EQ(results.back(), "ready") << "of the first process";
  last()->BeReady("airflow pandas");
  EXPECT_EQ(Choose(), "warm");
}

TEST_F(WarmProcessesTest, FirstProcessThatFailsIsStartedAgainAfterAPause) {
  warm->Tick();
  last()->Fail("died", 0);
  EXPECT_TRUE(warm->Incomplete());
  warm->Tick();
  EXPECT_EQ(started.size(), 1u);
  clock.Advance(Duration{5'000});
  StartBase();
  EXPECT_EQ(started.size(), 2u);
  EXPECT_EQ(Choose(), "unknown");
  EXPECT_EQ(chosen, base);
}

TEST_F(WarmProcessesTest, WhatNobodyWantsForAWhileGoesButTheFirstStays) {
  StartBase();
  Know("dag.py", kPandas);
  Choose();
  last()->BeReady("airflow pandas");
  EXPECT_EQ(warm->size(), 2u);
  clock.Advance(Duration{599'000});
  warm->Tick();
  EXPECT_EQ(warm->size(), 2u);
  clock.Advance(Duration{2'000});
  warm->Tick();
  EXPECT_EQ(warm->size(), 1u);
}

TEST_F(WarmProcessesTest, TheLeastRecentlyUsedGoesWhenMemoryIsShort) {
  Make({.memory_bytes = 250});
  StartBase();
  for (const std::string path : {"one", "two"}) {
    Know(path, R"([[")" + path + R"(",[]]])");
    Choose(path);
    last()->BeReady("airflow " + path);
    clock.Advance(Duration{1'000});
  }
  auto* const first = started[1].second;
  auto* const second = started[2].second;
  for (auto* one : {base, first, second}) memory[one->told.pid] = 100;
  for (int turn = 0; turn < 10; ++turn) {
    clock.Advance(Duration{3'000});
    warm->Tick();
  }
  EXPECT_EQ(results.back(), "memory");
  EXPECT_EQ(warm->size(), 2u);
  EXPECT_EQ(warm->memory_bytes(), 200);
  EXPECT_EQ(Choose("two"), "warm");
  EXPECT_EQ(Choose("one"), "preparing");
}

}  // namespace
}  // namespace zkexec
