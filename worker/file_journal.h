// SPDX-License-Identifier: Apache-2.0
// FileJournal: the Journal in a folder of the worker's host, a file per incarnation.
//
//   <folder>/<worker>.journal       made at the first Keep(), removed once it is empty
//   <folder>/<worker>.journal.new   the same while it is written; then renamed
//   <folder>/<worker>.journal.bad   could not be read; set aside for people
//
// A file is locked (flock) for as long as its worker lives, so that workers may share
// the folder: only files without a living owner are taken over. It holds outcomes and
// names, no workload and no secret.
//
// Errors: told in the log when they begin and when they are over, and counted. What
//         could not be written is tried again at Tick(), and lives in memory until then.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"
#include "worker/journal.h"

namespace zkexec {

class FileJournal : public Journal {
 public:
  // `worker` is one path component. `on_failure` (may be empty) is called at each
  // failed attempt to write. `clock` is borrowed. Touches no file yet.
  FileJournal(std::filesystem::path folder, std::string worker, const Clock& clock,
              std::function<void()> on_failure);
  // Leaves the file, if something is left in it, for the next incarnation.
  ~FileJournal() override;
  FileJournal(const FileJournal&) = delete;
  FileJournal& operator=(const FileJournal&) = delete;

  void Keep(const JournalRecord& record) override;
  // Not flushed to the disk: a record that comes back is only committed once more.
  void Forget(const std::string& dispatch_id) override;
  std::vector<JournalRecord> TakeOver() override;
  // Tries again what failed, now and then.
  void Tick();

  // Bytes of the file, 0 while there is none.
  std::size_t size() const { return fd_ < 0 ? 0 : size_; }

 private:
  struct Taken {
    int fd;
    std::filesystem::path path;
    bool bad;  // to be set aside instead of removed
  };

  bool Append(const std::string& frame, bool durable);
  bool Rewrite();
  void RemoveOwn();
  void ReleaseTaken(bool copied);
  void Take(const std::filesystem::path& path, std::vector<JournalRecord>* found);
  bool Fail(const std::string& what);  // false, for `return`
  void Recovered();

  const std::filesystem::path folder_;
  const std::filesystem::path path_;
  const Clock& clock_;
  const std::function<void()> on_failure_;
  int fd_ = -1;                                // open and locked while there is a file
  std::size_t size_ = 0;                       // of what is surely in it
  std::size_t compact_size_ = 0;               // the same when it was last written anew
  std::map<std::string, JournalRecord> live_;  // by dispatch
  std::vector<Taken> taken_;                   // locked, and not yet copied into our own
  bool stale_ = false;                         // the file lacks something of live_
  TimePoint retry_at_{};
  std::string told_;  // the failure that was logged; empty: none
};

// The file's contents, for the tests: a header, then frames.
namespace journal_format {

inline constexpr char kHeader[] = "zkexec-journal-1\n";

std::string Frame(const JournalRecord& record);
std::string ForgetFrame(const std::string& dispatch_id);

struct Contents {
  std::map<std::string, JournalRecord> live;
  bool torn = false;     // the last frame was not written to its end, as at a crash
  bool corrupt = false;  // something else is wrong; `live` is what precedes it
};
Contents Parse(const std::string& bytes);

}  // namespace journal_format

}  // namespace zkexec
