// SPDX-License-Identifier: Apache-2.0
#include "worker/file_journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "common/log.h"

namespace zkexec {
namespace {

namespace fs = std::filesystem;

constexpr char kSuffix[] = ".journal";
constexpr char kNewSuffix[] = ".journal.new";
constexpr Duration kRetry{5000};
// Beyond this, what was forgotten is worth writing the file anew.
constexpr std::size_t kCompactBytes = 1u << 20;

bool WriteAll(int fd, const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto wrote = write(fd, bytes.data() + at, bytes.size() - at);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    at += static_cast<std::size_t>(wrote);
  }
  return true;
}

std::optional<std::string> ReadAll(int fd) {
  std::string bytes;
  char chunk[65536];
  for (;;) {
    const auto got = pread(fd, chunk, sizeof chunk, static_cast<off_t>(bytes.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return bytes;
    bytes.append(chunk, static_cast<std::size_t>(got));
  }
}

bool SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool synced = fsync(fd) == 0;
  const int failure = errno;
  close(fd);
  errno = failure;
  return synced;
}

// With the folders above it; all new ones are for us alone.
bool MakeFolder(const fs::path& folder) {
  if (mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return true;
  if (errno != ENOENT || !folder.has_parent_path() || folder.parent_path() == folder) return false;
  return MakeFolder(folder.parent_path()) && (mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST);
}

// Whether the name still leads to the open file: its owner may just have replaced it.
bool IsStillThere(int fd, const fs::path& path) {
  struct stat opened{};
  struct stat named{};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

}  // namespace

FileJournal::FileJournal(fs::path folder, std::string worker, const Clock& clock,
                         std::function<void()> on_failure)
    : folder_(std::move(folder)),
      path_(folder_ / (worker + kSuffix)),
      clock_(clock),
      on_failure_(std::move(on_failure)) {}

FileJournal::~FileJournal() {
  ReleaseTaken(false);
  if (fd_ >= 0) close(fd_);
}

void FileJournal::Keep(const JournalRecord& record) {
  live_[record.dispatch_id] = record;
  if (fd_ < 0 || stale_ || size_ > kCompactBytes + 2 * compact_size_) {
    Rewrite();
  } else {
    Append(journal_format::Frame(record), true);
  }
}

void FileJournal::Forget(const std::string& dispatch_id) {
  if (live_.erase(dispatch_id) == 0) return;
  if (live_.empty()) {
    RemoveOwn();
  } else if (stale_) {
    Rewrite();
  } else {
    Append(journal_format::ForgetFrame(dispatch_id), false);
  }
}

void FileJournal::Tick() {
  if (stale_ && clock_.Now() >= retry_at_) Rewrite();
}

bool FileJournal::Append(const std::string& frame, bool durable) {
  if (!WriteAll(fd_, frame)) {
    const int failure = errno;
    // Half a frame in the middle would hide what follows it.
    [[maybe_unused]] const auto cut = ftruncate(fd_, static_cast<off_t>(size_));
    errno = failure;
    return Fail("write");
  }
  size_ += frame.size();
  if (durable && fdatasync(fd_) != 0) return Fail("flush");
  return true;
}

// The one way to a file with a name: complete, flushed and locked before others see it.
bool FileJournal::Rewrite() {
  if (live_.empty()) {
    RemoveOwn();
    return true;
  }
  if (!MakeFolder(folder_)) return Fail("make the folder of");
  auto fresh = path_;
  fresh.replace_extension(kNewSuffix);
  unlink(fresh.c_str());
  const int fd = open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return Fail("create");
  std::string bytes = journal_format::kHeader;
  for (const auto& [id, record] : live_) bytes += journal_format::Frame(record);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !WriteAll(fd, bytes) || fsync(fd) != 0 ||
      rename(fresh.c_str(), path_.c_str()) != 0) {
    const int failure = errno;
    unlink(fresh.c_str());
    close(fd);
    errno = failure;
    return Fail("write");
  }
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  size_ = compact_size_ = bytes.size();
  if (!SyncFolder(folder_)) return Fail("flush the folder of");
  stale_ = false;
  ReleaseTaken(true);
  Recovered();
  return true;
}

void FileJournal::RemoveOwn() {
  stale_ = false;
  if (fd_ >= 0) {
    unlink(path_.c_str());
    close(std::exchange(fd_, -1));
  }
  ReleaseTaken(true);  // what they held is forgotten, too
  Recovered();
}

void FileJournal::ReleaseTaken(bool copied) {
  for (const auto& [fd, path, bad] : taken_) {
    auto aside = path;
    aside += ".bad";
    if (copied && (bad ? rename(path.c_str(), aside.c_str()) : unlink(path.c_str())) != 0) {
      spdlog::error("cannot put an earlier worker's journal away path={} error=\"{}\"",
                    path.string(), std::strerror(errno));
    }
    close(fd);
  }
  taken_.clear();
}

std::vector<JournalRecord> FileJournal::TakeOver() {
  std::vector<fs::path> names;
  std::error_code failure;
  for (fs::directory_iterator at(folder_, failure), end; !failure && at != end;
       at.increment(failure)) {
    names.push_back(at->path());
  }
  if (failure && failure != std::errc::no_such_file_or_directory) {
    spdlog::error("cannot look for the journals of earlier workers folder={} error=\"{}\"",
                  folder_.string(), failure.message());
  }
  std::vector<JournalRecord> found;
  for (const auto& path : names) {
    const auto name = path.filename().string();
    if (path != path_ && (name.ends_with(kSuffix) || name.ends_with(kNewSuffix))) {
      Take(path, &found);
    }
  }
  if (!taken_.empty()) Rewrite();
  return found;
}

void FileJournal::Take(const fs::path& path, std::vector<JournalRecord>* found) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int failure = errno;
    if (fd >= 0) close(fd);
    if (failure == EWOULDBLOCK || failure == ENOENT) return;  // its worker lives, or has ended well
    spdlog::error("cannot take an earlier worker's journal over path={} error=\"{}\"",
                  path.string(), std::strerror(failure));
    return;
  }
  if (!IsStillThere(fd, path)) {
    close(fd);
    return;
  }
  taken_.push_back({fd, path, false});
  // One without its final name was never relied on.
  if (path.filename().string().ends_with(kNewSuffix)) return;
  const auto bytes = ReadAll(fd);
  if (!bytes) {
    spdlog::error("cannot read an earlier worker's journal path={} error=\"{}\"", path.string(),
                  std::strerror(errno));
    taken_.pop_back();
    close(fd);
    return;
  }
  const auto contents = journal_format::Parse(*bytes);
  for (const auto& [id, record] : contents.live) {
    if (live_.emplace(id, record).second) found->push_back(record);
  }
  if (contents.torn) {
    spdlog::warn("the journal's last record was not written to its end path={} records={}",
                 path.string(), contents.live.size());
  }
  if (contents.corrupt) {
    spdlog::error("a journal is unreadable; set aside as .bad path={} records_before={}",
                  path.string(), contents.live.size());
    taken_.back().bad = true;
  }
}

bool FileJournal::Fail(const std::string& what) {
  const int failure = errno;
  stale_ = true;
  retry_at_ = clock_.Now() + kRetry;
  if (on_failure_) on_failure_();
  const auto problem = "cannot " + what + " " + path_.string() + ": " + std::strerror(failure);
  if (problem != told_) {
    spdlog::error("journal not written: results wait in memory only error=\"{}\" errno={}", problem,
                  failure);
  }
  told_ = problem;
  return false;
}

void FileJournal::Recovered() {
  if (!told_.empty()) spdlog::info("journal is written again path={}", path_.string());
  told_.clear();
}

}  // namespace zkexec
