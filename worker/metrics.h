// SPDX-License-Identifier: Apache-2.0
// WorkerMetrics: what one worker tells Prometheus. metrics.cc alone includes prometheus-cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace zkexec {

// Each label value makes a time series that stays until the process ends: pass
// fixed words (kinds, outcomes, operations, reasons), never ids or messages.
//
// Threads: every method may be called from any thread; none blocks on I/O.
class WorkerMetrics {
 public:
  WorkerMetrics();
  ~WorkerMetrics();
  WorkerMetrics(const WorkerMetrics&) = delete;
  WorkerMetrics& operator=(const WorkerMetrics&) = delete;

  // Queue entries that we claimed, or that another worker claimed first.
  void ClaimSucceeded(int count);
  void ClaimLost(int count);

  // `kind` is task, callback or connection_test; `outcome` as reported to the executor.
  // What is none of these is counted as "other".
  void WorkloadStarted(const std::string& kind);
  void WorkloadFinished(const std::string& kind, const std::string& outcome, double seconds);

  void Waited(double seconds);      // in a queue, until we claimed it
  void StartDelay(double seconds);  // from the claim until it was handed to a process
  void Killed(const std::string& cause);

  void SetRunning(int count);
  void SetSlots(int count, int used);
  // Results that are not in ZooKeeper yet, and what the journal of them has on the disk.
  void SetResultsWaiting(int count, std::size_t journal_bytes);

  // What and since when; once.
  void SetBuild(const std::string& version, const std::string& airflow, double started_unix_s);
  void SetDescriptors(int open, int most);
  // So far; never less than before.
  void SetZygoteDeaths(int count);
  // Between two turns of the loop that should have been 100 ms apart at most: how much longer.
  void LoopLag(double seconds);
  // For how long ZooKeeper surely takes us for alive; nothing starts without.
  void SetLeaseLeft(double seconds);
  void SetReady(bool ready);
  // See MeasuredApi::Tell.
  void ApiAnswered(const std::string& kind, const std::string& status, double seconds);

  // The one current state: its series is 1, those of earlier states are 0.
  void SetSessionState(const std::string& state);

  void ZkLatency(const std::string& op, double seconds);

  // Queue entries that could not be used, e.g. "undecryptable" or "malformed".
  void EntryRefused(const std::string& reason);

  // Who supervises a run (native, airflow) and why not natively; from what a native task was
  // forked; what became of a warm process.
  void Supervised(const std::string& by, const std::string& reason);
  void Forked(const std::string& from);
  void WarmProcess(const std::string& result);
  // Proportional set sizes in bytes.
  void SetTaskMemory(std::int64_t bytes);
  void SetWarmProcesses(std::size_t count, std::int64_t bytes);

  // Answers of our HTTP server, and connections that it did not want (HttpHandlers::dropped).
  void HttpAnswered(const std::string& status);
  void HttpDropped(const std::string& reason);

  // The journal could not be written.
  void RunFault();
  void JournalFailed();

  // The text format, version 0.0.4.
  std::string Text() const;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
