// SPDX-License-Identifier: Apache-2.0
// What is other about a task's end since Airflow 3.4.
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_execution_api.h"
#include "worker/supervise/task.h"

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kRun[] = R"({"max_tries":0,"should_retry":false,"dag_run":{}})";
constexpr char kRunWithRetries[] = R"({"max_tries":1,"should_retry":true,"dag_run":{}})";
constexpr char kConflict[] = R"({"detail":{"reason":"invalid_state"}})";
constexpr char kCleared[] =
    R"({"detail":{"reason":"invalid_state","previous_state":"restarting"}})";

class TaskOutcomeTest : public ::testing::Test, public Task::Io {
 protected:
  TaskOutcomeTest() {
    settings_.dialect = Dialect::k34;
    settings_.hostname = "here";
    settings_.api_url = "http://api/execution/";
    settings_.heartbeat_interval = Duration{5000};
    settings_.killed_cleanup = Duration{60000};
    settings_.retries = {3, Duration{1000}, Duration{90000}};
    TaskSpec spec;
    spec.dispatch_id = "d1";
    spec.ti_id = "TI";
    spec.token = "first";
    spec.dag_rel_path = "dag.py";
    spec.bundle_name = "b";
    spec.bundle_json = "{}";
    spec.ti_json = "{}";
    task_ = std::make_unique<Task>(spec, settings_, api_, clock_, *this, 1);
  }

  void Write(const std::string& frame) override { frames_.push_back(frame); }
  void SendLoggingChannel(std::int64_t) override {}
  void Signal(int number, bool) override { signals_.push_back(number); }
  void Log(const std::string& lines) override { log_ += lines; }
  void AskHelper(const std::string&, std::function<void(std::string frame)> done) override {
    ++asked_;
    done("");
  }
  void UploadLog(std::function<void()> done) override { done(); }
  void CloseStreams() override {}
  void Done(const ExitReport& report) override { reports_.push_back(report); }

  void Start(const char* context = kRun) {
    task_->Begin(42);
    api_.Answer(200, context);
  }
  void Ask(const Json& body) {
    const auto bytes = Json::to_msgpack(Json::array({++asks_, body, nullptr}));
    task_->OnRequest({bytes.begin(), bytes.end()});
  }
  void Beat(int status, const char* answer) {
    clock_.Advance(Duration{5000});
    task_->Tick();
    ASSERT_TRUE(api_.waits());
    EXPECT_EQ(api_.requests.back().path, "task-instances/TI/heartbeat");
    api_.Answer(status, answer);
  }
  void End(int code) {
    task_->OnExit({code, 1024});
    task_->OnStreamsClosed();
  }
  Json last() const { return Json::parse(api_.requests.back().body); }
  bool Said(const char* text) const { return log_.find(text) != std::string::npos; }

  FakeClock clock_;
  FakeExecutionApi api_;
  SuperviseSettings settings_;
  std::unique_ptr<Task> task_;
  std::vector<std::string> frames_;
  std::vector<int> signals_;
  std::string log_;
  int asks_ = 0;
  int asked_ = 0;
  std::vector<ExitReport> reports_;
};

TEST_F(TaskOutcomeTest, AFailureIsToldWithItsWordsAtTheEndWhateverTheExitCode) {
  for (const int code : {0, 1, -SIGKILL}) {
    reports_.clear();
    task_ = std::make_unique<Task>(task_->spec(), settings_, api_, clock_, *this, 1);
    Start(kRunWithRetries);
    Ask({{"state", "failed"},
         {"end_date", "2026-01-02T03:04:05Z"},
         {"rendered_map_index", "m"},
         {"retry_reason", "no use"},
         {"loop_decision", {{"stop", true}, {"reason", "enough"}}},
         {"type", "TaskState"}});
    EXPECT_EQ(api_.requests.back().path, "task-instances/TI/run");
    End(code);
    EXPECT_EQ(last().dump(),
              R"({"state":"failed","end_date":"2026-01-02T03:04:05Z","rendered_map_index":"m",)"
              R"("retry_reason":"no use","loop_decision":{"stop":true,"reason":"enough"}})");
    api_.Answer(204);
    EXPECT_EQ(reports_.size(), 1u) << code;
    EXPECT_FALSE(api_.waits());
  }
}

TEST_F(TaskOutcomeTest, ARetryIsToldAtTheEnd) {
  Start(kRunWithRetries);
  Ask({{"state", "up_for_retry"}, {"retry_delay_seconds", 7.0}, {"type", "RetryTask"}});
  EXPECT_EQ(api_.requests.size(), 1u);
  End(0);
  EXPECT_EQ(last().dump(), R"({"state":"up_for_retry","retry_delay_seconds":7.0})");
  api_.Answer(204);
  EXPECT_EQ(reports_.at(0).outcome, "success");
}

TEST_F(TaskOutcomeTest, TheLastOutcomeCounts) {
  Start(kRunWithRetries);
  Ask({{"state", "up_for_retry"}, {"type", "RetryTask"}});
  Ask({{"state", "success"}, {"type", "SucceedTask"}});
  api_.Answer(204);
  const auto told = api_.requests.size();
  End(0);
  EXPECT_EQ(api_.requests.size(), told);
  EXPECT_EQ(reports_.at(0).outcome, "success");
}

TEST_F(TaskOutcomeTest, HeartbeatsGoOnWhileAnOutcomeIsHeld) {
  Start(kRunWithRetries);
  Ask({{"state", "failed"}, {"type", "TaskState"}});
  Beat(204, "");
  Ask({{"state", "success"}, {"type", "SucceedTask"}});
  clock_.Advance(Duration{5000});
  task_->Tick();  // not while the other outcome is on its way
  EXPECT_EQ(api_.requests.back().path, "task-instances/TI/state");
}

TEST_F(TaskOutcomeTest, AHeartbeatIsSentOnce) {
  Start();
  clock_.Advance(Duration{5000});
  task_->Tick();
  api_.FailToConnect();
  clock_.Advance(Duration{2000});
  task_->Tick();
  EXPECT_FALSE(api_.waits());
}

TEST_F(TaskOutcomeTest, AnOutcomeThatTheServerRefusesIsDiscardedAndTheEndAcknowledged) {
  for (const auto* type : {"SucceedTask", "DeferTask", "TaskState", "RetryTask"}) {
    reports_.clear();
    log_.clear();
    task_ = std::make_unique<Task>(task_->spec(), settings_, api_, clock_, *this, 1);
    Start();
    Ask({{"state", "x"}, {"type", type}});
    const bool at_once = api_.waits();
    if (at_once) api_.Answer(409, kConflict);
    EXPECT_EQ(frames_.back().find("API_SERVER_ERROR"), std::string::npos) << type;
    End(0);
    if (!at_once) api_.Answer(409, kConflict);
    EXPECT_TRUE(Said("Server rejected task outcome with a conflict")) << type;
    EXPECT_EQ(last()["state"], "server_terminated") << type;
    EXPECT_EQ(last()["pid"], 42);
    EXPECT_EQ(last()["hostname"], "here");
    api_.Answer(409, kConflict);  // of no interest
    EXPECT_EQ(reports_.at(0).outcome, "success") << type;
  }
}

TEST_F(TaskOutcomeTest, ATaskThatTheServerStoppedHasNoOutcomeAndItsEndIsAcknowledged) {
  Start(kRunWithRetries);
  Ask({{"state", "failed"}, {"type", "TaskState"}});
  Beat(409, R"({"detail":{"reason":"not_running"}})");
  EXPECT_EQ(signals_, std::vector<int>{SIGTERM});
  Ask({{"state", "success"}, {"type", "SucceedTask"}});
  EXPECT_EQ(api_.requests.size(), 2u);
  clock_.Advance(Duration{59000});
  task_->Tick();
  EXPECT_EQ(signals_.size(), 1u);  // [core] killed_task_cleanup_time, not five seconds
  clock_.Advance(Duration{1000});
  task_->Tick();
  EXPECT_EQ(signals_, (std::vector<int>{SIGTERM, SIGKILL}));
  End(-SIGKILL);
  EXPECT_EQ(last()["state"], "server_terminated");
  api_.Answer(204);
  EXPECT_EQ(reports_.at(0).outcome, "failed");
}

TEST_F(TaskOutcomeTest, AHeartbeatThatCrossedTheOutcomeEndsNothing) {
  Start();
  clock_.Advance(Duration{5000});
  task_->Tick();
  Ask({{"state", "success"}, {"type", "SucceedTask"}});
  api_.Answer(409, R"({"detail":{"reason":"not_running"}})");  // to the heartbeat
  EXPECT_TRUE(signals_.empty());
  api_.Answer(204);
  End(0);
  EXPECT_EQ(reports_.at(0).outcome, "success");
}

TEST_F(TaskOutcomeTest, AStartRefusedBecauseTheTaskWasClearedIsAnEndThatIsAcknowledged) {
  task_->Begin(42);
  api_.Answer(409, kCleared);
  EXPECT_EQ(signals_, std::vector<int>{SIGKILL});
  EXPECT_TRUE(Said("Server rejected task start because the task was cleared"));
  End(-SIGKILL);
  EXPECT_EQ(last()["state"], "server_terminated");
  EXPECT_EQ(last()["pid"], 42);
  api_.Answer(204);
  // Airflow lets a cleared task go on with the next try when its executor reports an end.
  EXPECT_EQ(reports_.at(0).outcome, "failed");
  EXPECT_FALSE(Said("Process terminated by signal"));
}

TEST_F(TaskOutcomeTest, AStartRefusedBecauseAnotherHasTheTaskIsTold) {
  task_->Begin(42);
  api_.Answer(409, R"({"detail":{"reason":"running_elsewhere","previous_state":"restarting"}})");
  End(-SIGKILL);
  EXPECT_EQ(reports_.at(0).outcome, "already_running");
}

TEST_F(TaskOutcomeTest, ATaskThatOverrunsItsTimeIsTerminatedThenKilled) {
  Start();
  Ask({{"timeout_seconds", 30.5}, {"type", "SetExecutionTimeout"}});
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(frames_.size(), 2u);
  settings_.heartbeat_interval = Duration{1'000'000};
  clock_.Advance(Duration{90'499});
  task_->Tick();
  EXPECT_TRUE(signals_.empty());
  clock_.Advance(Duration{1});
  EXPECT_LE(task_->due(), clock_.Now());
  task_->Tick();
  EXPECT_EQ(signals_, std::vector<int>{SIGTERM});
  EXPECT_TRUE(Said(R"("timeout_seconds":30.5,"grace_period_seconds":60.0)")) << log_;
  clock_.Advance(Duration{60'000});
  task_->Tick();
  EXPECT_EQ(signals_, (std::vector<int>{SIGTERM, SIGKILL}));
}

TEST_F(TaskOutcomeTest, ATaskThatHasToldItsEndHasNoTimeLimit) {
  Start();
  Ask({{"timeout_seconds", 1.0}, {"type", "SetExecutionTimeout"}});
  Ask({{"state", "success"}, {"type", "SucceedTask"}});
  api_.Answer(204);
  clock_.Advance(Duration{61'000});
  task_->Tick();
  EXPECT_FALSE(Said("execution_timeout"));
}

TEST_F(TaskOutcomeTest, ATimeLimitThatIsNoneIsIgnored) {
  Start();
  for (const auto& limit : {Json("soon"), Json(nullptr), Json(1e300)})
    Ask({{"timeout_seconds", limit}, {"type", "SetExecutionTimeout"}});
  clock_.Advance(Duration{100'000'000});
  task_->Tick();
  EXPECT_FALSE(Said("execution_timeout"));
}

TEST_F(TaskOutcomeTest, AServerOutOfReachIsSaidInTheTasksLog) {
  task_->Begin(42);
  for (int attempt = 0; attempt < 3; ++attempt) {
    api_.FailToConnect();
    clock_.Advance(Duration{4000});
    task_->Tick();
  }
  EXPECT_TRUE(Said("::endgroup::"));
  EXPECT_TRUE(Said("Could not reach the Execution API server"));
  EXPECT_TRUE(Said("http://api/execution/"));
}

TEST_F(TaskOutcomeTest, EveryLineOfTheLogNamesTheTask) {
  Start();
  task_->OnText("printed", false);
  task_->OnLogEvent(R"({"timestamp":"2026-01-02T03:04:05Z","level":"info","event":"said"})");
  const auto text = log_;
  for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
    EXPECT_EQ(Json::parse(text.substr(at, text.find('\n', at) - at))["ti_id"], "TI");
  EXPECT_NE(text, "");
}

}  // namespace
}  // namespace zkexec
