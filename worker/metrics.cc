// SPDX-License-Identifier: Apache-2.0
#include "worker/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>

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

WorkerMetrics::WorkerMetrics() : impl_(std::make_unique<Impl>()) {}
WorkerMetrics::~WorkerMetrics() = default;

void WorkerMetrics::ClaimSucceeded(int count) { impl_->claims_won.Increment(count); }
void WorkerMetrics::ClaimLost(int count) { impl_->claims_lost.Increment(count); }

void WorkerMetrics::WorkloadStarted(const std::string& kind) {
  impl_->started.Add({{"kind", kind}}).Increment();
}

void WorkerMetrics::WorkloadFinished(const std::string& kind, const std::string& outcome,
                                     double seconds) {
  impl_->finished.Add({{"kind", kind}, {"outcome", outcome}}).Increment();
  impl_->duration.Add({{"kind", kind}}, WorkloadBuckets()).Observe(seconds);
}

void WorkerMetrics::SetRunning(int count) { impl_->running.Set(count); }
void WorkerMetrics::SetSlots(int count) { impl_->slots.Set(count); }

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
  impl_->refused.Add({{"reason", reason}}).Increment();
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
