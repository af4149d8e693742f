// SPDX-License-Identifier: Apache-2.0
#include "worker/file_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/layout.h"
#include "common/log.h"

namespace zkexec {
namespace {

namespace fs = std::filesystem;

constexpr char kLockName[] = ".lock";
constexpr char kUnfinished[] = ".new";
constexpr char kUnreadable[] = ".bad";

std::string Encode(const JournalRecord& record) {
  return nlohmann::json{{"dispatch", record.dispatch_id}, {"queue", record.queue},
                        {"partition", record.partition},  {"scheduler", record.scheduler},
                        {"outcome", record.outcome},      {"info", record.info},
                        {"worker", record.worker}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<JournalRecord> Decode(const std::string& text) {
  try {
    const auto fields = nlohmann::json::parse(text);
    JournalRecord record{fields.at("dispatch"), fields.at("queue"),   fields.at("partition"),
                         fields.at("scheduler"), fields.at("outcome"), fields.at("info"),
                         fields.at("worker")};
    if (IsDispatchId(record.dispatch_id)) return record;
  } catch (const nlohmann::json::exception&) {
  }
  return {};
}

// The lock of a folder; -1 if somebody has it, or on an error.
int Lock(const std::string& folder) {
  const int fd = open((folder + "/" + kLockName).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  close(fd);
  return -1;
}

bool Flush(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool flushed = fsync(fd) == 0;
  close(fd);
  return flushed;
}

bool WriteWhole(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  std::size_t done = 0;
  while (done < text.size()) {
    const auto written = write(fd, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  const bool whole = done == text.size() && fsync(fd) == 0;
  const int failure = errno;
  close(fd);
  errno = failure;
  return whole;
}

}  // namespace

FileJournal::FileJournal(std::string dir, std::string worker, std::function<void()> on_failure)
    : dir_(std::move(dir)),
      folder_(dir_ + "/" + worker),
      on_failure_(std::move(on_failure)) {}

FileJournal::~FileJournal() {
  if (lock_ < 0) return;
  std::error_code ignored;
  const bool empty = Read(folder_).empty();
  if (empty) fs::remove_all(folder_, ignored);
  close(lock_);
}

bool FileJournal::Open() {
  if (lock_ >= 0) return true;
  std::error_code error;
  fs::create_directories(dir_, error);
  if (mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) return false;
  lock_ = Lock(folder_);
  return lock_ >= 0;
}

bool FileJournal::Write(const JournalRecord& record) {
  const auto path = folder_ + "/" + record.dispatch_id;
  if (!Open()) {
    Fail("open", folder_);
    return false;
  }
  const auto unfinished = path + kUnfinished;
  if (WriteWhole(unfinished, Encode(record)) && rename(unfinished.c_str(), path.c_str()) == 0 &&
      Flush(folder_)) {
    if (std::exchange(failing_, false)) spdlog::info("journal works again path={}", folder_);
    return true;
  }
  Fail("write", path);
  unlink(unfinished.c_str());
  return false;
}

void FileJournal::Fail(const std::string& doing, const std::string& path) {
  const int failure = errno;
  on_failure_();
  if (std::exchange(failing_, true)) return;
  spdlog::error(
      "cannot {} the journal: results live in memory only until ZooKeeper is back; see "
      "[zk_executor] worker_journal_dir path={} error=\"{}\"",
      doing, path, std::strerror(failure));
}

void FileJournal::Keep(const JournalRecord& record) { Write(record); }

void FileJournal::Forget(const std::string& dispatch_id) {
  if (lock_ >= 0) unlink((folder_ + "/" + dispatch_id).c_str());
}

std::vector<JournalRecord> FileJournal::Read(const std::string& folder) {
  std::vector<JournalRecord> records;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(folder, error)) {
    const auto name = file.path().filename().string();
    if (name == kLockName || name.ends_with(kUnfinished) || name.ends_with(kUnreadable)) continue;
    std::ifstream in(file.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const auto record = Decode(text);
    if (record && record->dispatch_id == name) {
      records.push_back(*record);
      continue;
    }
    const auto aside = file.path().string() + kUnreadable;
    spdlog::error("unreadable record in the journal, moved aside path={}", aside);
    fs::rename(file.path(), aside, error);
  }
  return records;
}

std::vector<JournalRecord> FileJournal::TakeOver() {
  std::vector<JournalRecord> taken;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir_, error)) {
    const auto folder = entry.path().string();
    if (folder == folder_ || !entry.is_directory(error)) continue;
    const int lock = Lock(folder);
    if (lock < 0) continue;  // its worker lives
    bool all = true;
    for (const auto& record : Read(folder)) {
      // In our own folder first: a crash between the two leaves it in both, which is harmless.
      if (Write(record)) {
        unlink((folder + "/" + record.dispatch_id).c_str());
      } else {
        all = false;
      }
      taken.push_back(record);
    }
    if (all) {
      unlink((folder + "/" + kLockName).c_str());
      rmdir(folder.c_str());  // stays if something was moved aside
    }
    close(lock);
  }
  return taken;
}

}  // namespace zkexec
