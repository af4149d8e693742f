// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/native_launcher.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <random>
#include <utility>

#include "common/log.h"
#include "worker/json_fields.h"

namespace zkexec {
namespace {

constexpr Duration kTick{20};
// How often to look whether the zygote can have its first warm process.
constexpr Duration kBaseLook{200};
// How long the server that forked a process may take to say how it ended.
constexpr Duration kExplanationMax{5000};
// A fork ahead takes a core for some milliseconds: not while the task that took the last starts.
constexpr Duration kReplaceAfter{100};
// On top of what Airflow gives to the parse of a file, for a process to come into being.
constexpr Duration kImportSlack{5000};
constexpr std::int64_t kMegabytesMax = 1 << 20;
// How long a server may take to fork. A fork takes milliseconds, on an overloaded machine a second.
constexpr Duration kSpawnMax{10000};
constexpr char kSilent[] = "the worker's process that forks tasks does not answer";
constexpr char kServerLost[] =
    "the worker's process that forked the task died, and the task with it";

}  // namespace

NativeLauncher::Options NativeLauncher::Options::Make(const nlohmann::json& handshake) {
  Options options;
  JsonFields all(handshake, "the zygote's handshake");
  const auto mode = all.Text("supervisor", "auto");
  options.on = mode != "airflow";
  options.required = mode == "native";
  options.idle_children = all.Int("warm_idle_children", options.idle_children, 0);
  options.warm.on = options.on && all.Text("warm", "imports") == "imports";
  options.warm.memory_bytes = all.Integer("warm_memory_mb", 1024, 0, kMegabytesMax) << 20;
  options.process.timeout = all.Seconds("import_timeout_s", Duration{30000}) + kImportSlack;
  options.process.dag_folders = all.Texts("dag_folders");
  const auto* found = all.Object("supervise");
  const auto settings = SuperviseSettings::Make(handshake);
  auto status = settings ? all.status() : Status(settings.error());
  if (found != nullptr) {
    JsonFields told(*found, "\"supervise\" of the zygote's handshake");
    options.refusal = told.Text("refusal");
    // Asked for by name, it is used with versions that it was not verified with.
    if (options.required && options.refusal == "airflow_version") options.refusal.clear();
    for (const auto& queue : told.Texts("foreign_queues")) options.foreign_queues.insert(queue);
    if (status) status = told.status();
  }
  if (settings) options.settings = *settings;
  if (!status)
    spdlog::error("tasks are supervised by Airflow error=\"{}\"", status.error().message);
  if (!status || found == nullptr) options.refusal = "handshake";
  if (!options.refusal.empty()) options.warm.on = false;  // no task would be forked from one
  return options;
}

NativeLauncher::NativeLauncher(Options options, Zygote& zygote, ExecutionApi* api, EventLoop& loop,
                               const Clock& clock, Observer& observer)
    : options_(std::move(options)),
      zygote_(zygote),
      api_(api),
      loop_(loop),
      clock_(clock),
      observer_(observer),
      poller_(loop),
      pace_(clock),
      warm_(options_.warm, WarmParts(), zygote, clock, observer) {
  zygote_.SetForkListener(this);
  loop_.Add(this);
}

WarmProcesses::Parts NativeLauncher::WarmParts() {
  WarmProcesses::Parts parts;
  parts.start = [this](const std::string& list, WarmProcess::Listener listener) {
    return std::make_unique<PythonWarmProcess>(list, options_.process, zygote_, loop_, clock_,
                                               *this, std::move(listener));
  };
  parts.can_start = [this] { return zygote_.ready(); };
  parts.scan = [this](nlohmann::json what, ImportScan::Done done) {
    what["dag_folders"] = options_.process.dag_folders;
    return std::make_shared<ImportScan>(zygote_, loop_, what, std::move(done));
  };
  parts.memory = ProportionalMemory;
  parts.ready = [this](ForkServer& server) { KeepIdle(server); };
  return parts;
}

NativeLauncher::~NativeLauncher() {
  loop_.Remove(this);
  zygote_.SetForkListener(nullptr);
  for (auto& [id, child] : children_) {
    child.process->SetListener(nullptr);
    child.process->Signal(SIGKILL, true);
  }
  runs_.clear();
  children_.clear();
}

void NativeLauncher::SetListener(Launcher::Listener* listener) {
  listener_ = listener;
  zygote_.SetListener(listener);
}

std::string NativeLauncher::WhyNotNative(const Result<TaskSpec>& spec) const {
  if (!options_.on) return "configured";
  if (!spec) return spec.error().code == ErrorCode::kNotFound ? "kind" : "workload";
  if (!options_.refusal.empty()) return options_.refusal;
  if (options_.foreign_queues.contains(spec->queue)) return "coordinator";
  return "";
}

void NativeLauncher::Guard(const std::string& dispatch_id, const std::function<void()>& call) {
  // Of this call alone: a run has a fence of its own for what comes later.
  RunFence([&](const std::string& why) {
    spdlog::critical("a fault of the worker ends a run dispatch={} error=\"{}\"", dispatch_id, why);
    observer_.OnRunFault();
    ReportLater({dispatch_id, "failed", "the worker failed while it started the task: " + why});
  }).Run(call);
}

void NativeLauncher::Start(const std::string& dispatch_id, const std::string& workload) {
  Guard(dispatch_id, [&] { StartNative(dispatch_id, workload); });
}

void NativeLauncher::StartNative(const std::string& dispatch_id, const std::string& workload) {
  auto spec = TaskSpec::Parse(dispatch_id, workload);
  const auto why = WhyNotNative(spec);
  observer_.OnSupervised(why.empty() ? "native" : "airflow", why);
  if (!why.empty()) {
    if (why != "configured" && why != "kind")
      spdlog::info("supervised by Airflow dispatch={} reason={}", dispatch_id, why);
    return zygote_.Start(dispatch_id, workload);
  }
  const DagFile file{spec->bundle_name, spec->bundle_version, spec->dag_rel_path};
  static std::random_device seed;
  auto run = std::make_unique<NativeRun>(std::move(*spec), options_.settings, *api_, zygote_,
                                         poller_, clock_, observer_, seed(),
                                         [this](const ExitReport& report) { ReportLater(report); });
  if (const auto opened = run->OpenLog(); !opened) {
    return ReportLater({dispatch_id, "failed", opened.error().message});
  }
  runs_[dispatch_id] = std::move(run);
  const auto choice = warm_.Choose(file);
  observer_.OnForked(choice.how);
  ForkFor(dispatch_id, choice.server);
}

void NativeLauncher::ForkFor(const std::string& dispatch_id, ForkServer& server) {
  const auto idle = std::find_if(children_.begin(), children_.end(), [&](const auto& one) {
    return one.second.server == &server && one.second.run.empty();
  });
  if (idle != children_.end()) {
    Assign(idle->first, dispatch_id);
  } else {
    std::string why;
    const int child = Fork(server, &why);
    if (child == 0) return ReportLater({dispatch_id, "failed", why});
    Assign(child, dispatch_id);
  }
}

void NativeLauncher::Replace(Child& child) {
  if (child.run.empty() || child.replace_at == TimePoint::max() || child.server == nullptr) return;
  child.replace_at = TimePoint::max();
  // Of the zygote only where it forks all tasks: otherwise it forked this one for want of another.
  const bool for_want = child.server == &zygote_ && options_.warm.on;
  if (!for_want && !warm_.Retired(*child.server)) KeepIdle(*child.server);
}

int NativeLauncher::Fork(ForkServer& server, std::string* why) {
  auto process = std::make_unique<TaskProcess>(poller_);
  const auto sockets = process->Open();
  if (!sockets) {
    *why = sockets.error().message;
    return 0;
  }
  const int child = ++next_child_;
  children_[child] = {&server, std::move(process), "", false};
  warm_.CountChild(server, 1);
  server.Fork(child, *sockets);
  return child;
}

void NativeLauncher::KeepIdle(ForkServer& server) {
  auto idle = std::count_if(children_.begin(), children_.end(), [&](const auto& one) {
    return one.second.server == &server && one.second.run.empty();
  });
  for (std::string why; idle < options_.idle_children; ++idle)
    if (Fork(server, &why) == 0) return;
}

void NativeLauncher::Assign(int child, const std::string& dispatch_id) {
  auto& assigned = children_.at(child);
  assigned.run = dispatch_id;
  assigned.assigned_at = clock_.Now();
  assigned.replace_at = clock_.Now() + kReplaceAfter;
  if (assigned.spawned) runs_.at(dispatch_id)->Begin(assigned.process.get());
}

void NativeLauncher::OnSpawned(int child, pid_t pid, int pidfd) {
  const auto found = children_.find(child);
  if (found == children_.end()) {
    close(pidfd);
    return;
  }
  found->second.spawned = true;
  found->second.process->Attach(pid, pidfd, [this, child] { OnChildExit(child); });
  const auto run = runs_.find(found->second.run);
  if (run != runs_.end()) run->second->Begin(found->second.process.get());
}

void NativeLauncher::OnChildExit(int child) {
  unexplained_.emplace_back(clock_.Now() + kExplanationMax, child);
}

void NativeLauncher::OnEnded(int child, const ProcessEnd& end) {
  const auto found = children_.find(child);
  // Told already: it is still here while something else holds its streams open.
  if (found == children_.end() || found->second.server == nullptr) return;
  found->second.process->Reaped();
  Replace(found->second);
  const auto run = runs_.find(found->second.run);
  warm_.CountChild(*found->second.server, -1);
  found->second.server = nullptr;
  if (run == runs_.end() || !run->second->begun()) return Remove(found);
  run->second->OnExit(end);
}

void NativeLauncher::OnForkFailed(int child, const std::string& why) {
  const auto found = children_.find(child);
  if (found == children_.end()) return;
  if (!found->second.run.empty()) ReportLater({found->second.run, "failed", why});
  warm_.CountChild(*found->second.server, -1);
  Remove(found);
}

void NativeLauncher::OnLost(ForkServer& server) {
  std::vector<int> lost;
  for (const auto& [id, child] : children_)
    if (child.server == &server) lost.push_back(id);
  if (&server == &zygote_) warm_.LoseAll();
  for (const int id : lost) {
    const auto found = children_.find(id);
    if (found == children_.end()) continue;
    const auto run = runs_.find(found->second.run);
    if (run != runs_.end() && !run->second->begun()) {
      ReportLater({run->first, "failed", kServerLost});
    }
    found->second.process->Signal(SIGKILL, true);
    found->second.replace_at = TimePoint::max();  // nothing forks any more there
    OnEnded(id, {-SIGKILL, 0});
  }
}

void NativeLauncher::Remove(std::map<int, Child>::iterator child) {
  if (child->second.server != nullptr) child->second.process->Signal(SIGKILL, true);
  children_.erase(child);
}

void NativeLauncher::Kill(const std::string& dispatch_id, Signal signal) {
  const auto found = runs_.find(dispatch_id);
  if (found == runs_.end()) return zygote_.Kill(dispatch_id, signal);
  if (found->second->begun()) return found->second->Kill(signal);
  // Its process was asked for and has not come; if it comes, it waits for another task.
  for (auto& [child, one] : children_)
    if (one.run == dispatch_id) one.run.clear();
  ReportLater({dispatch_id, "failed", "killed before it started"});
}

void NativeLauncher::ReplaceSilent() {
  for (auto& [child, one] : children_) {
    if (one.run.empty() || one.spawned || clock_.Now() - one.assigned_at < kSpawnMax) continue;
    const auto run = std::exchange(one.run, {});
    if (one.server == &zygote_ || one.server == nullptr) {
      ReportLater({run, "failed", kSilent});
      continue;
    }
    spdlog::warn("a warm process does not answer; the zygote forks in its place dispatch={}", run);
    warm_.GiveUp(*one.server);
    Guard(run, [&] { ForkFor(run, zygote_); });
    return;  // there is one more child now
  }
}

void NativeLauncher::ReportLater(ExitReport report) { reports_.push_back(std::move(report)); }

PollSource::Request NativeLauncher::Prepare() {
  if (!reports_.empty()) return {-1, 0, Duration{0}};
  if (runs_.empty()) return {-1, 0, warm_.Incomplete() ? kBaseLook : Duration{60000}};
  auto first = TimePoint::max();
  for (const auto& [id, run] : runs_) first = std::min(first, run->due());
  for (const auto& [id, child] : children_) {
    if (child.run.empty()) continue;
    first = std::min(first, child.replace_at);
    if (!child.spawned) first = std::min(first, child.assigned_at + kSpawnMax);
  }
  if (first == TimePoint::max()) return {-1, 0, Duration{60000}};
  const auto wait = std::chrono::ceil<Duration>(std::max(first, next_tick_) - clock_.Now());
  return {-1, 0, std::max(Duration{0}, wait)};
}

void NativeLauncher::Ready(short) {
  const auto now = clock_.Now();
  if (now >= next_tick_) {
    next_tick_ = now + kTick;
    for (const auto& [id, run] : runs_)
      if (run->begun()) run->Tick();
    // What is forked meanwhile comes at the end: its numbers grow.
    for (auto& [id, child] : children_)
      if (child.replace_at <= now) Replace(child);
    ReplaceSilent();
    warm_.Tick();
    while (!unexplained_.empty() && unexplained_.front().first <= now) {
      const int child = unexplained_.front().second;
      unexplained_.erase(unexplained_.begin());
      OnEnded(child, {125, 0});  // nothing happens if it was explained
    }
    // Those that wait on a server which is not chosen any more.
    for (auto it = children_.begin(); it != children_.end();) {
      const auto child = it++;
      if (child->second.run.empty() && child->second.spawned && child->second.server != nullptr &&
          warm_.Retired(*child->second.server)) {
        child->second.process->Signal(SIGKILL, true);
      }
    }
  }
  for (const auto& [id, run] : runs_) run->Flush();
  for (const auto& report : std::exchange(reports_, {})) {
    runs_.erase(report.dispatch_id);
    for (auto it = children_.begin(); it != children_.end(); ++it) {
      if (it->second.run != report.dispatch_id) continue;
      Remove(it);
      break;
    }
    if (listener_ != nullptr) listener_->OnExit(report);
  }
}

std::int64_t NativeLauncher::MeasureMemory() {
  std::vector<int> running;
  std::int64_t sum = 0;
  for (const auto& [id, child] : children_) {
    if (child.run.empty()) continue;
    running.push_back(id);
    sum += child.memory;
  }
  if (running.empty()) return 0;
  pace_.Try([&] {
    auto next = std::upper_bound(running.begin(), running.end(), measured_);
    if (next == running.end()) next = running.begin();
    measured_ = *next;
    auto& child = children_.at(measured_);
    if (child.process->pid() <= 0) return;
    const auto memory = ProportionalMemory(child.process->pid());
    sum += memory - child.memory;
    child.memory = memory;
  });
  return sum;
}

}  // namespace zkexec
