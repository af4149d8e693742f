// SPDX-License-Identifier: Apache-2.0
#include "worker/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <mutex>
#include <vector>

namespace zkexec {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

Family<Counter>& MakeCounter(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Gauge>& MakeGauge(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

Family<Histogram>& MakeHistogram(Registry& registry, const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

// From a trivial task to a working day.
Histogram::BucketBoundaries WorkloadBuckets() {
  return {0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 28800};
}

// From an idle fleet to a backlog of a working day.
Histogram::BucketBoundaries WaitBuckets() {
  return {0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400};
}

// What labels may say: each value makes series that stay, so what comes from an entry, or from
// another process, is looked up here first.
const std::vector<std::string> kKinds{"task", "callback", "connection_test"};
const std::vector<std::string> kOutcomes{"success", "failed", "already_running", "stale", "token",
                                         "killed",  "lost"};
const std::vector<std::string> kRefusals{"unreadable", "newer_protocol", "other_secret",
                                         "unclaimable", "bad_command"};
const std::vector<std::string> kKills{"revoked", "drain", "abandoned"};
const std::vector<std::string> kStates{"connecting", "connected", "expired", "auth_failed"};
const std::vector<std::string> kApiKinds{"run", "heartbeat", "state", "other"};
const std::vector<std::string> kApiStatus{"2xx", "3xx", "4xx", "5xx", "none"};

std::string Known(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) == words.end() ? "other" : word;
}

// From a healthy server nearby to a session timeout.
Histogram::BucketBoundaries ZooKeeperBuckets() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
}

}  // namespace

// prometheus-cpp locks inside; only the session state needs a lock of ours.
struct WorkerMetrics::Impl {
  Registry registry;

  Family<Counter>& claims = MakeCounter(
      registry, "zkexec_worker_claims_total",
      "Queue entries this worker tried to claim, by result (won, lost to another worker).");
  Counter& claims_won = claims.Add({{"result", "won"}});
  Counter& claims_lost = claims.Add({{"result", "lost"}});
  Family<Counter>& started =
      MakeCounter(registry, "zkexec_worker_workloads_started_total", "Workloads started, by kind.");
  Family<Counter>& finished = MakeCounter(registry, "zkexec_worker_workloads_finished_total",
                                          "Workloads ended, by kind and outcome.");
  Family<Histogram>& duration =
      MakeHistogram(registry, "zkexec_worker_workload_duration_seconds",
                    "Time from the start of a workload to its end, by kind.");
  Gauge& running =
      MakeGauge(registry, "zkexec_worker_running_workloads", "Workloads running now.").Add({});
  Gauge& slots = MakeGauge(registry, "zkexec_worker_slots", "Slots this worker offers.").Add({});
  Gauge& slots_used =
      MakeGauge(registry, "zkexec_worker_slots_used", "Slots of what it has claimed or runs.")
          .Add({});
  Gauge& results_waiting =
      MakeGauge(registry, "zkexec_worker_results_waiting", "Results that are not in ZooKeeper yet.")
          .Add({});
  Gauge& journal_bytes = MakeGauge(registry, "zkexec_worker_journal_bytes",
                                   "Size of the journal of results that wait for ZooKeeper.")
                             .Add({});
  Histogram& waited = MakeHistogram(registry, "zkexec_worker_queue_wait_seconds",
                                    "Time in the queue of what this worker has claimed, by the "
                                    "clocks of scheduler and worker.")
                          .Add({}, WaitBuckets());
  Histogram& start_delay =
      MakeHistogram(registry, "zkexec_worker_start_delay_seconds",
                    "Time from the claim of a workload until it was handed to a process.")
          .Add({}, WaitBuckets());
  Family<Counter>& killed = MakeCounter(
      registry, "zkexec_worker_kills_total",
      "Runs that this worker ended, by cause: revoked (scheduler or operator), drain (its time "
      "was over), abandoned (lost to it while ZooKeeper was away).");
  Family<Gauge>& build = MakeGauge(registry, "zkexec_worker_build_info",
                                   "1, with the versions of the worker and of Airflow.");
  Gauge& start_time = MakeGauge(registry, "zkexec_worker_start_time_seconds",
                                "When the worker process began, in seconds since 1970.")
                          .Add({});
  Gauge& descriptors_open =
      MakeGauge(registry, "zkexec_worker_open_descriptors", "Open file descriptors.").Add({});
  Gauge& descriptors_most =
      MakeGauge(registry, "zkexec_worker_max_descriptors", "How many may be open; 0: no limit.")
          .Add({});
  Counter& zygote_deaths = MakeCounter(registry, "zkexec_worker_zygote_deaths_total",
                                       "Times that the Python process died; it is started anew.")
                               .Add({});
  Histogram& loop_lag = MakeHistogram(registry, "zkexec_worker_loop_lag_seconds",
                                      "How much later than it should the worker's loop turned.")
                            .Add({}, ZooKeeperBuckets());
  Gauge& lease_left = MakeGauge(registry, "zkexec_worker_lease_left_seconds",
                                "For how long ZooKeeper surely takes this worker for alive; "
                                "without, it starts nothing.")
                          .Add({});
  Gauge& ready =
      MakeGauge(registry, "zkexec_worker_ready", "1 while /health/ready says 200.").Add({});
  Family<Histogram>& api =
      MakeHistogram(registry, "zkexec_worker_api_request_duration_seconds",
                    "Time from a request of the Execution API to its answer, by kind and status.");
  Family<Gauge>& session =
      MakeGauge(registry, "zkexec_worker_zookeeper_session_state",
                "1 for the present state of the ZooKeeper session, 0 for earlier ones.");
  Family<Histogram>& zookeeper =
      MakeHistogram(registry, "zkexec_worker_zookeeper_operation_duration_seconds",
                    "Time from a ZooKeeper request to its reply, by operation.");
  Family<Counter>& refused = MakeCounter(registry, "zkexec_worker_queue_entries_refused_total",
                                         "Queue entries this worker could not use, by reason.");
  Family<Counter>& supervised = MakeCounter(
      registry, "zkexec_worker_supervised_total",
      "Workloads by who supervises them (native, airflow) and, for airflow, the reason.");
  Family<Counter>& forked =
      MakeCounter(registry, "zkexec_worker_forked_total",
                  "Native tasks by what they were forked from: warm, or why not.");
  Family<Counter>& warm_results = MakeCounter(
      registry, "zkexec_worker_warm_processes_total",
      "Warm processes by what became of them: ready, or why their imports can't be made ahead.");
  Gauge& task_memory = MakeGauge(registry, "zkexec_worker_tasks_memory_bytes",
                                 "Proportional set size of the native tasks that run, together.")
                           .Add({});
  Gauge& warm_processes = MakeGauge(registry, "zkexec_worker_warm_processes",
                                    "Processes with modules imported, from which tasks are forked.")
                              .Add({});
  Gauge& warm_memory = MakeGauge(registry, "zkexec_worker_warm_memory_bytes",
                                 "Proportional set size of the warm processes, together.")
                           .Add({});
  Counter& run_faults =
      MakeCounter(registry, "zkexec_worker_run_faults_total",
                  "Runs that ended because of a fault of the worker's own; its log says which.")
          .Add({});
  Family<Counter>& http_answers = MakeCounter(registry, "zkexec_worker_http_requests_total",
                                              "Answered HTTP requests, by status.");
  Family<Counter>& http_dropped =
      MakeCounter(registry, "zkexec_worker_http_dropped_connections_total",
                  "HTTP connections that were closed, or kept waiting, for want of room "
                  "(idle, full, descriptors) or of patience (slow).");
  Counter& journal_failures =
      MakeCounter(registry, "zkexec_worker_journal_failures_total",
                  "Failed attempts to write the journal of results that wait for ZooKeeper.")
          .Add({});

  std::mutex mutex;
  Gauge* session_now = nullptr;  // guarded by mutex
};

// Series exist from the start: a counter that appears with its first event hides that event from
// whoever asks for its increase.
WorkerMetrics::WorkerMetrics() : impl_(std::make_unique<Impl>()) {
  for (const auto& kind : kKinds) {
    impl_->started.Add({{"kind", kind}});
    impl_->duration.Add({{"kind", kind}}, WorkloadBuckets());
    for (const auto& outcome : kOutcomes) {
      impl_->finished.Add({{"kind", kind}, {"outcome", outcome}});
    }
  }
  for (const auto& reason : kRefusals) impl_->refused.Add({{"reason", reason}});
  for (const auto& cause : kKills) impl_->killed.Add({{"cause", cause}});
  for (const auto& state : kStates) impl_->session.Add({{"state", state}});
  for (const auto& kind : kApiKinds) {
    for (const auto& status : kApiStatus) {
      impl_->api.Add({{"kind", kind}, {"status", status}}, ZooKeeperBuckets());
    }
  }
}
WorkerMetrics::~WorkerMetrics() = default;

void WorkerMetrics::ClaimSucceeded(int count) { impl_->claims_won.Increment(count); }
void WorkerMetrics::ClaimLost(int count) { impl_->claims_lost.Increment(count); }

void WorkerMetrics::WorkloadStarted(const std::string& kind) {
  impl_->started.Add({{"kind", Known(kKinds, kind)}}).Increment();
}

void WorkerMetrics::WorkloadFinished(const std::string& kind, const std::string& outcome,
                                     double seconds) {
  const auto known = Known(kKinds, kind);
  impl_->finished.Add({{"kind", known}, {"outcome", Known(kOutcomes, outcome)}}).Increment();
  impl_->duration.Add({{"kind", known}}, WorkloadBuckets()).Observe(seconds);
}

void WorkerMetrics::SetRunning(int count) { impl_->running.Set(count); }
void WorkerMetrics::SetSlots(int count, int used) {
  impl_->slots.Set(count);
  impl_->slots_used.Set(used);
}

void WorkerMetrics::SetResultsWaiting(int count, std::size_t journal_bytes) {
  impl_->results_waiting.Set(count);
  impl_->journal_bytes.Set(static_cast<double>(journal_bytes));
}

void WorkerMetrics::Waited(double seconds) { impl_->waited.Observe(seconds); }
void WorkerMetrics::StartDelay(double seconds) { impl_->start_delay.Observe(seconds); }

void WorkerMetrics::Killed(const std::string& cause) {
  impl_->killed.Add({{"cause", Known(kKills, cause)}}).Increment();
}

void WorkerMetrics::SetBuild(const std::string& version, const std::string& airflow,
                             double started_unix_s) {
  impl_->build.Add({{"version", version}, {"airflow", airflow}}).Set(1);
  impl_->start_time.Set(started_unix_s);
}

void WorkerMetrics::SetDescriptors(int open, int most) {
  impl_->descriptors_open.Set(open);
  impl_->descriptors_most.Set(most);
}

void WorkerMetrics::SetZygoteDeaths(int count) {
  impl_->zygote_deaths.Increment(count - impl_->zygote_deaths.Value());
}
void WorkerMetrics::LoopLag(double seconds) { impl_->loop_lag.Observe(seconds); }
void WorkerMetrics::SetLeaseLeft(double seconds) { impl_->lease_left.Set(std::max(0.0, seconds)); }
void WorkerMetrics::SetReady(bool ready) { impl_->ready.Set(ready ? 1 : 0); }

void WorkerMetrics::ApiAnswered(const std::string& kind, const std::string& status,
                                double seconds) {
  impl_->api
      .Add({{"kind", Known(kApiKinds, kind)}, {"status", Known(kApiStatus, status)}},
           ZooKeeperBuckets())
      .Observe(seconds);
}

void WorkerMetrics::SetSessionState(const std::string& state) {
  const std::lock_guard lock(impl_->mutex);
  Gauge& now = impl_->session.Add({{"state", state}});
  if (impl_->session_now != nullptr) impl_->session_now->Set(0);
  now.Set(1);
  impl_->session_now = &now;
}

void WorkerMetrics::ZkLatency(const std::string& op, double seconds) {
  impl_->zookeeper.Add({{"op", op}}, ZooKeeperBuckets()).Observe(seconds);
}

void WorkerMetrics::EntryRefused(const std::string& reason) {
  impl_->refused.Add({{"reason", Known(kRefusals, reason)}}).Increment();
}

void WorkerMetrics::HttpAnswered(const std::string& status) {
  impl_->http_answers.Add({{"status", status}}).Increment();
}

void WorkerMetrics::HttpDropped(const std::string& reason) {
  impl_->http_dropped.Add({{"reason", reason}}).Increment();
}

void WorkerMetrics::Supervised(const std::string& by, const std::string& reason) {
  impl_->supervised.Add({{"by", by}, {"reason", reason}}).Increment();
}

void WorkerMetrics::Forked(const std::string& from) {
  impl_->forked.Add({{"from", from}}).Increment();
}

void WorkerMetrics::WarmProcess(const std::string& result) {
  impl_->warm_results.Add({{"result", result}}).Increment();
}

void WorkerMetrics::SetTaskMemory(std::int64_t bytes) {
  impl_->task_memory.Set(static_cast<double>(bytes));
}

void WorkerMetrics::SetWarmProcesses(std::size_t count, std::int64_t bytes) {
  impl_->warm_processes.Set(static_cast<double>(count));
  impl_->warm_memory.Set(static_cast<double>(bytes));
}

void WorkerMetrics::RunFault() { impl_->run_faults.Increment(); }

void WorkerMetrics::JournalFailed() { impl_->journal_failures.Increment(); }

std::string WorkerMetrics::Text() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace zkexec
