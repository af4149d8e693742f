// SPDX-License-Identifier: Apache-2.0
// FakeClock: time that moves when the test says so.
#pragma once

#include "common/clock.h"

namespace zkexec {

class FakeClock : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  std::int64_t UnixMs() const override { return unix_ms_; }
  void Advance(Duration step) {
    now_ += step;
    unix_ms_ += step.count();
  }

 private:
  TimePoint now_{std::chrono::hours(1)};
  std::int64_t unix_ms_ = 1800000000000;
};

}  // namespace zkexec
