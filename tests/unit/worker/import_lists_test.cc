// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/import_lists.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/unit/worker/temp_folder.h"

namespace zkexec {
namespace {

const DagFile kFile{"b", "", "dag.py"};

class ImportListsTest : public ::testing::Test {
 protected:
  ImportListsTest()
      : lists_([this](const nlohmann::json& what,
                      ImportScan::Done done) { return Scan(what, std::move(done)); },
               clock_,
               [this](const std::string& list, int asked) {
                 known_.push_back(list);
                 asked_.push_back(asked);
               }) {
    Write("first");
  }
  std::shared_ptr<void> Scan(const nlohmann::json& what, ImportScan::Done done) {
    asked_for_.push_back(what);
    done_ = std::move(done);
    return std::make_shared<int>(0);
  }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  void Locate(const DagFile& file = kFile) {
    const nlohmann::json version =
        file.version.empty() ? nlohmann::json() : nlohmann::json(file.version);
    lists_.Locate({{"bundle", file.bundle},
                   {"version", version},
                   {"path", file.path},
                   {"file", path_},
                   {"bundle_path", folder_.path().string()}});
  }
  void Answer(const std::string& imports) {
    struct stat now{};
    ASSERT_EQ(stat(path_.c_str(), &now), 0);
    constexpr std::int64_t kSecond = 1'000'000'000;
    const PathState state{path_, now.st_mtim.tv_sec * kSecond + now.st_mtim.tv_nsec,
                          now.st_ctim.tv_sec * kSecond + now.st_ctim.tv_nsec, now.st_size,
                          now.st_ino};
    done_({imports, {state}, "", ""});
  }

  TempFolder folder_;
  const std::string path_ = (folder_.path() / "dag.py").string();
  FakeClock clock_;
  std::vector<nlohmann::json> asked_for_;
  ImportScan::Done done_;
  std::vector<std::string> known_;
  std::vector<int> asked_;
  ImportLists lists_;
};

TEST_F(ImportListsTest, FileIsReadOnceATaskHasToldWhereItLies) {
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  EXPECT_TRUE(asked_for_.empty());
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  Locate();
  ASSERT_EQ(asked_for_.size(), 1u);
  EXPECT_EQ(asked_for_[0]["file"], path_);
  Locate();
  EXPECT_EQ(asked_for_.size(), 1u) << "it is being read";
  Answer(R"([["a",[]]])");
  EXPECT_EQ(known_, std::vector<std::string>{R"([["a",[]]])"});
  EXPECT_EQ(asked_, std::vector<int>{2});
  ASSERT_NE(lists_.Find(kFile), nullptr);
  EXPECT_EQ(*lists_.Find(kFile), R"([["a",[]]])");
}

TEST_F(ImportListsTest, ChangedFileIsReadAnewAndItsOldListIsNotUsedMeanwhile) {
  lists_.Find(kFile);
  Locate();
  Answer("[]");
  Write("another text");
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  ASSERT_EQ(asked_for_.size(), 2u);
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  EXPECT_EQ(asked_for_.size(), 2u);
  Answer(R"([["b",[]]])");
  EXPECT_EQ(*lists_.Find(kFile), R"([["b",[]]])");
  EXPECT_EQ(asked_, (std::vector<int>{1, 2}));
}

TEST_F(ImportListsTest, DeletedFileHasNoList) {
  lists_.Find(kFile);
  Locate();
  Answer("[]");
  ASSERT_EQ(std::remove(path_.c_str()), 0);
  EXPECT_EQ(lists_.Find(kFile), nullptr);
}

TEST_F(ImportListsTest, FileThatCannotBeReadIsTriedAgainAfterAWhile) {
  lists_.Find(kFile);
  Locate();
  done_({"[]", {}, "unreadable", "SyntaxError"});
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  EXPECT_EQ(asked_for_.size(), 1u);
  clock_.Advance(Duration{60'000});
  EXPECT_EQ(lists_.Find(kFile), nullptr);
  EXPECT_EQ(asked_for_.size(), 2u);
  EXPECT_TRUE(known_.empty());
}

TEST_F(ImportListsTest, EachVersionOfABundleHasAListOfItsOwn) {
  const DagFile versioned{"b", "v1", "dag.py"};
  lists_.Find(kFile);
  lists_.Find(versioned);
  Locate(versioned);
  Answer("[]");
  EXPECT_NE(lists_.Find(versioned), nullptr);
  EXPECT_EQ(lists_.Find(kFile), nullptr);
}

TEST_F(ImportListsTest, FileThatNobodyAskedForIsNotReadWhateverAProcessTells) {
  Locate();
  lists_.Locate({{"bundle", 1}, {"path", nullptr}});
  EXPECT_TRUE(asked_for_.empty());
}

TEST_F(ImportListsTest, FileThatIsNotAskedForAnyMoreIsForgotten) {
  lists_.Find(kFile);
  Locate();
  Answer("[]");
  clock_.Advance(Duration{3'601'000});
  lists_.Tick();
  EXPECT_EQ(lists_.Find(kFile), nullptr);
}

}  // namespace
}  // namespace zkexec
