// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/log_lines.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/fakes/fake_clock.h"

namespace zkexec {
namespace {

class LogLinesTest : public ::testing::Test {
 protected:
  FakeClock clock_;
  Masker::Rules rules_{true, {"password", "secret", "api_key"}, 5};
  Masker masker_{&rules_};
  LogLines lines_{clock_, masker_, LogLines::kInfo};

  nlohmann::ordered_json Read(const std::string& line) {
    EXPECT_TRUE(line.ends_with('\n')) << line;
    return nlohmann::ordered_json::parse(line);
  }
};

TEST_F(LogLinesTest, AnEventIsWrittenAsItCame) {
  const std::string line =
      R"({"timestamp":"2026-01-02T03:04:05.1Z","level":"info","event":"hi","n":1.0,"a":"ü\n"})";
  EXPECT_EQ(lines_.FromEvent(line), line + "\n");
}

TEST_F(LogLinesTest, AnExceptionIsRenamedForAirflowsPages) {
  const auto line = Read(lines_.FromEvent(
      R"({"timestamp":"t","level":"error","event":"boom","exception":[{"exc_type":"E"}],"x":1})"));
  EXPECT_FALSE(line.contains("exception"));
  EXPECT_EQ(line["error_detail"][0]["exc_type"], "E");
}

TEST_F(LogLinesTest, ALineNamesItsTaskOnceSinceAirflow34) {
  const LogLines lines(clock_, masker_, LogLines::kInfo, "TI");
  const std::string own =
      R"({"timestamp":"2026-01-02T03:04:05.1Z","level":"info","event":"hi","ti_id":"TI"})";
  EXPECT_EQ(lines.FromEvent(own), own + "\n");
  const auto line = [](const char* more) {
    return std::string(R"({"timestamp":"2026-01-02T03:04:05Z","level":"info","event":"hi")") +
           more + "}";
  };
  EXPECT_EQ(Read(lines.FromEvent(line("")))["ti_id"], "TI");
  EXPECT_EQ(Read(lines.FromEvent(line(R"(,"ti_id":"other")")))["ti_id"], "other");
  EXPECT_EQ(Read(lines.FromText("x", "task.stdout", LogLines::kInfo))["ti_id"], "TI");
  EXPECT_EQ(Read(lines.Own(LogLines::kInfo, "x"))["ti_id"], "TI");
}

TEST_F(LogLinesTest, ATimestampThatIsNoneIsKeptUnderAnotherNameSinceAirflow34) {
  const LogLines lines(clock_, masker_, LogLines::kInfo, "TI");
  for (const auto* time : {"\"soon\"", "1697190085", "\"2026-02-30T00:00:00Z\"", "[1]"}) {
    const auto line = Read(lines.FromEvent(std::string(R"({"timestamp":)") + time +
                                           R"(,"level":"info","event":"hi","ti_id":"TI"})"));
    EXPECT_EQ(line["invalid_timestamp"].dump(), nlohmann::json::parse(time).dump());
    EXPECT_NE(line["timestamp"], line["invalid_timestamp"]);
  }
  EXPECT_FALSE(Read(lines.FromEvent(R"({"timestamp":null,"level":"info","event":"hi"})"))
                   .contains("invalid_timestamp"));
}

TEST_F(LogLinesTest, NamesInCamelCaseAndDeepSecretsAreHiddenSinceAirflow34) {
  Masker::Rules rules{true, {"private_key", "api_key"}, 5, true};
  Masker masker(&rules);
  masker.AddText("hunter22222");
  const LogLines lines(clock_, masker, LogLines::kInfo, "TI");
  const std::string deep = std::string(9, '[') + "\"hunter22222\"" + std::string(9, ']');
  const auto line = Read(lines.FromEvent(
      R"({"timestamp":"2026-01-02T03:04:05Z","level":"info","event":"hi","ti_id":"TI",)"
      R"("privateKey":"one","APIKey":"two","apikeys":"three","deep":)" +
      deep + "}"));
  EXPECT_EQ(line["privateKey"], "***");
  EXPECT_EQ(line["APIKey"], "***");
  EXPECT_EQ(line["apikeys"], "three");
  EXPECT_EQ(line["deep"].dump(), std::string(9, '[') + "\"***\"" + std::string(9, ']'));
}

TEST_F(LogLinesTest, ALineThatIsNoEventOrHasNoLevelIsDropped) {
  for (const auto* line : {"", "nonsense", "[]", "{}", R"({"event":"x"})",
                           R"({"level":"loud","event":"x"})", R"({"level":3,"event":"x"})"})
    EXPECT_EQ(lines_.FromEvent(line), "") << line;
}

TEST_F(LogLinesTest, ALineWithANulOrAByteOrderMarkIsDropped) {
  const std::string line = R"({"timestamp":"t","level":"info","event":"x"})";
  EXPECT_EQ(lines_.FromEvent(line + '\0' + "{}"), "");
  EXPECT_EQ(lines_.FromEvent("\xef\xbb\xbf" + line), "");
}

TEST_F(LogLinesTest, AnEventThatIsNestedTooDeeplyIsDropped) {
  const auto line = [](std::size_t depth) {
    return R"({"level":"info","event":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_NE(lines_.FromEvent(line(900)), "");
  EXPECT_EQ(lines_.FromEvent(line(1000)), "");
  EXPECT_EQ(lines_.FromEvent(line(200'000)), "");
}

// Each key was once looked for among those before it: this took minutes.
TEST_F(LogLinesTest, AnEventWithManyKeysIsWrittenInTime) {
  std::string fields;
  for (int i = 0; i < 60'000; ++i) fields += ",\"k" + std::to_string(i) + "\":1";
  const auto line =
      lines_.FromEvent(R"({"event":"x","level":"info","d":{"a":0)" + fields + "}" + fields + "}");
  EXPECT_TRUE(line.ends_with("\"k59999\":1}\n"));
}

TEST_F(LogLinesTest, SecretsAreTakenFromAnyDepth) {
  const std::string deep(100'000, '[');
  masker_.Add(nlohmann::ordered_json::parse(deep + "\"hunter22222\"" + std::string(100'000, ']')));
  EXPECT_EQ(masker_.RedactText("hunter22222"), "***");
}

TEST_F(LogLinesTest, TimeLevelAndEventComeFirst) {
  const auto line = lines_.FromEvent(R"({"b":2,"event":"x","level":"warn"})");
  EXPECT_EQ(line.find("{\"timestamp\":\""), 0u);
  EXPECT_NE(line.find("\"level\":\"warning\",\"event\":\"x\",\"b\":2}"), std::string::npos);
}

TEST_F(LogLinesTest, ASecretIsMaskedWhereverItStands) {
  masker_.AddText("hunter22222");
  masker_.AddText("with \"quotes\"\n");
  const auto event = lines_.FromEvent(
      R"({"timestamp":"t","level":"info","event":"is hunter22222","d":{"e":["hunter22222"]}})");
  EXPECT_EQ(event.find("hunter"), std::string::npos) << event;
  EXPECT_EQ(lines_.FromText("it is hunter22222!", "task.stdout", LogLines::kInfo).find("hunter"),
            std::string::npos);
  const auto quoted =
      lines_.FromEvent(R"({"timestamp":"t","level":"info","event":"so with \"quotes\"\n it"})");
  EXPECT_EQ(Read(quoted)["event"], "so *** it");
}

TEST_F(LogLinesTest, ASecretIsMaskedHoweverItIsEscaped) {
  masker_.AddText("schlüssel/bund");
  for (const auto* secret : {"schlüssel/bund", "schl\\u00fcssel/bund", "schlüssel\\/bund",
                             "\\u0073chlüssel/bund", "\\\\\\u0073chlüssel/bund"}) {
    const auto line = Read(lines_.FromEvent(R"({"timestamp":"t","level":"info","event":"is )" +
                                            std::string(secret) + R"("})"));
    EXPECT_TRUE(line["event"].get<std::string>().ends_with("***")) << secret;
  }
}

TEST_F(LogLinesTest, ATellingKeyIsSeenHoweverItIsEscaped) {
  for (const auto* key : {"pass\\u0077ord", "api\\nkey", "api\\\\key", "api\\\"key"}) {
    const auto line = lines_.FromEvent(R"({"timestamp":"t","level":"info","event":"x",")" +
                                       std::string(key) + R"(":"shown?"})");
    EXPECT_EQ(line.find("shown?"), std::string::npos) << line;
  }
}

TEST_F(LogLinesTest, ATokenIsCutAlsoIfItIsEscaped) {
  const auto line = lines_.FromEvent(
      R"({"timestamp":"t","level":"info","event":"a \u0065yJhbGciOiJIUzI1NiJ9 b"})");
  EXPECT_EQ(Read(line)["event"], "a eyJ*** b");
}

TEST_F(LogLinesTest, ATellingKeyHidesAllBelowItAtAnyDepth) {
  const auto line = Read(lines_.FromEvent(
      R"({"timestamp":"t","level":"info","event":"x","a":{"b":[{"My-API key":"v","n":1}]},)"
      R"("DB_Password":{"x":"y","z":["w",2]}})"));
  EXPECT_EQ(line["a"]["b"][0]["My-API key"], "***");
  EXPECT_EQ(line["a"]["b"][0]["n"], 1);
  EXPECT_EQ(line["DB_Password"]["x"], "***");
  EXPECT_EQ(line["DB_Password"]["z"][1], 2);
}

TEST_F(LogLinesTest, ShortSecretsAndAirflowItselfAreShown) {
  masker_.AddText("four");
  masker_.AddText("airflow");
  masker_.AddText("Visible", "a harmless name");
  EXPECT_EQ(masker_.RedactText("four airflow Visible"), "four airflow Visible");
  masker_.AddText("Hidden", "my_secret");
  EXPECT_EQ(masker_.RedactText("Hidden"), "***");
}

TEST_F(LogLinesTest, OfTwoSecretsThatBeginAlikeTheLongerIsMaskedWhole) {
  masker_.AddText("abcde");
  masker_.AddText("abcdefgh");
  EXPECT_EQ(masker_.RedactText("abcdefgh abcdex"), "*** ***x");
}

TEST_F(LogLinesTest, TokensAreCutInEventsAndText) {
  EXPECT_EQ(RedactTokens("x eyJ0eXAi.abc-_9 y"), "x eyJ*** y");
  const auto line = Read(
      lines_.FromEvent(R"({"timestamp":"t","level":"info","event":"eyJabc","k":{"v":"eyJabc"}})"));
  EXPECT_EQ(line["event"], "eyJ***");
  EXPECT_EQ(line["k"]["v"], "eyJabc");  // as Airflow: the first level only
}

TEST_F(LogLinesTest, TextHasItsEndTrimmedAndWhatIsNotUtf8Replaced) {
  EXPECT_EQ(Read(lines_.FromText("  x \t\r", "task.stdout", LogLines::kInfo))["event"], "  x");
  EXPECT_EQ(Read(lines_.FromText("a\xff"
                                 "b",
                                 "task.stderr", LogLines::kError))["event"],
            "a\xef\xbf\xbd"
            "b");
}

TEST_F(LogLinesTest, TextBelowTheLevelOfTheLoggerIsNotLogged) {
  const LogLines quiet(clock_, masker_, LogLines::kError);
  EXPECT_EQ(quiet.FromText("x", "task.stdout", LogLines::kInfo), "");
  EXPECT_NE(quiet.FromText("x", "task.stderr", LogLines::kError), "");
  EXPECT_EQ(quiet.Own(LogLines::kWarning, "x"), "");
}

}  // namespace
}  // namespace zkexec
