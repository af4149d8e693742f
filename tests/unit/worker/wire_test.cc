// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/wire.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace zkexec {
namespace {

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

// A request of id 3 with the field "v" as given in msgpack.
std::string RequestWith(const std::string& value) {
  return Bytes({0x93, 3, 0x82, 0xa4}) + "type" + Bytes({0xa7}) + "SetXCom" + Bytes({0xa1}) + "v" +
         value + Bytes({0xc0});
}

std::string Decoded(const std::string& value) {
  std::int64_t id = -1;
  const auto request = DecodeRequest(RequestWith(value), &id);
  if (!request) return "error: " + request.error().message;
  EXPECT_EQ(request->id, 3);
  EXPECT_EQ(request->type, "SetXCom");
  const auto* field = request->Find("v");
  return field == nullptr ? "absent" : *field;
}

TEST(WireTest, ARequestKeepsIntegersFloatsAndTheOrderOfKeys) {
  EXPECT_EQ(Decoded(Bytes({1})), "1");
  EXPECT_EQ(Decoded(Bytes({0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0})), "1.0");
  EXPECT_EQ(Decoded(Bytes({0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})),
            "18446744073709551615");
  EXPECT_EQ(Decoded(Bytes({0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0})), "-9223372036854775808");
  EXPECT_EQ(Decoded(Bytes({0x82, 0xa1, 'z', 1, 0xa1, 'a', 0x92, 0xc3, 0xc0})),
            R"({"z":1,"a":[true,null]})");
}

TEST(WireTest, ARequestMayHaveTheFourthPartThatAirflow34Gives) {
  const std::string head = Bytes({0x94, 3, 0x81, 0xa4, 't', 'y', 'p', 'e', 0xa1, 'X', 0xc0});
  for (const auto& fourth : {Bytes({0xc0}), Bytes({0xa2, 't', 'i'})}) {
    std::int64_t id = -1;
    const auto request = DecodeRequest(head + fourth, &id);
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->type, "X");
    EXPECT_EQ(id, 3);
  }
  std::int64_t id = -1;
  EXPECT_FALSE(DecodeRequest(Bytes({0x95, 3, 0xc0, 0xc0, 0xc0, 0xc0}), &id));
}

TEST(WireTest, ATimestampBecomesAnIsoTimeWithMicroseconds) {
  // 2026-01-02T03:04:05.678901Z as a 64-bit timestamp: nanoseconds << 34 | seconds.
  const std::uint64_t both = 678901000ULL << 34 | 1767323045ULL;
  std::string value = Bytes({0xd7, 0xff});
  for (int shift = 56; shift >= 0; shift -= 8) value += static_cast<char>(both >> shift & 0xff);
  EXPECT_EQ(Decoded(value), "\"2026-01-02T03:04:05.678901Z\"");
}

TEST(WireTest, ATimestampBeyondPythonsYearsIsRefused) {
  const auto at = [](std::int64_t seconds) {
    std::string value = Bytes({0xc7, 12, 0xff, 0, 0, 0, 0});
    for (int shift = 56; shift >= 0; shift -= 8)
      value += static_cast<char>(static_cast<std::uint64_t>(seconds) >> shift & 0xff);
    return value;
  };
  EXPECT_EQ(Decoded(at(-62'135'596'800)), "\"0001-01-01T00:00:00Z\"");
  EXPECT_EQ(Decoded(at(253'402'300'799)), "\"9999-12-31T23:59:59Z\"");
  // The last has the highest year that gmtime_r() knows, and overflows an int with 1900 more.
  for (const std::int64_t seconds : {-62'135'596'801, 253'402'300'800, 67'768'036'191'676'799})
    EXPECT_EQ(Decoded(at(seconds)), "error: an unknown extension of msgpack");
}

TEST(WireTest, ANumberThatJsonLacksIsNullAndTold) {
  std::int64_t id = -1;
  const auto request = DecodeRequest(RequestWith(Bytes({0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0})), &id);
  ASSERT_TRUE(request);
  ASSERT_EQ(request->fields.size(), 1u);
  EXPECT_EQ(request->fields.front().second, "null");
  EXPECT_EQ(request->not_finite, "nan");
}

TEST(WireTest, GarbageIsNoRequestAndHasNoId) {
  for (const std::string text : {"hello", "", "\x93", "\xc1", "\x80"}) {
    std::int64_t id = -1;
    EXPECT_FALSE(DecodeRequest(text, &id)) << text;
    EXPECT_EQ(id, -1) << text;
  }
}

TEST(WireTest, ARequestWhoseIdIsNoIntegerIsRefused) {
  const auto body = Bytes({0x81, 0xa4}) + "type" + Bytes({0xa1}) + "X";
  for (const auto& number :
       {Bytes({0xa1, '7'}), Bytes({0xc0}), Bytes({0xc3}), Bytes({0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0}),
        Bytes({0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0}), Bytes({0xd6, 0xff, 0, 0, 0, 0})}) {
    std::int64_t id = -1;
    EXPECT_FALSE(DecodeRequest(Bytes({0x92}) + number + body, &id));
    EXPECT_EQ(id, -1);
  }
}

TEST(WireTest, AMessageThatIsOneTextIsRefused) {
  std::int64_t id = -1;
  EXPECT_FALSE(DecodeRequest(Bytes({0xa2}) + "hi", &id));
  EXPECT_FALSE(DecodeRequest(Bytes({0xd6, 0xff, 0, 0, 0, 0}), &id));
}

TEST(WireTest, DeepNestingIsReadWithoutRecursion) {
  const std::string deep = std::string(5000, static_cast<char>(0x91)) + Bytes({0xc0});
  EXPECT_EQ(Decoded(deep), std::string(5000, '[') + "null" + std::string(5000, ']'));
  EXPECT_EQ(Decoded(std::string(20000, static_cast<char>(0x91)) + Bytes({0xc0})),
            "error: nested too deeply");
}

TEST(WireTest, AKeyThatIsAnArrayOrMapIsRefused) {
  for (const auto& value : {Bytes({0x81, 0x91, 1, 2}), Bytes({0x81, 0x81, 1, 2, 3})})
    EXPECT_EQ(Decoded(value), "error: a key that is no text");
  // As a field's name, where the field before it would get its text.
  const auto payload = Bytes({0x92, 3, 0x82, 0xa1, 'v', 1, 0x91, 2, 3});
  std::int64_t id = -1;
  EXPECT_FALSE(DecodeRequest(payload, &id));
  EXPECT_EQ(id, 3);
}

TEST(WireTest, TheTraceContextOfARequestIsKept) {
  const auto payload = Bytes({0x93, 7, 0x81, 0xa4}) + "type" + Bytes({0xa1}) + "X" +
                       Bytes({0x81, 0xab}) + "traceparent" + Bytes({0xa3}) + "0-1";
  std::int64_t id = -1;
  const auto request = DecodeRequest(payload, &id);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->trace.at("traceparent"), "0-1");
}

TEST(WireTest, ATraceContextBringsNoOtherHeadersAndNoLineBreaks) {
  const auto payload = Bytes({0x93, 7, 0x80, 0x83, 0xad}) + "Authorization" + Bytes({0xa1}) + "x" +
                       Bytes({0xab}) + "traceparent" + Bytes({0xa5}) + "0\r\nA:" + Bytes({0xaa}) +
                       "tracestate" + Bytes({0xa3}) + "a=1";
  std::int64_t id = -1;
  const auto request = DecodeRequest(payload, &id);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->trace, (std::map<std::string, std::string>{{"tracestate", "a=1"}}));
}

TEST(WireTest, ATypeOrNameThatIsNotUtf8IsRefused) {
  const auto type = Bytes({0x92, 3, 0x81, 0xa4}) + "type" + Bytes({0xa1, 0xff});
  const auto name = Bytes({0x92, 3, 0x81, 0xa1, 0xff, 1});
  for (const auto& payload : {type, name}) {
    std::int64_t id = -1;
    EXPECT_FALSE(DecodeRequest(payload, &id));
    EXPECT_EQ(id, 3);
  }
}

TEST(WireTest, AnEmptyResponseIsTheThreeWordsThatTheTaskReads) {
  EXPECT_EQ(*ResponseFrame(3, "", ""), Bytes({0, 0, 0, 4, 0x93, 3, 0xc0, 0xc0}));
}

TEST(WireTest, AResponseHasItsItemsCountedAtTheEnd) {
  const auto frame = ResponseFrame(0, R"({"a":[1,1.0,"x"]})", "");
  ASSERT_TRUE(frame);
  const auto body = Bytes({0xdf, 0,    0,    0,    1, 0xa1, 'a', 0xdd, 0, 0, 0,    3,
                           1,    0xcb, 0x3f, 0xf0, 0, 0,    0,   0,    0, 0, 0xa1, 'x'});
  EXPECT_EQ(frame->substr(6, body.size()), body);
}

TEST(WireTest, AResponseThatIsNotJsonOrTooLargeANumberIsRefused) {
  EXPECT_FALSE(ResponseFrame(0, "{\"a\":", ""));
  EXPECT_FALSE(ResponseFrame(0, "[123456789012345678901234567890]", ""));
}

TEST(WireTest, ATypeIsTheLastKeyAlsoOfAnEmptyObject) {
  EXPECT_EQ(WithType("{\"a\":1}", "T"), "{\"a\":1,\"type\":\"T\"}");
  EXPECT_EQ(WithType("{ }", "T"), "{ \"type\":\"T\"}");
}

TEST(WireTest, JsonIsAllOfItsTextWithoutNulOrByteOrderMark) {
  for (const auto* text : {"1", " {\"a\":[\"\\u0000\"]} "}) EXPECT_TRUE(IsJson(text)) << text;
  using std::string_literals::operator""s;
  for (const auto& text : {""s, "1 2"s, "1\0"s, "1\0{"s, "\xef\xbb\xbf"s + "1", "\"\xff\""s})
    EXPECT_FALSE(IsJson(text)) << text;
}

TEST(WireTest, ATreeKeepsOrderRepeatedKeysAndFloats) {
  const std::string text = R"({"z":[1,1.0,-1,[],{}],"a":"\"[","a":null})";
  EXPECT_EQ(ParseTree(text).dump(), text);
}

TEST(WireTest, ATreeOfWhatIsNotJsonOrTooDeepIsNull) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  EXPECT_TRUE(ParseTree(nested(1000)).is_array());
  EXPECT_TRUE(ParseTree(nested(1001)).is_null());
  EXPECT_TRUE(ParseTree("[" + nested(999) + "," + nested(999) + "]").is_array());
  for (const auto* text : {"", "{", "[1 2]", "\xef\xbb\xbf[]"})
    EXPECT_TRUE(ParseTree(text).is_null()) << text;
}

TEST(WireTest, FramesAreCutFromPiecesOfAStream) {
  FrameReader reader;
  std::string payload;
  const auto stream = Bytes({0, 0, 0, 2}) + "ab" + Bytes({0, 0, 0, 0}) + Bytes({0, 0, 0, 1}) + "c";
  std::string seen;
  for (const char byte : stream) {
    reader.Push({&byte, 1});
    while (reader.Pop(&payload)) seen += "[" + payload + "]";
  }
  EXPECT_EQ(seen, "[ab][][c]");
}

TEST(WireTest, TextOnTheChannelBreaksItInsteadOfFillingMemory) {
  FrameReader reader;
  std::string payload;
  reader.Push("print this, please");
  EXPECT_FALSE(reader.Pop(&payload));
  EXPECT_TRUE(reader.broken());
}

}  // namespace
}  // namespace zkexec
