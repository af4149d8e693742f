// SPDX-License-Identifier: Apache-2.0
#include "worker/file_journal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>

#include "tests/fakes/fake_clock.h"
#include "tests/unit/worker/temp_folder.h"

namespace zkexec {
namespace {

namespace fs = std::filesystem;

// As of a disk that is full: files can't grow beyond `bytes`.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

JournalRecord Record(const std::string& id, const std::string& outcome = "success") {
  return {id, "default", 3, "scheduler", outcome, "why", "w-1"};
}

std::string Read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class FileJournalTest : public ::testing::Test {
 protected:
  std::unique_ptr<FileJournal> Make(const std::string& worker) {
    return std::make_unique<FileJournal>(folder_, worker, clock_, [this] { ++failures_; });
  }
  // What a new incarnation finds, sorted; it keeps nothing of it.
  std::vector<JournalRecord> Found() {
    auto heir = Make("heir-" + std::to_string(++heirs_));
    auto found = heir->TakeOver();
    for (const auto& record : found) heir->Forget(record.dispatch_id);
    std::sort(found.begin(), found.end(), [](const auto& left, const auto& right) {
      return left.dispatch_id < right.dispatch_id;
    });
    return found;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    if (!fs::exists(folder_)) return names;
    for (const auto& entry : fs::directory_iterator(folder_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }
  // A file as a dead incarnation leaves it.
  void Leave(const std::string& name, const std::string& bytes) const {
    fs::create_directories(folder_);
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }

  using Records = std::vector<JournalRecord>;
  using Names = std::vector<std::string>;
  const std::string header_ = journal_format::kHeader;
  FakeClock clock_;
  TempFolder temp_;
  fs::path folder_ = temp_.path() / "a" / "journal";
  int failures_ = 0;
  int heirs_ = 0;
};

TEST_F(FileJournalTest, MakesNothingBeforeTheFirstRecord) {
  auto journal = Make("w-1");
  EXPECT_TRUE(journal->TakeOver().empty());
  journal->Forget("unknown");
  journal->Tick();
  EXPECT_FALSE(fs::exists(folder_));
  EXPECT_EQ(failures_, 0);
}

TEST_F(FileJournalTest, FileAndFolderAreForTheOwnerOnly) {
  auto journal = Make("w-1");
  journal->Keep(Record("d1"));
  struct stat status{};
  ASSERT_EQ(stat((folder_ / "w-1.journal").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0600u);
  ASSERT_EQ(stat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
}

TEST_F(FileJournalTest, WhatWasKeptIsTakenOverOnceByANewIncarnation) {
  Make("w-1")->Keep(Record("d1"));
  auto second = Make("w-2");
  EXPECT_EQ(second->TakeOver(), Records{Record("d1")});
  EXPECT_EQ(Files(), Names{"w-2.journal"});
  EXPECT_TRUE(second->TakeOver().empty());
  EXPECT_TRUE(Make("w-3")->TakeOver().empty());
}

TEST_F(FileJournalTest, WhatWasTakenOverSurvivesTheSecondIncarnationToo) {
  Make("w-1")->Keep(Record("d1"));
  EXPECT_EQ(Make("w-2")->TakeOver().size(), 1u);
  EXPECT_EQ(Found(), Records{Record("d1")});
}

TEST_F(FileJournalTest, ForgottenRecordsDoNotComeBack) {
  {
    auto journal = Make("w-1");
    for (const auto* id : {"d1", "d2", "d3"}) journal->Keep(Record(id));
    journal->Forget("d2");
    journal->Forget("d2");
  }
  EXPECT_EQ(Found(), (Records{Record("d1"), Record("d3")}));
}

TEST_F(FileJournalTest, FileIsRemovedWithItsLastRecordAndMadeAnewByTheNext) {
  auto journal = Make("w-1");
  journal->Keep(Record("d1"));
  journal->Forget("d1");
  EXPECT_EQ(Files(), Names{});
  journal->Keep(Record("d2"));
  journal.reset();
  EXPECT_EQ(Found(), Records{Record("d2")});
}

TEST_F(FileJournalTest, KeepingAgainReplacesTheRecord) {
  {
    auto journal = Make("w-1");
    journal->Keep(Record("d1", "failed"));
    journal->Keep(Record("d1", "killed"));
  }
  EXPECT_EQ(Found(), Records{Record("d1", "killed")});
}

TEST_F(FileJournalTest, LiveWorkersNeverTakeEachOthersRecords) {
  auto first = Make("w-1");
  auto second = Make("w-2");
  first->Keep(Record("d1"));
  second->Keep(Record("d2"));
  EXPECT_TRUE(first->TakeOver().empty());
  EXPECT_TRUE(second->TakeOver().empty());
  EXPECT_EQ(Files(), (Names{"w-1.journal", "w-2.journal"}));
  first.reset();
  EXPECT_EQ(second->TakeOver(), Records{Record("d1")});
}

TEST_F(FileJournalTest, FileOfALiveWorkerStaysLockedWhenItIsWrittenAnew) {
  auto first = Make("w-1");
  const auto big = std::string(300000, 'x');
  for (int i = 0; i < 20; ++i) {
    auto record = Record("d1");
    record.info = big;
    first->Keep(record);
  }
  EXPECT_LT(fs::file_size(folder_ / "w-1.journal"), 20 * big.size());
  EXPECT_TRUE(Make("w-2")->TakeOver().empty());
  first.reset();
  EXPECT_EQ(Found().size(), 1u);
}

TEST_F(FileJournalTest, RecordsOfAnyBytesComeBackAsTheyWere) {
  JournalRecord odd{"d1", "a queue / ü", 0, "s", "failed", std::string(2000, '\0') + "é\n", "w"};
  Make("w-1")->Keep(odd);
  EXPECT_EQ(Found(), Records{odd});
}

TEST_F(FileJournalTest, FileCutAtAnyByteYieldsEveryCompleteRecord) {
  const auto first = journal_format::Frame(Record("d1"));
  const auto second = journal_format::Frame(Record("d2"));
  const auto whole = header_ + first + second;
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    Leave("w-1.journal", whole.substr(0, length));
    Records expected;
    if (length >= header_.size() + first.size()) expected.push_back(Record("d1"));
    if (length == whole.size()) expected.push_back(Record("d2"));
    EXPECT_EQ(Found(), expected) << length;
    EXPECT_EQ(Files(), Names{}) << length;
  }
}

TEST_F(FileJournalTest, LastRecordWithWrongBytesOrZeroesAtTheEndIsIgnored) {
  auto whole = header_ + journal_format::Frame(Record("d1")) + journal_format::Frame(Record("d2"));
  Leave("w-1.journal", whole + std::string(5000, '\0'));
  EXPECT_EQ(Found(), (Records{Record("d1"), Record("d2")}));
  whole.back() ^= 1;
  Leave("w-1.journal", whole);
  EXPECT_EQ(Found(), Records{Record("d1")});
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileJournalTest, GarbageIsSetAside) {
  Leave("w-1.journal", "this is not a journal");
  EXPECT_TRUE(Found().empty());
  EXPECT_EQ(Files(), Names{"w-1.journal.bad"});
  EXPECT_EQ(Read(folder_ / "w-1.journal.bad"), "this is not a journal");
  EXPECT_TRUE(Found().empty());
}

TEST_F(FileJournalTest, DamageInTheMiddleSetsTheFileAsideAndSavesWhatPrecedesIt) {
  const auto first = journal_format::Frame(Record("d1"));
  auto whole = header_ + first;
  for (const auto* id : {"d2", "d3"}) whole += journal_format::Frame(Record(id));
  whole[header_.size() + first.size() + 10] ^= 1;
  Leave("w-1.journal", whole);
  EXPECT_EQ(Found(), Records{Record("d1")});
  EXPECT_EQ(Files(), Names{"w-1.journal.bad"});
}

TEST_F(FileJournalTest, AnySingleWrongByteIsNoCrashAndInventsNothing) {
  const auto whole = header_ + journal_format::Frame(Record("d1")) +
                     journal_format::Frame(Record("d2")) + journal_format::ForgetFrame("d1");
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const int flip : {1, 0x80}) {
      auto damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      for (const auto& [id, record] : journal_format::Parse(damaged).live) {
        EXPECT_EQ(record, Record(id)) << at;
      }
    }
  }
}

TEST_F(FileJournalTest, UnfinishedNewFileOfADeadWorkerIsRemoved) {
  Leave("w-1.journal.new", header_ + journal_format::Frame(Record("d1")));
  Make("w-1b")->Keep(Record("d2"));
  EXPECT_EQ(Found(), Records{Record("d2")});
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileJournalTest, RecordThatFoundTheDiskFullIsWrittenWhenThereIsSpaceAgain) {
  auto journal = Make("w-1");
  {
    const FullDisk full(5);
    journal->Keep(Record("d1"));
    EXPECT_EQ(failures_, 1);
    journal->Tick();  // too soon
    EXPECT_EQ(failures_, 1);
    clock_.Advance(Duration{5000});
    journal->Tick();
    EXPECT_EQ(failures_, 2);
    EXPECT_EQ(Files(), Names{});
  }
  clock_.Advance(Duration{5000});
  journal->Tick();
  EXPECT_EQ(failures_, 2);
  journal.reset();
  EXPECT_EQ(Found(), Records{Record("d1")});
}

TEST_F(FileJournalTest, DiskThatFillsUpInTheMiddleOfAnyRecordHarmsNoOther) {
  const auto kept = header_.size() + journal_format::Frame(Record("d1")).size();
  const auto next = journal_format::Frame(Record("d2")).size();
  for (std::size_t room = 0; room < next; ++room) {
    auto journal = Make("w-1");
    journal->Keep(Record("d1"));
    {
      const FullDisk full(kept + room);
      journal->Keep(Record("d2"));
    }
    EXPECT_EQ(fs::file_size(folder_ / "w-1.journal"), kept) << room;
    journal->Keep(Record("d3"));
    journal.reset();
    EXPECT_EQ(Found(), (Records{Record("d1"), Record("d2"), Record("d3")})) << room;
  }
}

TEST_F(FileJournalTest, EarlierJournalStaysWhileItCannotBeCopied) {
  Make("w-1")->Keep(Record("d1"));
  auto second = Make("w-2");
  {
    const FullDisk full(5);
    EXPECT_EQ(second->TakeOver(), Records{Record("d1")});
    EXPECT_EQ(Files(), Names{"w-1.journal"});
    EXPECT_TRUE(Make("w-3")->TakeOver().empty()) << "it is w-2's already";
  }
  clock_.Advance(Duration{5000});
  second->Tick();
  EXPECT_EQ(Files(), Names{"w-2.journal"});
}

TEST_F(FileJournalTest, EarlierJournalThatCouldNotBeCopiedGoesWithItsLastRecord) {
  Make("w-1")->Keep(Record("d1"));
  auto second = Make("w-2");
  {
    const FullDisk full(5);
    EXPECT_EQ(second->TakeOver().size(), 1u);
  }
  second->Forget("d1");
  EXPECT_EQ(Files(), Names{});
}

TEST_F(FileJournalTest, FolderThatCannotBeMadeIsCountedAndMadeOnceItCanBe) {
  temp_.Write("a", "a file in the folder's place");
  auto journal = Make("w-1");
  EXPECT_TRUE(journal->TakeOver().empty());
  journal->Keep(Record("d1"));
  EXPECT_EQ(failures_, 1);
  fs::remove(temp_.path() / "a");
  journal->Keep(Record("d2"));
  journal.reset();
  EXPECT_EQ(Found(), (Records{Record("d1"), Record("d2")}));
  EXPECT_EQ(failures_, 1);
}

TEST_F(FileJournalTest, ForgettingEverythingEndsAFailure) {
  auto journal = Make("w-1");
  {
    const FullDisk full(5);
    journal->Keep(Record("d1"));
  }
  journal->Forget("d1");
  clock_.Advance(Duration{5000});
  journal->Tick();
  EXPECT_EQ(failures_, 1);
  EXPECT_EQ(Files(), Names{});
}

}  // namespace
}  // namespace zkexec
