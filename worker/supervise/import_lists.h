// SPDX-License-Identifier: Apache-2.0
// ImportLists: which installed modules each DAG file imports at its top, as far as is known. A file
// is read when a task has told where it lies, and again when it has changed.
//
// Threads:  the owner's loop. Lifetime: borrows the clock.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "worker/supervise/import_scan.h"

namespace zkexec {

struct DagFile {
  std::string bundle;
  std::string version;
  std::string path;
  auto operator<=>(const DagFile&) const = default;
};

class ImportLists {
 public:
  // Called for a list that has become known, with how often it was asked for until then.
  using Known = std::function<void(const std::string& list, int asked)>;

  // Starts to read a file, of which `what` says where it lies. `done` is called once, never from
  // within, and not after what is returned has died.
  using Scan =
      std::function<std::shared_ptr<void>(const nlohmann::json& what, ImportScan::Done done)>;

  ImportLists(Scan scan, const Clock& clock, Known known);

  // The list of a file, as JSON text; nullptr as long as it is not known. Looks whether the file
  // has changed.
  const std::string* Find(const DagFile& file);
  // A task says where a file lies: the message `located` of a warm process.
  void Locate(const nlohmann::json& message);
  // Forgets files that were not asked for of late.
  void Tick();

 private:
  struct Entry {
    std::string file;  // empty: no task has told yet
    std::string bundle_path;
    std::shared_ptr<void> scan;  // under way
    bool known = false;
    ImportScan::Answer answer;
    TimePoint read_at{};
    TimePoint asked_at{};
    int asked = 0;  // since it is not known
  };
  void Read(const DagFile& file, Entry& entry);
  void OnScanned(const DagFile& file, ImportScan::Answer answer);

  const Scan scan_;
  const Clock& clock_;
  const Known known_;
  std::map<DagFile, Entry> entries_;
  std::vector<std::shared_ptr<void>> ended_;
};

}  // namespace zkexec
