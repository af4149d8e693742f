// SPDX-License-Identifier: Apache-2.0
#include "worker/metrics.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace zkexec {
namespace {

class WorkerMetricsTest : public ::testing::Test {
 protected:
  // Whether the text has exactly this line.
  ::testing::AssertionResult Has(const std::string& line) const {
    const std::string text = "\n" + metrics_.Text();
    if (text.find("\n" + line + "\n") != std::string::npos) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << "no line " << line << " in" << text;
  }

  WorkerMetrics metrics_;
};

TEST_F(WorkerMetricsTest, ShowsZeroesBeforeAnythingHappened) {
  EXPECT_TRUE(Has("zkexec_worker_claims_total{result=\"won\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_claims_total{result=\"lost\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_running_workloads 0"));
  EXPECT_TRUE(Has("zkexec_worker_slots 0"));
}

TEST_F(WorkerMetricsTest, HasCountersFromTheStart) {
  EXPECT_TRUE(Has("zkexec_worker_workloads_started_total{kind=\"callback\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_workloads_finished_total{kind=\"task\",outcome=\"lost\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_queue_entries_refused_total{reason=\"other_secret\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_kills_total{cause=\"drain\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_zygote_deaths_total 0"));
  EXPECT_TRUE(Has("zkexec_worker_zookeeper_session_state{state=\"auth_failed\"} 0"));
  EXPECT_TRUE(
      Has("zkexec_worker_api_request_duration_seconds_count{kind=\"heartbeat\",status=\"5xx\"} 0"));
}

TEST_F(WorkerMetricsTest, MakesNoSeriesOfWordsThatItDoesNotKnow) {
  for (int i = 0; i < 100; ++i) {
    const auto word = "of-an-entry-" + std::to_string(i);
    metrics_.WorkloadStarted(word);
    metrics_.WorkloadFinished(word, word, 1.0);
    metrics_.EntryRefused(word);
    metrics_.Killed(word);
    metrics_.ApiAnswered(word, word, 1.0);
  }
  EXPECT_EQ(metrics_.Text().find("of-an-entry"), std::string::npos);
  EXPECT_TRUE(Has("zkexec_worker_workloads_started_total{kind=\"other\"} 100"));
  EXPECT_TRUE(Has("zkexec_worker_kills_total{cause=\"other\"} 100"));
}

TEST_F(WorkerMetricsTest, ShowsWhatAWorkerIsAndHas) {
  metrics_.SetBuild("1.2.3", "3.3.2", 1.5e9);
  metrics_.SetDescriptors(40, 1024);
  metrics_.SetResultsWaiting(3, 512);
  metrics_.SetLeaseLeft(-4.0);
  metrics_.SetReady(true);
  metrics_.SetZygoteDeaths(2);
  metrics_.SetZygoteDeaths(2);
  metrics_.SetZygoteDeaths(3);
  EXPECT_TRUE(Has("zkexec_worker_build_info{airflow=\"3.3.2\",version=\"1.2.3\"} 1"));
  EXPECT_TRUE(Has("zkexec_worker_start_time_seconds 1500000000"));
  EXPECT_TRUE(Has("zkexec_worker_open_descriptors 40"));
  EXPECT_TRUE(Has("zkexec_worker_max_descriptors 1024"));
  EXPECT_TRUE(Has("zkexec_worker_results_waiting 3"));
  EXPECT_TRUE(Has("zkexec_worker_journal_bytes 512"));
  EXPECT_TRUE(Has("zkexec_worker_lease_left_seconds 0"));
  EXPECT_TRUE(Has("zkexec_worker_ready 1"));
  EXPECT_TRUE(Has("zkexec_worker_zygote_deaths_total 3"));
}

TEST_F(WorkerMetricsTest, MeasuresWaitsStartsLagAndTheApi) {
  metrics_.Waited(2.0);
  metrics_.StartDelay(0.02);
  metrics_.LoopLag(0.3);
  metrics_.ApiAnswered("heartbeat", "none", 5.0);
  EXPECT_TRUE(Has("zkexec_worker_queue_wait_seconds_sum 2"));
  EXPECT_TRUE(Has("zkexec_worker_start_delay_seconds_bucket{le=\"0.05\"} 1"));
  EXPECT_TRUE(Has("zkexec_worker_loop_lag_seconds_count 1"));
  EXPECT_TRUE(
      Has("zkexec_worker_api_request_duration_seconds_sum{kind=\"heartbeat\",status=\"none\"} 5"));
}

TEST_F(WorkerMetricsTest, CountsClaims) {
  metrics_.ClaimSucceeded(3);
  metrics_.ClaimSucceeded(1);
  metrics_.ClaimLost(2);
  EXPECT_TRUE(Has("# TYPE zkexec_worker_claims_total counter"));
  EXPECT_TRUE(Has("zkexec_worker_claims_total{result=\"won\"} 4"));
  EXPECT_TRUE(Has("zkexec_worker_claims_total{result=\"lost\"} 2"));
}

TEST_F(WorkerMetricsTest, CountsWorkloadsByKindAndOutcome) {
  metrics_.WorkloadStarted("task");
  metrics_.WorkloadStarted("task");
  metrics_.WorkloadFinished("task", "success", 2.0);
  metrics_.WorkloadFinished("task", "failed", 20.0);
  EXPECT_TRUE(Has("zkexec_worker_workloads_started_total{kind=\"task\"} 2"));
  EXPECT_TRUE(Has("zkexec_worker_workloads_finished_total{kind=\"task\",outcome=\"success\"} 1"));
  EXPECT_TRUE(Has("zkexec_worker_workloads_finished_total{kind=\"task\",outcome=\"failed\"} 1"));
  EXPECT_TRUE(Has("# TYPE zkexec_worker_workload_duration_seconds histogram"));
  EXPECT_TRUE(Has("zkexec_worker_workload_duration_seconds_sum{kind=\"task\"} 22"));
  EXPECT_TRUE(Has("zkexec_worker_workload_duration_seconds_bucket{kind=\"task\",le=\"5\"} 1"));
  EXPECT_TRUE(Has("zkexec_worker_workload_duration_seconds_bucket{kind=\"task\",le=\"+Inf\"} 2"));
}

TEST_F(WorkerMetricsTest, CountsHttpAnswersAndDroppedConnections) {
  metrics_.HttpAnswered("200");
  metrics_.HttpAnswered("200");
  metrics_.HttpDropped("slow");
  EXPECT_TRUE(Has("zkexec_worker_http_requests_total{status=\"200\"} 2"));
  EXPECT_TRUE(Has("zkexec_worker_http_dropped_connections_total{reason=\"slow\"} 1"));
}

TEST_F(WorkerMetricsTest, ShowsLatestGauges) {
  metrics_.SetRunning(5);
  metrics_.SetRunning(4);
  metrics_.SetSlots(16, 5);
  EXPECT_TRUE(Has("zkexec_worker_running_workloads 4"));
  EXPECT_TRUE(Has("zkexec_worker_slots 16"));
  EXPECT_TRUE(Has("zkexec_worker_slots_used 5"));
}

TEST_F(WorkerMetricsTest, ShowsOneSessionStateAtATime) {
  metrics_.SetSessionState("connecting");
  metrics_.SetSessionState("connected");
  metrics_.SetSessionState("connected");
  EXPECT_TRUE(Has("zkexec_worker_zookeeper_session_state{state=\"connecting\"} 0"));
  EXPECT_TRUE(Has("zkexec_worker_zookeeper_session_state{state=\"connected\"} 1"));
}

TEST_F(WorkerMetricsTest, MeasuresZooKeeperAndRefusals) {
  metrics_.ZkLatency("multi", 0.25);
  metrics_.EntryRefused("unreadable");
  metrics_.JournalFailed();
  EXPECT_TRUE(Has("zkexec_worker_journal_failures_total 1"));
  metrics_.RunFault();
  EXPECT_TRUE(Has("zkexec_worker_run_faults_total 1"));
  EXPECT_TRUE(Has("zkexec_worker_zookeeper_operation_duration_seconds_count{op=\"multi\"} 1"));
  EXPECT_TRUE(Has("zkexec_worker_zookeeper_operation_duration_seconds_sum{op=\"multi\"} 0.25"));
  EXPECT_TRUE(Has("zkexec_worker_queue_entries_refused_total{reason=\"unreadable\"} 1"));
}

TEST_F(WorkerMetricsTest, ExplainsEveryFamily) {
  metrics_.WorkloadStarted("task");
  metrics_.WorkloadFinished("task", "success", 1.0);
  metrics_.SetSessionState("connected");
  metrics_.ZkLatency("multi", 0.25);
  metrics_.EntryRefused("malformed");
  metrics_.Supervised("airflow", "kind");
  metrics_.Forked("warm");
  metrics_.WarmProcess("threads");
  const auto text = metrics_.Text();
  int families = 0;
  for (auto at = text.find("# TYPE "); at != std::string::npos; at = text.find("# TYPE ", at)) {
    at += 7;
    const auto name = text.substr(at, text.find(' ', at) - at);
    EXPECT_TRUE(name.starts_with("zkexec_worker_")) << name;
    EXPECT_NE(text.find("# HELP " + name + " "), std::string::npos) << name;
    ++families;
  }
  EXPECT_EQ(families, 31);
}

// The loop thread counts while an HTTP thread reads. For the thread sanitizer.
TEST_F(WorkerMetricsTest, LosesNothingWhenUsedFromManyThreads) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int n = 0; n < 200; ++n) {
        metrics_.ClaimSucceeded(1);
        metrics_.WorkloadFinished("task", "success", 1.0);
        metrics_.SetSessionState(i % 2 == 0 ? "connected" : "connecting");
        if (n % 20 == 0) {
          EXPECT_NE(metrics_.Text(), "");
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(Has("zkexec_worker_claims_total{result=\"won\"} 800"));
  EXPECT_TRUE(Has("zkexec_worker_workloads_finished_total{kind=\"task\",outcome=\"success\"} 800"));
}

}  // namespace
}  // namespace zkexec
