// SPDX-License-Identifier: Apache-2.0
#include "worker/file_journal.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>

namespace zkexec {
namespace {

namespace fs = std::filesystem;

class FileJournalTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "journal-XXXXXX";
    ASSERT_NE(mkdtemp(dir_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::unique_ptr<FileJournal> Open(const std::string& worker) {
    return std::make_unique<FileJournal>(dir_, worker, [this] { ++failures_; });
  }
  static JournalRecord Record(const std::string& id, const std::string& info = "why") {
    return {id, "default", 3, "s1", "failed", info, "w1"};
  }

  std::string dir_;
  int failures_ = 0;
};

TEST_F(FileJournalTest, ALaterWorkerTakesOverWhatADeadOneKept) {
  auto first = Open("w1");
  first->Keep(Record("d1"));
  first->Keep(Record("d2", "a reason with \"quotes\" and\nlines"));
  first->Forget("d1");
  first.reset();
  auto second = Open("w2");
  EXPECT_EQ(second->TakeOver(),
            std::vector<JournalRecord>{Record("d2", "a reason with \"quotes\" and\nlines")});
  EXPECT_FALSE(fs::exists(dir_ + "/w1"));
  EXPECT_TRUE(second->TakeOver().empty()) << "each once";
  second.reset();
  EXPECT_EQ(Open("w3")->TakeOver().size(), 1u) << "it is kept until it is forgotten";
}

TEST_F(FileJournalTest, ALivingWorkersRecordsAreNotTaken) {
  auto first = Open("w1");
  first->Keep(Record("d1"));
  EXPECT_TRUE(Open("w2")->TakeOver().empty());
  EXPECT_TRUE(fs::exists(dir_ + "/w1/d1"));
}

TEST_F(FileJournalTest, NothingIsLeftWhenAllIsForgotten) {
  auto journal = Open("w1");
  journal->Keep(Record("d1"));
  journal->Forget("d1");
  journal->Forget("unknown");
  journal.reset();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(FileJournalTest, FilesAreForTheirOwnerOnly) {
  auto journal = Open("w1");
  journal->Keep(Record("d1"));
  struct stat folder {};
  struct stat file {};
  ASSERT_EQ(stat((dir_ + "/w1").c_str(), &folder), 0);
  ASSERT_EQ(stat((dir_ + "/w1/d1").c_str(), &file), 0);
  EXPECT_EQ(folder.st_mode & 0777, 0700u);
  EXPECT_EQ(file.st_mode & 0777, 0600u);
}

TEST_F(FileJournalTest, GarbageAndUnfinishedRecordsHinderNobody) {
  Open("w1")->Keep(Record("d1"));
  std::ofstream(dir_ + "/w1/d2") << "{\"dispatch\": \"d2\", \"que";
  std::ofstream(dir_ + "/w1/d3") << "\xff\xfe";
  std::ofstream(dir_ + "/w1/d4.new") << "{";
  std::ofstream(dir_ + "/stranger") << "not a folder";
  auto second = Open("w2");
  EXPECT_EQ(second->TakeOver(), std::vector<JournalRecord>{Record("d1")});
  EXPECT_TRUE(fs::exists(dir_ + "/w1/d2.bad"));
  EXPECT_TRUE(fs::exists(dir_ + "/w1/d3.bad"));
}

TEST_F(FileJournalTest, AFullDiskIsToldAndWorksAgainOnceThereIsRoom) {
  auto journal = Open("w1");
  journal->Keep(Record("d0"));
  // No file may grow any more, which is what a full disk does to us.
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit full{0, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &full);
  journal->Keep(Record("d1"));
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(failures_, 1);
  EXPECT_FALSE(fs::exists(dir_ + "/w1/d1"));
  journal->Keep(Record("d2"));
  EXPECT_EQ(failures_, 1);
  journal.reset();
  EXPECT_EQ(Open("w2")->TakeOver().size(), 2u);
}

TEST_F(FileJournalTest, ADirectoryThatCannotBeMadeIsToldAndSurvived) {
  std::ofstream(dir_ + "/file") << "";
  FileJournal journal(dir_ + "/file/below", "w1", [this] { ++failures_; });
  journal.Keep(Record("d1"));
  journal.Forget("d1");
  EXPECT_TRUE(journal.TakeOver().empty());
  EXPECT_EQ(failures_, 1);
}

}  // namespace
}  // namespace zkexec
