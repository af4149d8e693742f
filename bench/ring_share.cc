// SPDX-License-Identifier: Apache-2.0
// zkexec_ring_share: which share of a queue's partitions moves when a ninth worker
// joins eight equal ones. Over many fleets, because a worker's name has a random
// part. Prints one JSON object.
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/fleet.h"
#include "common/ids.h"

namespace zkexec::bench {
namespace {

constexpr int kFleets = 200;
constexpr int kWorkers = 8;

void Join(std::map<std::string, proto::Worker>& fleet, int number) {
  proto::Worker worker;
  worker.set_name("host-" + std::to_string(number) + "-" + RandomHex().substr(0, 8));
  worker.set_state("active");
  worker.add_queues("default");
  worker.set_slots(16);
  fleet[worker.name()] = worker;
}

double MovedShare(int partitions) {
  std::map<std::string, proto::Worker> fleet;
  for (int i = 0; i < kWorkers; ++i) Join(fleet, i);
  const auto before = QueueRing(fleet, "default");
  Join(fleet, kWorkers);
  const auto after = QueueRing(fleet, "default");
  int moved = 0;
  for (int i = 0; i < partitions; ++i) {
    const auto key = PartitionKey("default", i);
    if (before.Owner(key) != after.Owner(key)) ++moved;
  }
  return static_cast<double>(moved) / partitions;
}

nlohmann::json Shares(int partitions) {
  std::vector<double> shares;
  for (int i = 0; i < kFleets; ++i) shares.push_back(MovedShare(partitions));
  std::sort(shares.begin(), shares.end());
  return {{"median", shares[kFleets / 2]}, {"min", shares.front()}, {"max", shares.back()}};
}

}  // namespace
}  // namespace zkexec::bench

int main() {
  using zkexec::bench::Shares;
  std::cout << nlohmann::json{{"64", Shares(64)}, {"1024", Shares(1024)}, {"ideal", 1.0 / 9}}
            << std::endl;
}
