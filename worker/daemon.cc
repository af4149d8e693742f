// SPDX-License-Identifier: Apache-2.0
#include "worker/daemon.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <iostream>
#include <mutex>

#include "common/clock.h"
#include "common/event_loop.h"
#include "common/ids.h"
#include "common/log.h"
#include "common/zookeeper_coordinator.h"
#include "worker/agent.h"
#include "worker/descriptors.h"
#include "worker/file_journal.h"
#include "worker/guardian.h"
#include "worker/http/http_server.h"
#include "worker/http/listener.h"
#include "worker/metrics.h"
#include "worker/orphans.h"
#include "worker/retire.h"
#include "worker/supervise/api_client.h"
#include "worker/supervise/measured_api.h"
#include "worker/supervise/native_launcher.h"
#include "worker/version.h"
#include "worker/zygote.h"

namespace zkexec {
namespace {

constexpr Duration kTick{100};
// What costs a look into /proc is measured this often.
constexpr Duration kMeasureEvery{1000};
// The loop turns every 100 ms; a claim loop that stood still for this long is stuck.
constexpr Duration kStuck{10000};
// What the end may take: killing what runs, and the last words to ZooKeeper.
constexpr Duration kKillLimit{2000};
constexpr Duration kRetireLimit{2000};

// SIGTERM and SIGINT, as something to poll.
class Signals : public PollSource {
 public:
  // `guardian`: who hands signals on to us; 0 if nobody does.
  explicit Signals(pid_t guardian) : guardian_(guardian) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (guardian_ != 0) sigaddset(&set, StopSignal());
    // Before any thread starts: they inherit it, and the signals come here only.
    sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
  }
  ~Signals() override { close(fd_); }
  Request Prepare() override { return {fd_, POLLIN, Duration{60000}}; }
  void Ready(short revents) override {
    signalfd_siginfo info{};
    if (revents == 0 || read(fd_, &info, sizeof info) != sizeof info) return;
    if (static_cast<int>(info.ssi_signo) != StopSignal()) {
      ++direct_;
    } else if (static_cast<pid_t>(info.ssi_pid) == guardian_) {
      ++handed_on_;
    }
  }
  // How often we were asked to stop. A service manager that signals every process of
  // ours reaches us twice, once through the guardian, and means it once.
  int stops() const { return std::max(handed_on_, direct_); }

 private:
  const pid_t guardian_;
  int handed_on_ = 0;
  int direct_ = 0;
  int fd_ = -1;
};

class MetricsObserver : public Observer {
 public:
  explicit MetricsObserver(WorkerMetrics& metrics) : metrics_(metrics) {}
  void OnClaimed(int count) override { metrics_.ClaimSucceeded(count); }
  void OnClaimLost() override { metrics_.ClaimLost(1); }
  void OnWaited(double seconds) override { metrics_.Waited(seconds); }
  void OnStarted(const std::string& kind) override { metrics_.WorkloadStarted(kind); }
  void OnStartDelay(double seconds) override { metrics_.StartDelay(seconds); }
  void OnKilled(const std::string& cause) override { metrics_.Killed(cause); }
  void OnFinished(const std::string& kind, const std::string& outcome, double seconds) override {
    metrics_.WorkloadFinished(kind, outcome, seconds);
  }
  void OnRefused(const std::string& reason) override { metrics_.EntryRefused(reason); }
  void OnSupervised(const std::string& by, const std::string& reason) override {
    metrics_.Supervised(by, reason);
  }
  void OnForked(const std::string& how) override { metrics_.Forked(how); }
  void OnRunFault() override { metrics_.RunFault(); }
  void OnWarmProcess(const std::string& result) override { metrics_.WarmProcess(result); }

 private:
  WorkerMetrics& metrics_;
};

// What the loop thread knows, for the HTTP threads.
struct Vitals {
  std::atomic<std::int64_t> turned_ms{0};
  std::atomic<SessionState> session{SessionState::kConnecting};
  std::atomic<bool> registered{false};
  std::atomic<bool> zygote_ready{false};
  std::atomic<bool> draining{false};

  void SetError(const std::string& text) {
    const std::lock_guard lock(mutex);
    error = text;
  }
  // Why ZooKeeper can't be used; empty while it can.
  std::string Error() const {
    const std::lock_guard lock(mutex);
    return error;
  }
  bool Ready(const Clock& clock) const {
    return session == SessionState::kConnected && Turning(clock) && registered && zygote_ready &&
           !draining;
  }
  bool Turning(const Clock& clock) const {
    return Milliseconds(clock.Now()) - turned_ms < kStuck.count();
  }
  static std::int64_t Milliseconds(TimePoint time) {
    return std::chrono::duration_cast<Duration>(time.time_since_epoch()).count();
  }

 private:
  mutable std::mutex mutex;
  std::string error;  // guarded by mutex
};

HttpServer::Health Live(const Vitals& vitals, const Clock& clock) {
  const bool ok = vitals.Turning(clock);
  return {ok, nlohmann::json{{"status", ok ? "ok" : "stuck"}, {"loop_turning", ok}}.dump() + "\n"};
}

HttpServer::Health ReadyToWork(const Vitals& vitals, const Clock& clock) {
  const bool ok = vitals.Ready(clock);
  return {ok, nlohmann::json{{"status", ok ? "ok" : "not ready"},
                             {"session", ToString(vitals.session)},
                             {"registered", vitals.registered.load()},
                             {"loop_turning", vitals.Turning(clock)},
                             {"zygote_ready", vitals.zygote_ready.load()},
                             {"draining", vitals.draining.load()},
                             {"error", vitals.Error()}}
                      .dump() +
                  "\n"};
}

int Fatal(int code, const std::string& message) {
  std::cerr << "zk-worker: " << message << "\n";
  return code;
}

// What an operator should know of this configuration at every start.
void WarnOfRisks(const Settings& settings) {
  if (settings.digest_auth.empty()) {
    spdlog::warn(
        "ZooKeeper is open: whoever reaches it can kill tasks, drain workers, forge results and "
        "shut "
        "schedulers out option=\"[zk_executor] digest_auth\" value=\"\"");
  }
  for (const auto& secret : settings.exposed_secrets) {
    spdlog::warn(
        "a secret that no worker needs can be read on this host option=\"{}\" risk=\"{}\" "
        "remedy=\"leave it out of the workers' configuration, or set it empty\"",
        secret.option, secret.risk);
  }
}

// `guardian` is null if the process does not get as far as a session.
int RunWorker(const Flags& flags, GuardianLink* guardian) {
  BecomeSubreaper();
  SystemClock clock;
  EventLoop loop;
  Signals signals(guardian == nullptr ? 0 : guardian->pid());

  auto opened = Zygote::Open(flags.python, loop, clock);
  if (!opened) {
    const bool invalid = opened.error().code == ErrorCode::kInvalid;
    return Fatal(invalid ? kBadConfiguration : kZygoteFailed, opened.error().message);
  }
  auto& zygote = **opened;
  const auto settings = Settings::Make(zygote.configuration(), flags);
  if (!settings) return Fatal(kBadConfiguration, settings.error().message);
  SetUpLogging(settings->log_level);
  const auto layout = Layout::Make(settings->root, settings->team);
  if (!layout) return Fatal(kBadConfiguration, layout.error().message);
  const auto sealer = Sealer::Make(settings->secret);
  if (!sealer) return Fatal(kBadConfiguration, sealer.error().message);
  WarnOfRisks(*settings);
  if (flags.check_config) {
    std::cout << settings->Describe();
    return kDrained;
  }

  WorkerMetrics metrics;
  MetricsObserver observer(metrics);
  Vitals vitals;
  vitals.turned_ms = Vitals::Milliseconds(clock.Now());
  const LogAccess logs(settings->base_log_folder, settings->api_secret_key,
                       settings->log_clock_grace_s);
  HttpServer::Handlers handlers;
  handlers.metrics_text = [&metrics] { return metrics.Text(); };
  handlers.live = [&] { return Live(vitals, clock); };
  handlers.ready = [&] { return ReadyToWork(vitals, clock); };
  handlers.log_refused = [](int status, const std::string& reason) {
    spdlog::warn("log request refused status={} reason=\"{}\"", status, reason);
  };
  handlers.answered = [&metrics](int status) { metrics.HttpAnswered(std::to_string(status)); };
  handlers.dropped = [&metrics](const std::string& reason) { metrics.HttpDropped(reason); };
  const auto http = HttpServer::Open({settings->http_host, settings->http_port}, logs, handlers);
  if (!http) return Fatal(kPortTaken, http.error().message);

  ZookeeperCoordinator::Options zk_options;
  zk_options.hosts = settings->hosts;
  zk_options.session_timeout = settings->session_timeout;
  zk_options.digest_auth = settings->digest_auth;
  zk_options.on_latency = [&metrics](const char* op, double seconds) {
    metrics.ZkLatency(op, seconds);
  };
  const auto worker = EncodeComponent(settings->name) + "-" + RandomHex().substr(0, 8);
  zk_options.on_session = [&](const SessionCredentials& credentials) {
    guardian->Tell({credentials, settings->hosts, settings->digest_auth, settings->session_timeout,
                    worker, layout->Control(worker)});
  };
  ZookeeperCoordinator zk(zk_options, clock);

  Agent::Options options;
  options.worker = worker;
  options.host = settings->hostname;
  options.pid = getpid();
  options.version = kVersion;
  options.http_port = (*http)->port();
  options.queues = settings->queues;
  options.slots = settings->slots;
  options.slots_max = settings->slots_max;
  options.partitions = settings->partitions;
  options.relist_interval = settings->relist_interval;
  options.drain_timeout = settings->drain_timeout;
  options.kill_grace = settings->kill_grace;
  // A folder per tree: the results of one must not get into another.
  FileJournal journal(
      std::filesystem::path(settings->journal_dir) / EncodeComponent(layout->base()), worker, clock,
      [&metrics] { metrics.JournalFailed(); });
  auto supervision = NativeLauncher::Options::Make(zygote.configuration());
  std::unique_ptr<ApiClient> api;
  if (supervision.on && supervision.refusal.empty()) {
    const auto wanted = ApiClient::Options::Make(zygote.configuration());
    auto client = wanted ? ApiClient::Open(*wanted, loop) : wanted.error();
    if (client) {
      api = std::move(*client);
    } else if (supervision.required) {
      return Fatal(kBadConfiguration, client.error().message);
    } else {
      // Airflow's supervisor may make sense of it.
      spdlog::warn("tasks are supervised by Airflow error=\"{}\"", client.error().message);
      supervision.refusal = "api_client";
    }
  }
  std::unique_ptr<MeasuredApi> measured_api;
  if (api != nullptr) {
    measured_api = std::make_unique<MeasuredApi>(
        *api, clock, [&metrics](const char* kind, const char* status, double seconds) {
          metrics.ApiAnswered(kind, status, seconds);
        });
  }
  NativeLauncher launcher(supervision, zygote, measured_api.get(), loop, clock, observer);
  Agent agent(options, zk, *layout, launcher, clock, *sealer, observer, journal);
  launcher.SetListener(&agent);

  metrics.SetBuild(kVersion, settings->airflow_version,
                   static_cast<double>(clock.UnixMs()) / 1000.0);
  auto turned = clock.Now();
  TimePoint measure_at{};
  bool told_ready = false;
  int drains = 0;
  std::string told_error;
  bool guardian_died = false;
  guardian->SetOnDeath([&] {
    guardian_died = true;
    loop.Stop();
  });
  loop.Add(guardian);
  loop.Add(&signals);
  loop.Add(&zk);
  loop.SetTick(kTick, [&] {
    if (zk.last_error() != told_error) {
      told_error = zk.last_error();
      if (!told_error.empty())
        spdlog::warn("ZooKeeper not reachable, trying on error=\"{}\"", told_error);
    }
    const auto now = clock.Now();
    metrics.LoopLag(
        std::chrono::duration<double>(std::max(TimePoint::duration{0}, now - turned - kTick))
            .count());
    turned = now;
    agent.SetLauncherReady(zygote.ready());
    while (drains < signals.stops()) {
      agent.Drain();
      ++drains;
    }
    agent.Tick();
    journal.Tick();
    vitals.turned_ms = Vitals::Milliseconds(clock.Now());
    vitals.session = zk.state();
    vitals.registered = agent.ready();
    vitals.zygote_ready = zygote.ready();
    vitals.draining = agent.draining();
    if (!agent.last_error().empty() || !zk.last_error().empty()) {
      vitals.SetError(agent.last_error().empty() ? zk.last_error() : agent.last_error());
    } else {
      const bool connected = zk.state() == SessionState::kConnected;
      vitals.SetError(connected ? "" : "no connection to ZooKeeper at " + settings->hosts);
    }
    metrics.SetReady(vitals.Ready(clock));
    metrics.SetSlots(agent.slots(), agent.slots_used());
    metrics.SetRunning(agent.executing());
    metrics.SetResultsWaiting(agent.results_waiting(), journal.size());
    metrics.SetZygoteDeaths(zygote.deaths());
    metrics.SetLeaseLeft(std::chrono::duration<double>(zk.lease_until() - now).count());
    if (now >= measure_at) {
      measure_at = now + kMeasureEvery;
      const auto descriptors = CountDescriptors();
      metrics.SetDescriptors(descriptors.open, descriptors.most);
    }
    metrics.SetTaskMemory(launcher.MeasureMemory());
    metrics.SetWarmProcesses(launcher.warm_processes(), launcher.warm_memory_bytes());
    metrics.SetSessionState(ToString(zk.state()));
    if (!told_ready && agent.ready() && zygote.ready()) {
      told_ready = true;
      spdlog::info("worker ready name={} http={}", options.worker,
                   HostAndPort(settings->http_host, (*http)->port()));
    }
    if (agent.drained() || !zygote.fatal().empty()) loop.Stop();
  });
  spdlog::info("worker starting name={} version={} hosts={} root={} http={}", options.worker,
               kVersion, settings->hosts, settings->root,
               HostAndPort(settings->http_host, (*http)->port()));
  loop.Run();
  launcher.SetListener(nullptr);
  zk.SetListener(nullptr);
  loop.SetTick(kTick, {});
  loop.Remove(&zygote);
  loop.Remove(guardian);
  loop.Remove(&signals);
  if (guardian_died) {
    spdlog::critical("guardian died; ending tasks and self name={} guardian_pid={}", worker,
                     guardian->pid());
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &ended, nullptr);
    for (const int pid : KillOrphans(clock, kKillLimit)) {
      spdlog::error("a process does not end pid={} waited_ms={}", pid, kKillLimit.count());
    }
  }
  const auto retired =
      RemoveControl(loop, zk, layout->Control(worker), clock, kRetireLimit, nullptr);
  if (!retired) {
    spdlog::warn("cannot remove my control node name={} error=\"{}\"", worker,
                 retired.error().message);
  }
  loop.Remove(&zk);
  zk.Close();  // while the agent lives: what it waits for is answered now
  if (guardian_died) {
    // Not by the way of destructors: they wait for a process that may never end.
    _exit(kGuardianDied);
  }
  (*http)->Close();
  if (!zygote.fatal().empty()) return Fatal(kBadConfiguration, zygote.fatal());
  spdlog::info("drained; bye name={}", options.worker);
  return kDrained;
}

}  // namespace

int RunDaemon(const Flags& flags) {
  SetUpLogging(flags.log_level.value_or("info"));
  // Memory and environment of these processes hold every token and the keys.
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  if (flags.check_config) return RunWorker(flags, nullptr);
  return RunGuarded([&](GuardianLink& guardian) { return RunWorker(flags, &guardian); });
}

}  // namespace zkexec
