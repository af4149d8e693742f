// SPDX-License-Identifier: Apache-2.0
// LogLines: what one task and its supervisor say, as lines of Airflow's task log: one JSON
// object each, time, level and event first, secrets masked.
//
// Pure. Threads: one at a time. Lifetime: borrows clock and masker.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "common/clock.h"
#include "worker/supervise/masker.h"

namespace zkexec {

class LogLines {
 public:
  // As in Python's logging.
  enum Level { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40, kCritical = 50 };
  // `least` is the level of Airflow's logger "task": it holds for text and for the
  // supervisor. The task has filtered its own events already. `ti_id` is in each line that does
  // not say it itself, since 3.4; empty: in none, and a timestamp is whatever the task says it is.
  LogLines(const Clock& clock, const Masker& masker, int least, std::string ti_id = "");

  // Each returns the line with its "\n", or nothing if it is not to be logged.
  // From the task's channel of JSON events.
  std::string FromEvent(std::string_view line) const;
  // From its stdout ("task.stdout", kInfo) or stderr ("task.stderr", kError).
  std::string FromText(std::string_view line, const char* logger, Level level) const;
  // The supervisor's own. The values of `fields` are JSON texts.
  std::string Own(Level level, const std::string& event,
                  std::initializer_list<std::pair<const char*, std::string>> fields = {}) const;

 private:
  std::string Now() const;
  bool MayWriteAsItIs(std::string_view line) const;

  const Clock& clock_;
  const Masker& masker_;
  const int least_;
  const std::string ti_id_;
  const std::string ti_field_;  // of a line; may be empty
};

}  // namespace zkexec
