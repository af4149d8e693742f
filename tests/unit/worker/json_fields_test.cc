// SPDX-License-Identifier: Apache-2.0
#include "worker/json_fields.h"

#include <gtest/gtest.h>

#include <string>

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

// One of each kind of JSON value, and numbers beyond every integer type.
const Json& Values() {
  static const Json values = Json::parse(
      R"([null,true,0,-1,2147483648,9223372036854775808,18446744073709551616,1.5,1e308,"","a",[],["a"],)"
      R"([1],{},{"a":1}])");
  return values;
}

TEST(JsonFieldsTest, AFieldThatIsAbsentReadsAsTheFallbackWithoutAnError) {
  const auto object = Json::object();
  JsonFields fields(object, "it");
  EXPECT_EQ(fields.Text("x", "none"), "none");
  EXPECT_TRUE(fields.Flag("x", true));
  EXPECT_EQ(fields.Integer("x", 7), 7);
  EXPECT_EQ(fields.Seconds("x", Duration{5}), Duration{5});
  EXPECT_TRUE(fields.Texts("x").empty());
  EXPECT_EQ(fields.Object("x"), nullptr);
  EXPECT_TRUE(fields.status());
}

TEST(JsonFieldsTest, EachReaderTakesAnyValueAndComplainsOfThoseThatAreNotItsType) {
  for (const auto& value : Values()) {
    const Json object{{"x", value}};
    const auto complains = [&object](auto read) {
      JsonFields fields(object, "it");
      read(fields);
      return !fields.status();
    };
    const auto shown = value.dump();
    EXPECT_EQ(complains([](auto& f) { f.Text("x"); }), !value.is_string()) << shown;
    EXPECT_EQ(complains([](auto& f) { f.Flag("x"); }), !value.is_boolean()) << shown;
    EXPECT_EQ(complains([](auto& f) { f.Object("x"); }), !value.is_object()) << shown;
    EXPECT_EQ(complains([](auto& f) { f.Array("x"); }), !value.is_array()) << shown;
    const bool small = value == 0 || value == -1;
    EXPECT_EQ(complains([](auto& f) { f.Int("x", 0); }), !small) << shown;
    EXPECT_EQ(complains([](auto& f) { f.Texts("x"); }),
              value != Json::array() && value != Json{"a"})
        << shown;
  }
}

TEST(JsonFieldsTest, ANumberBeyondItsBoundsIsTheFallbackAndAnError) {
  for (const char* number : {"11", "-1", "9223372036854775808", "1e300", "-1e300"}) {
    const auto object = Json::parse(std::string("{\"n\":") + number + "}");
    JsonFields fields(object, "it");
    EXPECT_EQ(fields.Integer("n", 5, 0, 10), 5) << number;
    EXPECT_FALSE(fields.status()) << number;
  }
  const auto object = Json::parse(R"({"n":10})");
  JsonFields fields(object, "it");
  EXPECT_EQ(fields.Integer("n", 5, 0, 10), 10);
  EXPECT_TRUE(fields.status());
}

TEST(JsonFieldsTest, SecondsMayHaveFractionsButNoOverflow) {
  const auto good = Json::parse(R"({"s":0.25,"whole":3})");
  JsonFields fields(good, "it");
  EXPECT_EQ(fields.Seconds("s", {}), Duration{250});
  EXPECT_EQ(fields.Seconds("whole", {}), Duration{3000});
  EXPECT_TRUE(fields.status());
  for (const char* bad : {"-1", "1e300", "\"1\"", "null"}) {
    const auto object = Json::parse(std::string("{\"s\":") + bad + "}");
    JsonFields other(object, "it");
    EXPECT_EQ(other.Seconds("s", Duration{7}), Duration{7}) << bad;
    EXPECT_FALSE(other.status()) << bad;
  }
}

TEST(JsonFieldsTest, TheFirstErrorIsKeptAndNamesFieldAndTypeButNotTheValue) {
  const auto object = Json::parse(R"({"a":"secret","b":[]})");
  JsonFields fields(object, "the message");
  fields.Flag("a");
  fields.Text("b");
  ASSERT_FALSE(fields.status());
  EXPECT_EQ(fields.status().error().message,
            "the message: field \"a\" must be true or false, it is of type string");
}

TEST(JsonFieldsTest, WhatIsNoObjectHasNoFields) {
  for (const auto& value : Values()) {
    JsonFields fields(value, "it");
    EXPECT_EQ(fields.Text("x", "none"), "none");
    EXPECT_EQ(fields.status().has_value(), value.is_object()) << value.dump();
  }
}

TEST(JsonFieldsTest, ARepeatedFieldIsTheLastOne) {
  auto object = Json::object();
  auto& fields = object.get_ref<Json::object_t&>();
  fields.emplace_back("x", 1);
  static_cast<std::vector<std::pair<const std::string, Json>>&>(fields).emplace_back("x", 2);
  EXPECT_EQ(JsonFields(object, "it").Integer("x", 0), 2);
}

}  // namespace
}  // namespace zkexec
