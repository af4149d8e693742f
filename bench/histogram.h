// SPDX-License-Identifier: Apache-2.0
// Histogram: latencies in microseconds, within 1 %, in bounded memory. Written as
// sorted [microseconds, count] pairs, so that those of several processes can be
// added up.
//
// Not thread-safe.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>

namespace zkexec::bench {

class Histogram {
 public:
  void Add(std::int64_t us) { ++counts_[Bucket(std::max<std::int64_t>(us, 0))]; }

  nlohmann::json ToJson() const {
    auto pairs = nlohmann::json::array();
    for (const auto& [bucket, count] : counts_) pairs.push_back({Middle(bucket), count});
    return pairs;
  }

 private:
  // 64 buckets for each doubling; exact below 128.
  static std::int64_t Bucket(std::int64_t us) {
    const auto width = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(us)));
    const int shift = std::max(0, width - 7);
    return 64 * shift + (us >> shift);
  }
  static std::int64_t Middle(std::int64_t bucket) {
    if (bucket < 128) return bucket;
    const auto shift = bucket / 64 - 1;
    return ((bucket - 64 * shift) << shift) + (std::int64_t{1} << (shift - 1));
  }

  std::map<std::int64_t, std::int64_t> counts_;
};

}  // namespace zkexec::bench
