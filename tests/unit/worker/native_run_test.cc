// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/native_run.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_execution_api.h"
#include "tests/unit/worker/temp_folder.h"

namespace zkexec {
namespace {

constexpr char kRun[] = R"({"max_tries":0,"should_retry":false,"dag_run":{}})";

// Stands for Python: greets, and ends when its channel is closed.
constexpr char kZygote[] = R"(#!/bin/bash
printf '\0\0\0\021{"event":"hello"}' >&"$4"
exec cat <&"$4" >/dev/null
)";

// Throws at the requests of one task once it is told to.
class ThrowingApi : public FakeExecutionApi {
 public:
  void Send(ApiRequest request, const std::string& token, Callback done) override {
    if (!broken.empty() && request.path.starts_with("task-instances/" + broken))
      throw std::runtime_error("a broken client");
    FakeExecutionApi::Send(std::move(request), token, std::move(done));
  }
  std::string broken;
};

class Faults : public Observer {
 public:
  void OnRunFault() override { ++count; }
  int count = 0;
};

// A real process with real sockets, which only waits.
class Child {
 public:
  explicit Child(Poller& poller) : process(poller) {
    const auto sockets = process.Open();
    pid = fork();
    if (pid == 0) {
      setpgid(0, 0);
      for (;;) pause();
    }
    setpgid(pid, pid);
    for (const int fd : *sockets) close(fd);
    process.Attach(pid, static_cast<int>(syscall(SYS_pidfd_open, pid, 0)), [] {});
  }
  ~Child() {
    if (!waited) Kill();
  }
  void Kill() {
    kill(pid, SIGKILL);
    Wait();
  }
  // How it ended: minus the signal.
  int Wait() {
    int status = 0;
    waitpid(pid, &status, 0);
    waited = true;
    process.Reaped();
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  }
  TaskProcess process;
  pid_t pid = 0;
  bool waited = false;
};

class NativeRunTest : public ::testing::Test {
 protected:
  NativeRunTest() {
    const auto script = folder_.path() / "python";
    std::ofstream(script) << kZygote;
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    auto zygote = Zygote::Open(script, loop_, clock_);
    if (!zygote) throw std::runtime_error(zygote.error().message);
    zygote_ = std::move(*zygote);
    settings_.base_log_folder = folder_.path();
  }

  std::unique_ptr<NativeRun> MakeRun(const std::string& name) {
    TaskSpec spec;
    spec.dispatch_id = name;
    spec.ti_id = name;
    spec.ti_json = spec.bundle_json = "{}";
    spec.log_path = name + ".log";
    auto run = std::make_unique<NativeRun>(
        spec, settings_, api_, *zygote_, poller_, clock_, faults_, 1,
        [this](const ExitReport& report) { reports_.push_back(report); });
    EXPECT_TRUE(run->OpenLog());
    return run;
  }
  std::string Log(const std::string& name) {
    std::ifstream file(folder_.path() / (name + ".log"));
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TempFolder folder_;
  FakeClock clock_;
  EventLoop loop_;
  Poller poller_{loop_};
  ThrowingApi api_;
  Faults faults_;
  SuperviseSettings settings_;
  std::unique_ptr<Zygote> zygote_;
  std::vector<ExitReport> reports_;
};

TEST_F(NativeRunTest, AnExceptionEndsItsRunWithItsProcessAndSaysWhyWhileAnotherGoesOn) {
  Child broken_child(poller_);
  Child child(poller_);
  const auto broken = MakeRun("broken");
  const auto good = MakeRun("good");
  broken->Begin(&broken_child.process);
  good->Begin(&child.process);
  api_.Answer(200, kRun);
  api_.Answer(200, kRun);

  api_.broken = "broken";
  clock_.Advance(settings_.heartbeat_interval);
  broken->Tick();  // its heartbeat throws
  good->Tick();
  EXPECT_EQ(faults_.count, 1);
  EXPECT_TRUE(reports_.empty()) << "its process is there still";
  EXPECT_EQ(broken->due(), TimePoint::max());

  broken->OnExit({broken_child.Wait(), 0});
  ASSERT_EQ(reports_.size(), 1u);
  EXPECT_EQ(reports_[0].dispatch_id, "broken");
  EXPECT_EQ(reports_[0].outcome, "failed");
  EXPECT_NE(reports_[0].info.find("a broken client"), std::string::npos) << reports_[0].info;
  EXPECT_NE(Log("broken").find("a broken client"), std::string::npos);

  EXPECT_EQ(api_.requests.back().path, "task-instances/good/heartbeat");
  api_.Answer(204);
  child.Kill();
  good->OnExit({0, 0});
  good->OnStreamsClosed();
  ASSERT_EQ(reports_.size(), 2u);
  EXPECT_EQ(reports_[1].outcome, "success");
  EXPECT_EQ(faults_.count, 1);
}

TEST_F(NativeRunTest, AnExceptionBeforeTheStartIsAnsweredIsReportedWhenTheProcessHasEnded) {
  Child child(poller_);
  const auto run = MakeRun("broken");
  api_.broken = "broken";
  run->Begin(&child.process);
  EXPECT_TRUE(reports_.empty());
  EXPECT_EQ(child.Wait(), -SIGKILL);
  run->OnExit({-SIGKILL, 0});
  ASSERT_EQ(reports_.size(), 1u);
  run->OnExit({-SIGKILL, 0});
  EXPECT_EQ(reports_.size(), 1u);
}

}  // namespace
}  // namespace zkexec
