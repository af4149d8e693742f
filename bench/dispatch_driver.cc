// SPDX-License-Identifier: Apache-2.0
// zkexec_dispatch_driver: a scheduler's side of the benchmarks. Places no-op
// dispatches through ExecutorSession, as the Python executor does, and takes its
// events in a loop. Obeys lines on stdin and answers each with a line of JSON:
//
//   run COUNT OUTSTANDING RATE TAG   place COUNT and wait for their events: at most
//                                    OUTSTANDING at once, or RATE a second if not 0
//   place COUNT TAG                  only place them
//   drain EVERY                      wait for the events of all that was placed;
//                                    says how long each EVERY of them took
//   status
//
// Ends with stdin.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/histogram.h"
#include "bench/usage.h"
#include "common/ids.h"
#include "common/log.h"
#include "executor/session.h"

namespace zkexec::bench {
namespace {

using nlohmann::json;

struct Flags {
  std::string hosts = "127.0.0.1:2181";
  std::string root = "/bench";
  std::string secret = "secret-of-the-benchmark";
  std::string queue = "default";
  int partitions = 64;
  int session_timeout_ms = 15000;
  int drain_ms = 5;
  int dag_files = 200;
  int workload_bytes = 1024;
  int stall_s = 60;
  int limit_s = 300;
};

class Driver {
 public:
  Driver(const Flags& flags, ExecutorSession& session)
      : flags_(flags), session_(session), prefix_(RandomHex().substr(0, 20)) {
    // A token does not compress; what surrounds it does.
    while (token_.size() < 400) token_ += RandomHex();
  }

  json Run(std::int64_t count, std::int64_t outstanding, double rate, const std::string& tag) {
    Begin();
    const auto last = static_cast<std::int64_t>(placed_ns_.size()) + count;
    while (Placed() < last || taken_ < Placed()) {
      const auto now = NowNs();
      std::int64_t room = 0;
      if (rate > 0) {
        const auto due = static_cast<std::int64_t>(static_cast<double>(now - begun_) / 1e9 * rate);
        room = due + 1 - (Placed() - first_);
      } else {
        room = outstanding - (Placed() - taken_);
      }
      Place(std::clamp<std::int64_t>(room, 0, last - Placed()), tag);
      Take(0);
      if (Stalled()) break;
      const auto pause =
          rate > 0 ? std::min(1.0 / rate, flags_.drain_ms / 1e3) : flags_.drain_ms / 1e3;
      std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    }
    return Report();
  }

  json PlaceOnly(std::int64_t count, const std::string& tag) {
    // As many at once as the scheduler's loop would hand over.
    for (std::int64_t left = count; left > 0; left -= 1000) {
      Place(std::min<std::int64_t>(left, 1000), tag);
    }
    return {{"placed", count}};
  }

  json Drain(std::int64_t every) {
    Begin();
    while (taken_ < Placed()) {
      Take(every);
      if (Stalled()) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(flags_.drain_ms));
    }
    auto report = Report();
    report["marks_s"] = marks_s_;
    return report;
  }

  json Status() const {
    const auto status = session_.status();
    return {{"connected", status.connected},
            {"live_workers", status.live_workers},
            {"live_slots", status.live_slots},
            {"outstanding", status.outstanding},
            {"last_error", status.last_error}};
  }

 private:
  std::int64_t Placed() const { return static_cast<std::int64_t>(placed_ns_.size()); }

  void Begin() {
    begun_ = NowNs();
    first_ = taken_;
    last_event_ = begun_;
    next_take_ = begun_;
    gap_ns_ = 0;
    cpu_ = CpuSeconds();
    latency_ = {};
    outcomes_.clear();
    marks_s_.clear();
  }

  void Place(std::int64_t count, const std::string& tag) {
    if (count <= 0) return;
    std::vector<Placement> batch;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto number = Placed();
      char id[64];  // as long as the UUIDs that Airflow gives
      std::snprintf(id, sizeof id, "%s-bbb-%011lld", prefix_.c_str(),
                    static_cast<long long>(number));
      const auto now = NowNs();
      placed_ns_.push_back(now);
      Placement placement;
      placement.dispatch_id = id;
      placement.queue = flags_.queue;
      placement.kind = "task";
      const auto file = "dags/file_" + std::to_string(number % flags_.dag_files) + ".py";
      placement.route_key = "bundle|v1|" + file;
      placement.label = "bench.noop run " + std::to_string(number);
      placement.workload = Workload(id, file, tag, now);
      batch.push_back(std::move(placement));
    }
    session_.Place(std::move(batch));
  }

  std::string Workload(const std::string& id, const std::string& file, const std::string& tag,
                       std::int64_t now) const {
    std::string text =
        "{\"placed_ns\":" + std::to_string(now) + ",\"tag\":\"" + tag +
        "\",\"type\":\"ExecuteTask\",\"token\":\"" + token_ + "\",\"ti\":{\"id\":\"" + id +
        "\",\"external_executor_id\":\"" + id +
        "\",\"dag_id\":\"bench\",\"task_id\":\"noop\",\"run_id\":\"manual__2026-01-01\","
        "\"try_number\":1,\"map_index\":-1,\"pool_slots\":1,\"queue\":\"default\"},"
        "\"dag_rel_path\":\"" +
        file + "\",\"log_path\":\"";
    const auto wanted = static_cast<std::size_t>(flags_.workload_bytes);
    while (text.size() + 2 < wanted) text += "dag_id=bench/run_id=manual/";
    text.resize(std::max(text.size(), std::size_t{2}));
    return text + "\"}";
  }

  // Every drain_ms, as a scheduler's loop does.
  void Take(std::int64_t every) {
    const auto now = NowNs();
    if (now < next_take_) return;
    next_take_ = now + flags_.drain_ms * 1'000'000LL;
    for (const auto& event : session_.DrainEvents()) {
      if (!event.dispatch_id.starts_with(prefix_)) continue;
      const auto number =
          std::strtoull(event.dispatch_id.c_str() + prefix_.size() + 5, nullptr, 10);
      latency_.Add((now - placed_ns_.at(number)) / 1000);
      ++outcomes_[event.outcome];
      ++taken_;
      gap_ns_ = std::max(gap_ns_, now - last_event_);
      last_event_ = now;
      if (every > 0 && (taken_ - first_) % every == 0) {
        marks_s_.push_back(static_cast<double>(now - begun_) / 1e9);
      }
    }
  }

  // Nothing happens any more, or it takes too long: what is unfinished is reported.
  bool Stalled() const {
    return NowNs() - last_event_ > flags_.stall_s * 1'000'000'000LL ||
           NowNs() - begun_ > flags_.limit_s * 1'000'000'000LL;
  }

  json Report() const {
    const auto seconds = static_cast<double>(last_event_ - begun_) / 1e9;
    const auto count = taken_ - first_;
    return {{"dispatches", count},
            {"unfinished", Placed() - taken_},
            {"seconds", seconds},
            {"per_s", seconds > 0 ? static_cast<double>(count) / seconds : 0},
            {"longest_gap_s", static_cast<double>(gap_ns_) / 1e9},
            {"cpu_s", CpuSeconds() - cpu_},
            {"peak_mb", PeakMegabytes()},
            {"outcomes", outcomes_},
            {"latency_us", latency_.ToJson()}};
  }

  const Flags flags_;
  ExecutorSession& session_;
  const std::string prefix_;
  std::string token_;
  std::vector<std::int64_t> placed_ns_;  // by number
  std::int64_t taken_ = 0;

  // Of the command under way.
  std::int64_t begun_ = 0;
  std::int64_t first_ = 0;
  std::int64_t last_event_ = 0;
  std::int64_t next_take_ = 0;
  std::int64_t gap_ns_ = 0;
  double cpu_ = 0;
  Histogram latency_;
  std::map<std::string, std::int64_t> outcomes_;
  std::vector<double> marks_s_;
};

int Obey(const Flags& flags) {
  SetUpLogging("warning");
  ExecutorSession::Options options;
  options.hosts = flags.hosts;
  options.root = flags.root;
  options.scheduler = "bench-" + RandomHex().substr(0, 8);
  options.session_timeout = Duration(flags.session_timeout_ms);
  options.partitions = flags.partitions;
  options.secret = flags.secret;
  const auto session = ExecutorSession::Make(options);
  if (!session) {
    std::cerr << "zkexec_dispatch_driver: " << session.error().message << "\n";
    return 2;
  }
  (*session)->Start();
  Driver driver(flags, **session);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    std::string tag = "-";
    std::int64_t count = 0;
    std::int64_t outstanding = 0;
    double rate = 0;
    words >> verb;
    json answer;
    if (verb == "run" && words >> count >> outstanding >> rate >> tag) {
      answer = driver.Run(count, outstanding, rate, tag);
    } else if (verb == "place" && words >> count >> tag) {
      answer = driver.PlaceOnly(count, tag);
    } else if (verb == "drain" && words >> count) {
      answer = driver.Drain(count);
    } else if (verb == "status") {
      answer = driver.Status();
    } else {
      answer = {{"error", "not understood: " + line}};
    }
    std::cout << answer << std::endl;
  }
  (*session)->Stop(Duration{5000});
  return 0;
}

}  // namespace
}  // namespace zkexec::bench

int main(int argc, char** argv) {
  zkexec::bench::Flags flags;
  CLI::App app("Places no-op dispatches, for bench/bench_dispatch.py.");
  app.add_option("--hosts", flags.hosts, "ZooKeeper servers")->capture_default_str();
  app.add_option("--root", flags.root, "path of the tree")->capture_default_str();
  app.add_option("--secret", flags.secret, "what workloads are sealed with");
  app.add_option("--queue", flags.queue, "")->capture_default_str();
  app.add_option("--partitions", flags.partitions, "if the tree is new")->capture_default_str();
  app.add_option("--session-timeout-ms", flags.session_timeout_ms, "")->capture_default_str();
  app.add_option("--drain-ms", flags.drain_ms, "pause of the loop")->capture_default_str();
  app.add_option("--dag-files", flags.dag_files, "different routes")->capture_default_str();
  app.add_option("--workload-bytes", flags.workload_bytes, "at least")->capture_default_str();
  app.add_option("--stall-s", flags.stall_s, "give up after so long without an event")
      ->capture_default_str();
  app.add_option("--limit-s", flags.limit_s, "give up a command after so long")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return zkexec::bench::Obey(flags);
}
