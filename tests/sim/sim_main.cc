// SPDX-License-Identifier: Apache-2.0
// Runs simulated worlds from many seeds, on all cores; see world.h.
#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdint>
#include <iostream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "common/log.h"
#include "tests/sim/mutations.h"
#include "tests/sim/world.h"

namespace {

using zkexec::sim::AllMutations;
using zkexec::sim::Plan;
using zkexec::sim::World;

struct Totals {
  std::mutex mutex;  // guards the rest
  std::map<std::string, int> faults;
  std::map<std::string, int> outcomes;
  std::map<std::uint64_t, std::string> violations;

  void Add(std::uint64_t seed, const World& world, const std::string& violation) {
    const std::lock_guard lock(mutex);
    for (const auto& [name, count] : world.faults()) faults[name] += count;
    for (const auto& [id, record] : world.history().records()) {
      ++outcomes[record.revoked ? "revoked" : record.outcome];
    }
    if (violation.empty()) return;
    violations[seed] = violation;
    std::cerr << "seed " << seed << ": " << violation << "\n  again: zkexec_sim --seed " << seed
              << "\n";
  }
};

// Every fourth world is calm, with one worker: there the order is checked.
Plan PlanOf(std::uint64_t seed) {
  Plan plan;
  plan.calm = seed % 4 == 0;
  return plan;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Simulates executors, workers and ZooKeeper with faults, from seeds.\n"
      "Every seed is one world; a world that breaks a rule is printed with its seed.\n"
      "The last line is JSON. Exit code 1 if a rule was broken.",
      "zkexec_sim"};
  std::uint64_t from = 1;
  std::uint64_t count = 10000;
  std::uint64_t seed = 0;
  std::string mutation;
  std::string trace;
  unsigned jobs = std::max(1U, std::thread::hardware_concurrency());
  app.add_option("--from", from, "First seed");
  app.add_option("--seeds", count, "How many seeds");
  app.add_option("--seed", seed, "Only this seed, with what the cores log");
  app.add_option("--mutation", mutation,
                 "Break a rule on purpose: a name of tests/sim/mutations.h");
  app.add_option("--trace", trace, "Log every commit to a path that contains this");
  app.add_option("--jobs", jobs, "Threads");
  CLI11_PARSE(app, argc, argv);
  zkexec::SetUpLogging(seed != 0 ? "debug" : "off");

  zkexec::FakeCoordinator::Mutator* mutator = nullptr;
  const auto mutations = AllMutations();
  for (const auto& one : mutations) {
    if (one.name == mutation) mutator = one.mutator.get();
  }
  if (!mutation.empty() && mutator == nullptr) {
    std::cerr << "no mutation " << mutation << "\n";
    return 2;
  }
  if (seed != 0) {
    from = seed;
    count = 1;
    jobs = 1;
  }
  Totals totals;
  std::atomic<std::uint64_t> next{from};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < jobs; ++i) {
    threads.emplace_back([&] {
      for (auto at = next++; at < from + count; at = next++) {
        auto plan = PlanOf(at);
        plan.mutator = mutator;
        plan.trace = trace;
        World world(at, plan);
        totals.Add(at, world, world.Run());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::cout << nlohmann::json{{"seeds", count},
                              {"violations", totals.violations.size()},
                              {"faults", totals.faults},
                              {"outcomes", totals.outcomes}}
                   .dump()
            << "\n";
  return totals.violations.empty() ? 0 : 1;
}
