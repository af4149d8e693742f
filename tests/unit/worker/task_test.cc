// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task.h"

#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_execution_api.h"

namespace zkexec {
namespace {

constexpr char kRun[] = R"({"max_tries":0,"should_retry":false,"dag_run":{}})";
constexpr char kRunWithRetries[] = R"({"max_tries":1,"should_retry":true,"dag_run":{}})";

std::string Pack(const nlohmann::ordered_json& request) {
  const auto bytes = nlohmann::ordered_json::to_msgpack(request);
  return {bytes.begin(), bytes.end()};
}

class TaskTest : public ::testing::Test, public Task::Io {
 protected:
  TaskTest() {
    settings_.dialect = Dialect::k33;  // task_outcome_test.cc has what is other since
    settings_.hostname = "here";
    settings_.unixname = "airflow";
    settings_.heartbeat_interval = Duration{5000};
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
  void SendLoggingChannel(std::int64_t id) override { channels_.push_back(id); }
  void Signal(int number, bool whole_group) override {
    signals_.push_back(whole_group ? -number : number);
  }
  void Log(const std::string& lines) override { log_ += lines; }
  void AskHelper(const std::string& payload, std::function<void(std::string frame)> done) override {
    asked_.push_back(payload);
    done(helper_answer_);
  }
  void UploadLog(std::function<void()> done) override {
    ++uploads_;
    done();
  }
  void CloseStreams() override { ++closed_; }
  void Done(const ExitReport& report) override { reports_.push_back(report); }

  void Start(const char* context = kRun) {
    task_->Begin(42);
    api_.Answer(200, context);
  }
  void Ask(int id, const nlohmann::ordered_json& body) {
    task_->OnRequest(Pack(nlohmann::ordered_json::array({id, body, nullptr})));
  }
  void End(int code) {
    task_->OnExit({code, 1024 * 1024});
    task_->OnStreamsClosed();
  }
  const ApiRequest& last() const { return api_.requests.back(); }

  FakeClock clock_;
  FakeExecutionApi api_;
  SuperviseSettings settings_;
  std::unique_ptr<Task> task_;
  std::vector<std::string> frames_;
  std::vector<std::int64_t> channels_;
  std::vector<int> signals_;
  std::vector<std::string> asked_;
  std::string helper_answer_;
  std::string log_;
  int uploads_ = 0;
  int closed_ = 0;
  std::vector<ExitReport> reports_;
};

TEST_F(TaskTest, TheApiServerIsToldBeforeTheTaskIs) {
  task_->Begin(42);
  EXPECT_TRUE(frames_.empty());
  EXPECT_EQ(last().path, "task-instances/TI/run");
  const auto body = nlohmann::json::parse(last().body);
  EXPECT_EQ(body["pid"], 42);
  EXPECT_EQ(body["hostname"], "here");
  api_.Answer(200, kRun);
  EXPECT_EQ(frames_.size(), 1u);
}

TEST_F(TaskTest, ASuccessIsToldOnceAndReportedWhenTheStreamsAreRead) {
  Start();
  Ask(0, {{"state", "success"}, {"end_date", "2026-01-02T03:04:05Z"}, {"type", "SucceedTask"}});
  EXPECT_EQ(last().path, "task-instances/TI/state");
  api_.Answer(204);
  task_->OnExit({0, 0});
  EXPECT_TRUE(reports_.empty());
  task_->OnStreamsClosed();
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "success");
  EXPECT_EQ(api_.requests.size(), 2u);
}

TEST_F(TaskTest, ASuccessThatTheApiServerDidNotTakeIsSentAgainAtTheEnd) {
  Start();
  Ask(0, {{"state", "success"}, {"type", "SucceedTask"}});
  api_.Answer(400, "{\"detail\":\"no\"}");
  End(0);
  EXPECT_TRUE(reports_.empty());
  EXPECT_EQ(last().body, "{\"state\":\"success\"}");
  api_.Answer(204);
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "success");
}

TEST_F(TaskTest, AFailedTaskIsToldAtItsEnd) {
  Start();
  Ask(0, {{"state", "failed"}, {"rendered_map_index", "m"}, {"type", "TaskState"}});
  EXPECT_EQ(api_.requests.size(), 1u);
  End(0);
  EXPECT_EQ(nlohmann::json::parse(last().body)["state"], "failed");
  EXPECT_EQ(nlohmann::json::parse(last().body)["rendered_map_index"], "m");
  api_.Answer(204);
  EXPECT_EQ(reports_.at(0).outcome, "success");
}

TEST_F(TaskTest, AKilledTaskWithRetriesIsLeftToTheScheduler) {
  Start(kRunWithRetries);
  End(-SIGKILL);
  EXPECT_EQ(api_.requests.size(), 1u);
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "failed");
  EXPECT_NE(reports_[0].info.find("SIGKILL, probably out of memory (its peak was 1024 MB)"),
            std::string::npos);
  EXPECT_NE(log_.find("Likely out of memory"), std::string::npos);
  EXPECT_NE(log_.find("\"peak_memory_mb\":1024"), std::string::npos);
}

TEST_F(TaskTest, AKilledTaskWithoutRetriesIsFailed) {
  Start();
  End(-SIGTERM);
  EXPECT_EQ(nlohmann::json::parse(last().body)["state"], "failed");
  api_.Answer(204);
  EXPECT_EQ(reports_.at(0).outcome, "failed");
}

TEST_F(TaskTest, ARefusedStartKillsTheTaskAndSaysWhatItMeans) {
  const std::vector<std::tuple<int, const char*, const char*>> cases{
      {409, R"({"detail":{"reason":"invalid_state","previous_state":"running"}})",
       "already_running"},
      {409, R"({"detail":{"reason":"invalid_state","previous_state":"failed"}})", "stale"},
      {404, R"({"detail":"not there"})", "stale"},
      {401, R"({"detail":"no"})", "token"},
      {403, R"({"detail":"no"})", "token"},
      {422, R"({"detail":"no"})", "failed"}};
  for (const auto& [status, body, outcome] : cases) {
    reports_.clear();
    signals_.clear();
    TaskTest::task_ = std::make_unique<Task>(task_->spec(), settings_, api_, clock_, *this, 1);
    task_->Begin(42);
    api_.Answer(status, body);
    EXPECT_EQ(signals_, std::vector<int>{-SIGKILL});
    End(-SIGKILL);
    EXPECT_EQ(reports_.at(0).outcome, outcome) << status;
  }
  EXPECT_EQ(log_, "");
}

TEST_F(TaskTest, AStartThatNobodyAnswersIsGivenUpWhenTheProcessHasEnded) {
  task_->Begin(42);
  api_.FailToConnect();
  task_->Kill(Launcher::Signal::kTerminate);
  End(-SIGTERM);
  EXPECT_FALSE(api_.waits());
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "failed");
  EXPECT_EQ(reports_[0].info, "connection refused");
}

TEST_F(TaskTest, AStartUnderWayWhenTheProcessEndsIsAwaitedButNotSentAgain) {
  task_->Begin(42);
  End(-SIGTERM);
  EXPECT_TRUE(reports_.empty());
  api_.FailToConnect();
  EXPECT_FALSE(api_.waits());
  EXPECT_EQ(reports_.size(), 1u);
}

TEST_F(TaskTest, AStartThatIsNeverAnsweredHoldsAnEndedProcessForAMomentOnly) {
  task_->Begin(42);
  End(-SIGTERM);
  EXPECT_EQ(task_->due() - clock_.Now(), Duration{2000});
  clock_.Advance(Duration{2000});
  task_->Tick();
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "failed");
  api_.Answer(200, kRun);  // too late: goes nowhere
  EXPECT_EQ(reports_.size(), 1u);
  EXPECT_FALSE(api_.waits());
}

TEST_F(TaskTest, WhatWasAskedBeforeAStartThatIsNeverAnsweredHoldsAnEndedProcessNoLonger) {
  task_->Begin(42);
  Ask(0, {{"key", "k"}, {"type", "GetVariable"}});
  Ask(1, {{"state", "success"}, {"end_date", "2026-01-02T03:04:05Z"}, {"type", "SucceedTask"}});
  End(-SIGTERM);
  clock_.Advance(Duration{2000});
  task_->Tick();
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].outcome, "failed");
}

TEST_F(TaskTest, AStartAnsweredAfterTheProcessEndedIsFollowedByTheFailure) {
  task_->Begin(42);
  End(-SIGTERM);
  api_.Answer(200, kRun);
  ASSERT_TRUE(api_.waits());
  EXPECT_NE(last().body.find("\"state\":\"failed\""), std::string::npos);
  api_.FailToConnect();  // is tried again: somebody has to know
  clock_.Advance(Duration{1000});
  task_->Tick();
  EXPECT_TRUE(api_.waits());
}

TEST_F(TaskTest, HeartbeatsAreSentEveryIntervalUntilTheTaskHasTold) {
  Start();
  task_->Tick();
  EXPECT_EQ(api_.requests.size(), 1u);
  clock_.Advance(Duration{5000});
  task_->Tick();
  EXPECT_EQ(last().path, "task-instances/TI/heartbeat");
  api_.Answer(204);
  Ask(0, {{"state", "skipped"}, {"type", "TaskState"}});
  clock_.Advance(Duration{6000});
  task_->Tick();
  EXPECT_EQ(api_.requests.size(), 2u);
}

TEST_F(TaskTest, ATaskThatTheServerStoppedIsTerminatedThenKilled) {
  Start();
  clock_.Advance(Duration{5000});
  task_->Tick();
  api_.Answer(409, R"({"detail":{"reason":"not_running"}})");
  EXPECT_EQ(signals_, std::vector<int>{-SIGTERM});
  clock_.Advance(Duration{5000});
  task_->Tick();
  EXPECT_EQ(signals_, (std::vector<int>{-SIGTERM, -SIGKILL}));
  End(-SIGKILL);
  EXPECT_EQ(reports_.size(), 1u);
  EXPECT_EQ(api_.requests.size(), 2u);
  EXPECT_NE(log_.find("shouldn't be running anymore"), std::string::npos);
  EXPECT_NE(log_.find("Task killed!"), std::string::npos);
}

TEST_F(TaskTest, HeartbeatsThatFailTooOftenEndTheTask) {
  Start();
  for (int beat = 0; beat < 3; ++beat) {
    clock_.Advance(Duration{5000});
    task_->Tick();
    for (int attempt = 0; attempt < 3; ++attempt) {
      EXPECT_TRUE(signals_.empty());
      api_.FailToConnect();
      clock_.Advance(Duration{4000});
      task_->Tick();
    }
  }
  EXPECT_EQ(signals_, std::vector<int>{-SIGTERM});
}

TEST_F(TaskTest, ATaskThatDoesNotEndAfterItsSuccessIsTerminated) {
  Start();
  Ask(0, {{"state", "success"}, {"type", "SucceedTask"}});
  api_.Answer(204);
  clock_.Advance(Duration{20001});
  task_->Tick();
  EXPECT_EQ(signals_, std::vector<int>{-SIGTERM});
}

TEST_F(TaskTest, RequestsAreAnsweredInTheirOrder) {
  Start();
  Ask(1, {{"key", "a"}, {"type", "GetVariable"}});
  Ask(2, {{"value", "hush-hush"}, {"type", "MaskSecret"}});
  EXPECT_EQ(frames_.size(), 1u);
  api_.Answer(200, R"({"key":"a","value":"b"})");
  ASSERT_EQ(frames_.size(), 3u);
  EXPECT_EQ(frames_[1][5], 1);
  EXPECT_EQ(frames_[2][5], 2);
  task_->OnText("it is hush-hush", false);
  EXPECT_NE(log_.find("it is ***"), std::string::npos);
}

TEST_F(TaskTest, AConnectionsSecretsAreMaskedBeforeTheTaskKnowsThem) {
  Start();
  Ask(1, {{"conn_id", "c"}, {"type", "GetConnection"}});
  api_.Answer(200, R"({"conn_id":"c","conn_type":"x","password":"pass-word","extra":"{\"a\":1}"})");
  task_->OnText("pass-word {\"a\":1}", true);
  EXPECT_NE(log_.find("*** ***"), std::string::npos) << log_;
}

TEST_F(TaskTest, AMessageThatTheTableLacksIsAnsweredByTheHelper) {
  Start();
  helper_answer_ = "a frame";
  Ask(1, {{"type", "NewInAirflow4"}});
  EXPECT_EQ(asked_.size(), 1u);
  EXPECT_EQ(frames_.back(), "a frame");
  helper_answer_ = "";
  Ask(2, {{"type", "NewInAirflow4"}});
  EXPECT_NE(frames_.back().find("Unhandled request"), std::string::npos);
}

TEST_F(TaskTest, GarbageOnTheChannelEndsTheTaskWithAReason) {
  Start();
  task_->OnRequest("garbage");
  EXPECT_EQ(signals_, std::vector<int>{-SIGTERM});
  EXPECT_NE(log_.find("file descriptor 0"), std::string::npos);
  End(-SIGTERM);
  api_.Answer(204);
  EXPECT_NE(reports_.at(0).info.find("file descriptor 0"), std::string::npos);
}

TEST_F(TaskTest, ARefreshedTokenIsUsedFromThenOn) {
  task_->Begin(42);
  ApiAnswer answer;
  answer.status = 200;
  answer.body = kRun;
  answer.refreshed_token = "second";
  api_.Answer(answer);
  Ask(1, {{"key", "a"}, {"type", "GetVariable"}});
  EXPECT_EQ(api_.tokens, (std::vector<std::string>{"first", "second"}));
}

TEST_F(TaskTest, A5xxIsTriedAgainAfterAPause) {
  Start();
  Ask(1, {{"key", "a"}, {"type", "GetVariable"}});
  api_.Answer(503, "{\"detail\":\"busy\"}");
  EXPECT_EQ(frames_.size(), 1u);
  clock_.Advance(Duration{999});
  task_->Tick();
  EXPECT_FALSE(api_.waits());
  clock_.Advance(Duration{1});
  task_->Tick();
  ASSERT_TRUE(api_.waits());
  api_.Answer(200, R"({"key":"a","value":"b"})");
  EXPECT_EQ(frames_.size(), 2u);
}

TEST_F(TaskTest, StreamsThatSomebodyHoldsOpenAreClosedAfterAWhile) {
  Start(kRunWithRetries);
  task_->OnExit({0, 0});
  clock_.Advance(Duration{59999});
  task_->Tick();
  EXPECT_EQ(closed_, 0);
  clock_.Advance(Duration{1});
  task_->Tick();
  EXPECT_EQ(closed_, 1);
  EXPECT_EQ(reports_.size(), 1u);
}

TEST_F(TaskTest, AnExistingDagRunIsClearedWhenTheTaskAsksForThat) {
  Start();
  Ask(1, {{"dag_id", "d"}, {"run_id", "r"}, {"reset_dag_run", true}, {"type", "TriggerDagRun"}});
  api_.Answer(409, "{\"detail\":\"exists\"}");
  EXPECT_EQ(last().path, "dag-runs/d/r/clear");
  api_.Answer(204);
  EXPECT_NE(frames_.back().find("OKResponse"), std::string::npos);
  Ask(2, {{"dag_id", "d"}, {"run_id", "r"}, {"type", "TriggerDagRun"}});
  api_.Answer(409, "{\"detail\":\"exists\"}");
  EXPECT_NE(frames_.back().find("DAGRUN_ALREADY_EXISTS"), std::string::npos);
}

TEST_F(TaskTest, TheLogIsUploadedAfterTheLastState) {
  settings_.remote_logs = true;
  auto spec = task_->spec();
  spec.log_path = "a.log";
  TaskTest::task_ = std::make_unique<Task>(spec, settings_, api_, clock_, *this, 1);
  Start();
  End(1);
  EXPECT_EQ(uploads_, 0);
  api_.Answer(204);
  EXPECT_EQ(uploads_, 1);
  EXPECT_EQ(reports_.size(), 1u);
}

struct StrangeStart {
  int status;
  const char* body;
  const char* outcome;
};

// None of these may end anything but this run.
TEST_F(TaskTest, AStrangeAnswerToTheStartIsARefusalWithItsReason) {
  const std::string deep(100'000, '[');
  const auto deep_context = R"({"should_retry":false,"dag_run":)" + deep + "}";
  const auto deep_error = R"({"detail":)" + deep + std::string(100'000, ']') + "}";
  const StrangeStart answers[] = {
      {200, R"({"should_retry":[]})", "failed"},
      {200, R"({"should_retry":{}})", "failed"},
      {200, R"({"should_retry":2})", "failed"},
      {200, R"({"should_retry":1e400})", "failed"},
      {200, R"({"should_retry":"perhaps"})", "failed"},
      {200, "[]", "failed"},
      {200, "null", "failed"},
      {200, "18446744073709551616", "failed"},
      {200, "{\"a\":\"\xff\"}", "failed"},
      {200, R"({"dag_run":18446744073709551616})", "failed"},
      {200, deep_context.c_str(), "failed"},
      {409, R"({"detail":{"reason":null,"previous_state":null}})", "stale"},
      {409, R"({"detail":{"reason":[],"previous_state":1}})", "stale"},
      {409, R"({"detail":null})", "stale"},
      {409, R"({"detail":[[]]})", "stale"},
      {409, R"({"detail":5})", "stale"},
      {409, "[1]", "failed"},
      {409, "\"x\"", "failed"},
      {409, deep_error.c_str(), "failed"},
      {404, R"({"detail":{}})", "stale"},
      {401, R"({"detail":null})", "token"},
      {307, "", "failed"},
      {304, R"({"detail":null})", "failed"},
      {-1, "{}", "failed"},
  };
  for (const auto& answer : answers) {
    TaskSpec spec = task_->spec();
    Task task(spec, settings_, api_, clock_, *this, 1);
    reports_.clear();
    task.Begin(42);
    api_.Answer(answer.status, answer.body);
    task.OnExit({-SIGKILL, 0});
    task.OnStreamsClosed();
    const std::string shown = std::string(answer.body).substr(0, 60);
    ASSERT_EQ(reports_.size(), 1u) << shown;
    EXPECT_EQ(reports_[0].outcome, answer.outcome) << shown;
    EXPECT_FALSE(reports_[0].info.empty()) << shown;
  }
}

// A proxy's page, or its JSON: that the task is not wanted any more is for Airflow to say.
TEST_F(TaskTest, AStartThatSomebodyElseThanAirflowRefusesFailsTheRunWithItsReason) {
  struct Page {
    int status;
    const char* type;
    const char* body;
    const char* outcome;
  };
  const Page pages[] = {
      {404, "text/html", "<html>no such upstream</html>", "failed"},
      {409, "text/html", "<html>conflict</html>", "failed"},
      {404, "text/plain", R"({"detail":"not there"})", "failed"},
      {404, "application/json", R"({"message":"no Route matched with those values"})", "failed"},
      {409, "application/json", "", "failed"},
      {404, "application/json", R"({"detail":"not there"})", "stale"},
  };
  for (const auto& page : pages) {
    Task task(TaskSpec(task_->spec()), settings_, api_, clock_, *this, 1);
    reports_.clear();
    task.Begin(42);
    ApiAnswer answer;
    answer.status = page.status;
    answer.content_type = page.type;
    answer.body = page.body;
    api_.Answer(answer);
    task.OnExit({-SIGKILL, 0});
    task.OnStreamsClosed();
    ASSERT_EQ(reports_.size(), 1u) << page.body;
    EXPECT_EQ(reports_[0].outcome, page.outcome) << page.status << page.body;
    EXPECT_NE(reports_[0].info.find("status " + std::to_string(page.status)), std::string::npos)
        << reports_[0].info;
  }
}

TEST_F(TaskTest, ShouldRetryIsReadAsPydanticReadsIt) {
  for (const auto& [text, code] : std::vector<std::pair<const char*, bool>>{{"true", true},
                                                                            {"1", true},
                                                                            {"1.0", true},
                                                                            {"\"Yes\"", true},
                                                                            {"\"on\"", true},
                                                                            {"null", false},
                                                                            {"false", false},
                                                                            {"0", false},
                                                                            {"\"F\"", false},
                                                                            {"\"0\"", false}}) {
    TaskSpec spec = task_->spec();
    Task task(spec, settings_, api_, clock_, *this, 1);
    task.Begin(42);
    api_.Answer(200, std::string("{\"should_retry\":") + text + "}");
    const auto before = api_.requests.size();
    task.OnExit({1, 0});
    task.OnStreamsClosed();
    // Who may not retry is told to have failed.
    EXPECT_EQ(api_.requests.size() - before, code ? 0u : 1u) << text;
    if (api_.waits()) api_.Answer(204);
  }
}

TEST_F(TaskTest, ALongRefusalIsCutBetweenCharactersInTheReport) {
  task_->Begin(42);
  std::string text = "x";
  for (int i = 0; i < 100'000; ++i) text += "é";
  api_.Answer(409, nlohmann::json{{"detail", text}}.dump());
  End(-SIGKILL);
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_LT(reports_[0].info.size(), 2000u);
  EXPECT_NO_THROW(nlohmann::json(reports_[0].info).dump()) << "it is UTF-8 still";
}

TEST_F(TaskTest, AStrangeAnswerToAHeartbeatStopsTheTaskOnlyIfItIsAnError) {
  const std::string deep =
      R"({"detail":)" + std::string(100'000, '[') + std::string(100'000, ']') + "}";
  const std::vector<std::pair<const char*, bool>> answers{
      {R"({"detail":null})", true}, {R"({"detail":5})", true}, {"[1]", true}, {"null", true},
      {"{not json", false},         {deep.c_str(), false},     {"", false}};
  for (const auto& [body, stops] : answers) {
    TaskSpec spec = task_->spec();
    Task task(spec, settings_, api_, clock_, *this, 1);
    signals_.clear();
    task.Begin(42);
    api_.Answer(200, kRun);
    clock_.Advance(settings_.heartbeat_interval);
    task.Tick();
    api_.Answer(409, body);
    EXPECT_EQ(signals_.size(), stops ? 1u : 0u) << std::string(body).substr(0, 60);
  }
}

}  // namespace
}  // namespace zkexec
