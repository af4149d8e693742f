// SPDX-License-Identifier: Apache-2.0
#include "worker/http/log_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/unit/worker/temp_folder.h"

namespace zkexec {
namespace {

namespace fs = std::filesystem;

// The path that LogAccess allowed has no links. A task, which owns its folder of logs, can put one
// there before the file is opened.
class LogFileTest : public ::testing::Test {
 protected:
  LogFileTest() {
    folder_.Write("logs/task/a.log", "of the task");
    folder_.Write("secrets/a.log", "of others");
  }

  void ExpectNotFound() const {
    const auto opened = LogFile::Open(allowed_.string());
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kNotFound) << opened.error().message;
  }

  TempFolder folder_;
  const fs::path base_ = fs::canonical(folder_.path());
  const fs::path allowed_ = base_ / "logs/task/a.log";
};

TEST_F(LogFileTest, ReadsFileThatIsWhereItWas) {
  auto opened = LogFile::Open(allowed_.string());
  ASSERT_TRUE(opened) << opened.error().message;
  std::string text(opened->size(), ' ');
  EXPECT_EQ(opened->Read(text.data(), text.size()), 11U);
  EXPECT_EQ(text, "of the task");
}

TEST_F(LogFileTest, RefusesFileWhoseFolderBecameLinkToAnother) {
  fs::rename(base_ / "logs/task", base_ / "logs/before");
  fs::create_directory_symlink(base_ / "secrets", base_ / "logs/task");
  ExpectNotFound();
}

TEST_F(LogFileTest, RefusesFileOfWhichAFolderFurtherUpBecameLink) {
  folder_.Write("secrets/task/a.log", "of others");
  fs::rename(base_ / "logs", base_ / "before");
  fs::create_directory_symlink("secrets", base_ / "logs");
  ExpectNotFound();
}

TEST_F(LogFileTest, RefusesFileThatBecameLink) {
  fs::remove(allowed_);
  fs::create_symlink(base_ / "secrets/a.log", allowed_);
  ExpectNotFound();
}

TEST_F(LogFileTest, RefusesFileThatIsGone) {
  fs::remove(allowed_);
  ExpectNotFound();
}

// Nobody writes into the pipe: to open it must not wait for that.
TEST_F(LogFileTest, RefusesWhatIsNoLongerRegularFile) {
  fs::remove(allowed_);
  ASSERT_EQ(mkfifo(allowed_.c_str(), 0600), 0);
  ExpectNotFound();
  fs::remove(allowed_);
  fs::create_directory(allowed_);
  ExpectNotFound();
}

}  // namespace
}  // namespace zkexec
