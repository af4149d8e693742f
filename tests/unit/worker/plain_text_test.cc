// SPDX-License-Identifier: Apache-2.0
#include "worker/plain_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace zkexec {
namespace {

using namespace std::string_literals;

constexpr char kReplacement[] = "\xef\xbf\xbd";

TEST(PlainTextTest, WhatIsTextStaysAsItIs) {
  const auto text =
      "a\nb\tc \"~\" \xc2\x80\xc3\xa4\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf"
      "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"s;
  EXPECT_EQ(PlainText(text, 100), text);
  EXPECT_EQ(PlainText("", 100), "");
}

TEST(PlainTextTest, EachControlCharacterButNewlineAndTabIsReplaced) {
  for (int byte = 0; byte < 0x80; ++byte) {
    const auto one = static_cast<char>(byte);
    const bool control = (byte < 0x20 && one != '\n' && one != '\t') || byte == 0x7f;
    const auto shown = control ? std::string(kReplacement) : std::string(1, one);
    EXPECT_EQ(PlainText("a"s + one + "b", 100), "a" + shown + "b") << byte;
  }
}

TEST(PlainTextTest, EachByteThatIsNoPartOfACharacterIsReplaced) {
  const std::pair<std::string, int> cases[] = {{"\x80", 1},
                                               {"\xff", 1},
                                               {"\xc3", 1},
                                               {"\xc0\x80", 2},
                                               {"\xc1\xbf", 2},
                                               {"\xe2\x82", 2},
                                               {"\xe0\x9f\xbf", 3},
                                               {"\xed\xa0\x80", 3},
                                               {"\xf0\x8f\xbf\xbf", 4},
                                               {"\xf0\x9f\x98", 3},
                                               {"\xf4\x90\x80\x80", 4},
                                               {"\xf5\x80\x80\x80", 4}};
  for (const auto& [bytes, count] : cases) {
    std::string expected = "a";
    for (int i = 0; i < count; ++i) expected += kReplacement;
    EXPECT_EQ(PlainText("a" + bytes + "b", 100), expected + "b") << nlohmann::json(expected);
  }
}

TEST(PlainTextTest, WhatIsTooLongIsCutBetweenCharacters) {
  EXPECT_EQ(PlainText("ab\xc3\xa4z", 3), "ab");
  EXPECT_EQ(PlainText("ab\xc3\xa4z", 4), "ab\xc3\xa4");
  EXPECT_EQ(PlainText("ab\0\0"s, 5), "ab"s + kReplacement) << "after it was made longer";
}

}  // namespace
}  // namespace zkexec
