// SPDX-License-Identifier: Apache-2.0
// zkexec_ring_share: which share of a queue's partitions moves when a ninth worker
// joins eight equal ones. Over many fleets, because a worker's name has a random
// part. Prints one JSON object.
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/ids.h"
#include "common/queue_shares.h"

namespace zkexec::bench {
namespace {

constexpr int kFleets = 200;
constexpr int kWorkers = 8;

double MovedShare(int partitions) {
  QueueShares shares("default", partitions);
  const auto join = [&shares](int number) {
    shares.Add("host-" + std::to_string(number) + "-" + RandomHex().substr(0, 8), 16);
  };
  for (int i = 0; i < kWorkers; ++i) join(i);
  std::vector<std::string> before;
  for (int i = 0; i < partitions; ++i) before.push_back(shares.Owner(i));
  join(kWorkers);
  int moved = 0;
  for (int i = 0; i < partitions; ++i) {
    if (before[static_cast<std::size_t>(i)] != shares.Owner(i)) ++moved;
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
