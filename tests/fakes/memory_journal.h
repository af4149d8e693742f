// SPDX-License-Identifier: Apache-2.0
// MemoryJournal: a Journal that outlives its agent in the test's memory.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "worker/journal.h"

namespace zkexec {

class MemoryJournal : public Journal {
 public:
  void Keep(const JournalRecord& record) override { records[record.dispatch_id] = record; }
  void Forget(const std::string& dispatch_id) override { records.erase(dispatch_id); }
  std::vector<JournalRecord> TakeOver() override {
    std::vector<JournalRecord> found;
    for (const auto& [id, record] : records) found.push_back(record);
    return found;
  }

  std::map<std::string, JournalRecord> records;
};

}  // namespace zkexec
