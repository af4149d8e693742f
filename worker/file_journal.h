// SPDX-License-Identifier: Apache-2.0
// FileJournal: the Journal as files, one for each result, in a folder for each
// incarnation of a worker: <dir>/<worker>/<dispatch>.
//
// A record is written beside its place and renamed into it, so it is there whole or not at all.
// The folder appears with the first record and is locked while its process lives: only what
// is not locked is taken over. Folders are 0700, files 0600; records hold no workload.
//
// Threads: the owner's loop; Keep() waits for the disk. Errors: see journal.h.
#pragma once

#include <functional>
#include <string>

#include "worker/journal.h"

namespace zkexec {

class FileJournal : public Journal {
 public:
  // `dir` is shared by the workers of a host. `on_failure` is told of each record that could
  // not be kept.
  FileJournal(std::string dir, std::string worker, std::function<void()> on_failure);
  ~FileJournal() override;
  FileJournal(const FileJournal&) = delete;
  FileJournal& operator=(const FileJournal&) = delete;

  void Keep(const JournalRecord& record) override;
  void Forget(const std::string& dispatch_id) override;
  std::vector<JournalRecord> TakeOver() override;

 private:
  bool Open();
  bool Write(const JournalRecord& record);
  void Fail(const std::string& doing, const std::string& path);
  std::vector<JournalRecord> Read(const std::string& folder);

  const std::string dir_;
  const std::string folder_;
  const std::function<void()> on_failure_;
  int lock_ = -1;
  bool failing_ = false;  // told already
};

}  // namespace zkexec
