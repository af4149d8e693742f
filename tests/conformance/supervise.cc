// SPDX-License-Identifier: Apache-2.0
// zkexec_supervise: the worker's launcher without a worker, for the tests of conformance.
//
// Reads JSON lines from stdin: {"id", "workload"}, the latter Airflow's JSON as a
// string, starts a run; {"kill": id, "signal": "term" | "kill"} ends one. Writes a
// line {"id", "outcome", "info"} per end. Ends itself when stdin is closed and all
// runs have ended. Everything else that anyone says goes to stderr.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "common/clock.h"
#include "common/event_loop.h"
#include "worker/observer.h"
#include "worker/supervise/api_client.h"
#include "worker/supervise/native_launcher.h"
#include "worker/zygote.h"

namespace zkexec {
namespace {

constexpr Duration kTurn{200};

// The lines from stdin, and those to stdout. No-one below may read or write either.
class Lines : public PollSource, public Launcher::Listener {
 public:
  Lines(int in, int out) : in_(in), out_(out) {}

  void SetLauncher(Launcher* launcher) { launcher_ = launcher; }
  bool done() const { return closed_ && runs_.empty(); }

  Request Prepare() override {
    Request request;
    if (closed_) return request;
    request.fd = in_;
    request.events = POLLIN;
    return request;
  }

  void Ready(short revents) override {
    if (closed_ || revents == 0) return;
    char chunk[65536];
    const auto got = read(in_, chunk, sizeof chunk);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
      closed_ = true;
      return;
    }
    text_.append(chunk, static_cast<std::size_t>(got));
    for (auto end = text_.find('\n'); end != std::string::npos; end = text_.find('\n')) {
      Obey(nlohmann::json::parse(text_.substr(0, end)));
      text_.erase(0, end + 1);
    }
  }

  void OnExit(const ExitReport& report) override {
    runs_.erase(report.dispatch_id);
    Say({{"id", report.dispatch_id}, {"outcome", report.outcome}, {"info", report.info}});
  }

 private:
  void Obey(const nlohmann::json& line) {
    if (line.contains("kill")) {
      const bool kill = line.at("signal") == "kill";
      launcher_->Kill(line.at("kill"),
                      kill ? Launcher::Signal::kKill : Launcher::Signal::kTerminate);
      return;
    }
    const std::string id = line.at("id");
    runs_.insert(id);
    launcher_->Start(id, line.at("workload"));
  }

  void Say(const nlohmann::json& line) {
    auto text = line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    while (!text.empty()) {
      const auto written = write(out_, text.data(), text.size());
      if (written < 0 && errno != EINTR) return;  // the reader is gone, and stdin soon
      if (written > 0) text.erase(0, static_cast<std::size_t>(written));
    }
  }

  const int in_;
  const int out_;
  Launcher* launcher_ = nullptr;
  std::set<std::string> runs_;
  std::string text_;
  bool closed_ = false;
};

// Who supervised and what was forked from, on stderr.
class Told : public Observer {
 public:
  void OnSupervised(const std::string& by, const std::string& reason) override {
    std::cerr << "supervised by=" << by << " reason=" << reason << '\n';
  }
  void OnForked(const std::string& how) override { std::cerr << "forked from=" << how << '\n'; }
};

// Keeps stdin and stdout to ourselves: the zygote and what it forks inherit the
// descriptors 0 to 2.
Lines TakeStandardStreams() {
  const int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
  const int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  close(nothing);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return {in, out};
}

int Main(const std::string& python) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  auto lines = TakeStandardStreams();
  SystemClock clock;
  EventLoop loop;
  auto opened = Zygote::Open(python, loop, clock);
  if (!opened) {
    std::cerr << opened.error().message << '\n';
    return 2;
  }
  auto& zygote = **opened;
  const auto wanted = ApiClient::Options::Make(zygote.configuration());
  auto api = wanted ? ApiClient::Open(*wanted, loop) : wanted.error();
  if (!api) {
    std::cerr << api.error().message << '\n';
    return 2;
  }
  Told told;
  NativeLauncher launcher(NativeLauncher::Options::Make(zygote.configuration()), zygote, api->get(),
                          loop, clock, told);
  lines.SetLauncher(&launcher);
  launcher.SetListener(&lines);
  while (!zygote.ready()) {
    if (!zygote.fatal().empty()) {
      std::cerr << zygote.fatal() << '\n';
      return 2;
    }
    loop.Turn(kTurn);
  }
  loop.Add(&lines);
  while (!lines.done()) loop.Turn(kTurn);
  loop.Remove(&lines);
  return 0;
}

}  // namespace
}  // namespace zkexec

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: zkexec_supervise PYTHON\n";
    return 64;
  }
  return zkexec::Main(argv[1]);
}
