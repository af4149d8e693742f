// SPDX-License-Identifier: Apache-2.0
// zkexec_noop_worker: workers whose tasks succeed at once. Agent, coordinator and
// loop are the real ones; only the launcher starts no process. K workers, each with
// a session of its own, share one process and one thread.
//
// Prints "ready <seconds>" once all are registered. SIGTERM ends it, without a
// drain; it then writes --report: counts, and for each tag of the driver's the
// latencies from placing to the start of the task (its claim is committed by then).
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/counting_coordinator.h"
#include "bench/histogram.h"
#include "bench/usage.h"
#include "common/event_loop.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/zookeeper_coordinator.h"
#include "worker/agent.h"

namespace zkexec::bench {
namespace {

constexpr Duration kTick{100};

struct Flags {
  std::string hosts = "127.0.0.1:2181";
  std::string root = "/bench";
  std::string secret = "secret-of-the-benchmark";
  std::string report;
  int workers = 1;
  int slots = 64;
  int partitions = 64;
  int session_timeout_ms = 15000;
  std::vector<std::string> queues{"default"};
};

struct Seen {
  CountingCoordinator::Counts counts;
  std::int64_t started = 0;
  std::int64_t claimed = 0;
  std::int64_t claims_lost = 0;
  std::map<std::string, Histogram> latency;  // by the driver's tag
};

class NoJournal : public Journal {
 public:
  void Keep(const JournalRecord&) override {}
  void Forget(const std::string&) override {}
  std::vector<JournalRecord> TakeOver() override { return {}; }
};

class CountingObserver : public Observer {
 public:
  explicit CountingObserver(Seen& seen) : seen_(seen) {}
  void OnClaimed(int count) override { seen_.claimed += count; }
  void OnClaimLost() override { ++seen_.claims_lost; }

 private:
  Seen& seen_;
};

// The text between `before` and the next `until`, or nothing.
std::string Between(const std::string& text, const std::string& before, char until) {
  const auto at = text.find(before);
  if (at == std::string::npos) return {};
  const auto from = at + before.size();
  return text.substr(from, text.find(until, from) - from);
}

class NoopLauncher : public Launcher {
 public:
  NoopLauncher(EventLoop& loop, Seen& seen) : loop_(loop), seen_(seen) {}
  void SetListener(Listener* listener) { listener_ = listener; }

  void Start(const std::string& dispatch_id, const std::string& workload) override {
    ++seen_.started;
    const auto placed = std::strtoll(Between(workload, "\"placed_ns\":", ',').c_str(), nullptr, 10);
    seen_.latency[Between(workload, "\"tag\":\"", '"')].Add((NowNs() - placed) / 1000);
    if (ended_.empty()) loop_.Post([this] { EndAll(); });
    ended_.push_back(dispatch_id);
  }
  void Kill(const std::string&, Signal) override {}

 private:
  void EndAll() {
    for (const auto& id : std::exchange(ended_, {})) listener_->OnExit({id, "success", ""});
  }

  EventLoop& loop_;
  Seen& seen_;
  Listener* listener_ = nullptr;
  std::vector<std::string> ended_;
};

Agent::Options AgentOptions(const Flags& flags, int number) {
  Agent::Options options;
  options.worker = "noop-" + std::to_string(number) + "-" + RandomHex().substr(0, 8);
  options.host = HostName();
  options.pid = getpid();
  options.version = "bench";
  options.queues = flags.queues;
  options.slots = flags.slots;
  options.partitions = flags.partitions;
  return options;
}

// One worker. Its agent's Tick() is due when its client had something to do, and
// every 100 ms; not at every turn of a loop that a thousand of them share.
class Worker : public PollSource {
 public:
  Worker(const Flags& flags, int number, const Layout& layout, const Sealer& sealer,
         const Clock& clock, EventLoop& loop, Seen& seen)
      : zk_(ZkOptions(flags), clock),
        counting_(zk_, seen.counts),
        observer_(seen),
        launcher_(loop, seen),
        agent_(AgentOptions(flags, number), counting_, layout, launcher_, clock, sealer, observer_,
               journal_) {
    launcher_.SetListener(&agent_);
  }
  Request Prepare() override { return zk_.Prepare(); }
  void Ready(short revents) override {
    zk_.Ready(revents);
    due_ = due_ || revents != 0;
  }
  void Tick(bool all) {
    if (all || std::exchange(due_, false)) agent_.Tick();
  }
  bool registered() const { return agent_.ready(); }

 private:
  static ZookeeperCoordinator::Options ZkOptions(const Flags& flags) {
    ZookeeperCoordinator::Options options;
    options.hosts = flags.hosts;
    options.session_timeout = Duration(flags.session_timeout_ms);
    return options;
  }

  ZookeeperCoordinator zk_;
  CountingCoordinator counting_;
  CountingObserver observer_;
  NoopLauncher launcher_;
  NoJournal journal_;
  Agent agent_;
  bool due_ = false;
};

class Terminated : public PollSource {
 public:
  explicit Terminated(EventLoop& loop) : loop_(loop) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~Terminated() override { close(fd_); }
  Request Prepare() override { return {fd_, POLLIN, Duration{60000}}; }
  void Ready(short revents) override {
    if (revents != 0) loop_.Stop();
  }

 private:
  EventLoop& loop_;
  int fd_ = -1;
};

void Report(const Flags& flags, const Seen& seen, double register_s) {
  auto latency = nlohmann::json::object();
  for (const auto& [tag, histogram] : seen.latency) latency[tag] = histogram.ToJson();
  std::ofstream(flags.report) << nlohmann::json{{"workers", flags.workers},
                                                {"register_s", register_s},
                                                {"started", seen.started},
                                                {"claimed", seen.claimed},
                                                {"claims_lost", seen.claims_lost},
                                                {"multis", seen.counts.multis},
                                                {"ops", seen.counts.ops},
                                                {"gets", seen.counts.gets},
                                                {"lists", seen.counts.lists},
                                                {"other_reads", seen.counts.other_reads},
                                                {"cpu_s", CpuSeconds()},
                                                {"peak_mb", PeakMegabytes()},
                                                {"latency_us", latency}};
}

int Run(const Flags& flags) {
  SetUpLogging("warning");
  const auto layout = Layout::Make(flags.root, "default");
  const auto sealer = Sealer::Make(flags.secret);
  if (!layout || !sealer) {
    std::cerr << "zkexec_noop_worker: bad --root or --secret\n";
    return 2;
  }
  const auto begun = NowNs();
  SystemClock clock;
  EventLoop loop;
  Seen seen;
  Terminated terminated(loop);
  loop.Add(&terminated);
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < flags.workers; ++i) {
    workers.push_back(std::make_unique<Worker>(flags, i, *layout, *sealer, clock, loop, seen));
    loop.Add(workers.back().get());
  }
  double register_s = -1;
  TimePoint all_due{};
  loop.SetTick(kTick, [&] {
    const bool all = clock.Now() >= all_due;
    if (all) all_due = clock.Now() + kTick;
    for (const auto& worker : workers) worker->Tick(all);
    if (register_s < 0 && all &&
        std::all_of(
            workers.begin(), workers.end(),
            [](const auto& worker) { return worker->registered(); })) {
      register_s = static_cast<double>(NowNs() - begun) / 1e9;
      std::cout << "ready " << register_s << std::endl;
    }
  });
  loop.Run();
  // Before the sessions are closed: a thousand of them take a while.
  if (!flags.report.empty()) Report(flags, seen, register_s);
  return 0;
}

}  // namespace
}  // namespace zkexec::bench

int main(int argc, char** argv) {
  zkexec::bench::Flags flags;
  CLI::App app("Workers whose tasks succeed at once, for bench/bench_dispatch.py.");
  app.add_option("--hosts", flags.hosts, "ZooKeeper servers")->capture_default_str();
  app.add_option("--root", flags.root, "path of the tree")->capture_default_str();
  app.add_option("--secret", flags.secret, "what workloads are sealed with");
  app.add_option("--report", flags.report, "JSON file, written at the end");
  app.add_option("--workers", flags.workers, "workers in this process")->capture_default_str();
  app.add_option("--slots", flags.slots, "of each worker")->capture_default_str();
  app.add_option("--partitions", flags.partitions, "if the tree is new")->capture_default_str();
  app.add_option("--session-timeout-ms", flags.session_timeout_ms, "")->capture_default_str();
  app.add_option("--queues", flags.queues, "comma-separated")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  return zkexec::bench::Run(flags);
}
