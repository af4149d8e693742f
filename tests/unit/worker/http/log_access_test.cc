// SPDX-License-Identifier: Apache-2.0
#include "worker/http/log_access.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/unit/worker/http/log_token.h"
#include "tests/unit/worker/temp_folder.h"

namespace zkexec {
namespace {

namespace fs = std::filesystem;
using ::testing::Test;

constexpr char kLog[] = "dag_id=d/run_id=manual__2026-01-02T03:04:05+00:00/task_id=t/attempt=1.log";

class LogAccessTest : public Test {
 protected:
  LogAccessTest() { folder_.Write(std::string("logs/") + kLog, "line\n"); }

  LogAccess::Verdict Check(const std::string& path, const std::string& authorization) const {
    return access_.Check(path, authorization, kTestNow);
  }
  // Asks for kLog with this token.
  LogAccess::Verdict CheckToken(const LogToken& token) const { return Check(kLog, token.Encode()); }
  // Asks for any file with the right token for it.
  LogAccess::Verdict CheckFile(const std::string& raw, const std::string& decoded) const {
    return Check(raw, LogToken{.filename = decoded}.Encode());
  }

  void ExpectRefused(const LogToken& token, const std::string& reason) const {
    const auto verdict = CheckToken(token);
    EXPECT_EQ(verdict.status, 403);
    EXPECT_EQ(verdict.path, "");
    EXPECT_NE(verdict.message.find(reason), std::string::npos) << verdict.message;
    EXPECT_EQ(verdict.message.find(token.secret), std::string::npos) << verdict.message;
  }

  TempFolder folder_;
  LogAccess access_{(folder_.path() / "logs").string(), kTestSecret, kTestGrace};
};

TEST_F(LogAccessTest, AllowsFileNamedInToken) {
  const auto verdict = CheckToken({.filename = kLog});
  EXPECT_EQ(verdict.status, 200) << verdict.message;
  EXPECT_EQ(verdict.path, (fs::canonical(folder_.path()) / "logs" / kLog).string());
}

// requests leaves ":" and "+" alone; other clients encode them. "+" is no space.
TEST_F(LogAccessTest, DecodesPercentAndKeepsPlus) {
  EXPECT_EQ(CheckFile("dag_id%3Dd/run_id=manual__2026-01-02T03%3A04%3a05%2B00:00/task_id=t/"
                      "attempt=1.log",
                      kLog)
                .status,
            200);
  folder_.Write("logs/a b+c%2e.log", "x");
  EXPECT_EQ(CheckFile("a%20b+c%252e.log", "a b+c%2e.log").status, 200);
  EXPECT_EQ(CheckFile("a+b+c%252e.log", "a b+c%2e.log").status, 403);
}

TEST_F(LogAccessTest, AcceptsAudienceInList) {
  EXPECT_EQ(CheckToken({.filename = kLog, .aud = R"(["other","task-instance-logs"])"}).status, 200);
  ExpectRefused({.filename = kLog, .aud = R"(["other"])"}, "audience");
  ExpectRefused({.filename = kLog, .aud = R"(["task-instance-logs",1])"}, "audience");
}

TEST_F(LogAccessTest, RefusesWrongAudience) {
  ExpectRefused({.filename = kLog, .aud = "\"urn:airflow.apache.org:task\""}, "audience");
  ExpectRefused({.filename = kLog, .aud = ""}, "audience");
}

TEST_F(LogAccessTest, RefusesWrongSignature) {
  ExpectRefused({.filename = kLog, .secret = "another secret"}, "[api] secret_key");
  auto token = LogToken{.filename = kLog}.Encode();
  token[token.find('.') + 3] ^= 1;  // a changed payload
  EXPECT_EQ(Check(kLog, token).status, 403);
}

TEST_F(LogAccessTest, RefusesOtherAlgorithms) {
  ExpectRefused({.filename = kLog, .alg = JWT_ALG_HS256}, "HS512");
  ExpectRefused({.filename = kLog, .alg = JWT_ALG_HS384}, "HS512");
  const auto unsigned_token = LogToken{.filename = kLog, .alg = JWT_ALG_NONE}.Encode();
  EXPECT_EQ(unsigned_token.back(), '.');
  EXPECT_EQ(Check(kLog, unsigned_token).status, 403);
  EXPECT_EQ(Check(kLog, unsigned_token + "c2ln").status, 403);
}

// Without a key, libjwt verifies no signature.
TEST_F(LogAccessTest, RefusesEverythingWhenSecretIsEmpty) {
  const LogAccess access((folder_.path() / "logs").string(), "", kTestGrace);
  for (const auto alg : {JWT_ALG_NONE, JWT_ALG_HS512}) {
    const auto token = LogToken{.filename = kLog, .alg = alg}.Encode();
    EXPECT_EQ(access.Check(kLog, token, kTestNow).status, 403);
    EXPECT_EQ(access.Check(kLog, token + "c2ln", kTestNow).status, 403);
  }
}

TEST_F(LogAccessTest, RefusesExpiredTokenAfterGrace) {
  EXPECT_EQ(CheckToken({.filename = kLog, .exp = std::to_string(kTestNow - kTestGrace + 1)}).status,
            200);
  ExpectRefused({.filename = kLog, .exp = std::to_string(kTestNow - kTestGrace)}, "expired 30 s");
}

TEST_F(LogAccessTest, RefusesTokenFromTheFutureBeyondGrace) {
  const auto edge = std::to_string(kTestNow + kTestGrace);
  const auto beyond = std::to_string(kTestNow + kTestGrace + 1);
  EXPECT_EQ(CheckToken({.filename = kLog, .iat = edge, .nbf = edge}).status, 200);
  ExpectRefused({.filename = kLog, .iat = beyond}, "clocks");
  ExpectRefused({.filename = kLog, .nbf = beyond}, "clocks");
}

TEST_F(LogAccessTest, RefusesTokenWithoutRequiredClaims) {
  ExpectRefused({.filename = kLog, .iat = ""}, "exp, iat and nbf");
  ExpectRefused({.filename = kLog, .nbf = ""}, "exp, iat and nbf");
  ExpectRefused({.filename = kLog, .exp = ""}, "exp, iat and nbf");
  ExpectRefused({.filename = kLog, .exp = "\"soon\""}, "exp, iat and nbf");
  ExpectRefused({.filename = ""}, "filename");
}

TEST_F(LogAccessTest, RefusesTokenForAnotherFile) {
  ExpectRefused({.filename = "dag_id=other/attempt=1.log"}, "another file");
}

// A token is for one file: not for what is in a folder, and not for what is like it.
TEST_F(LogAccessTest, RefusesTokenForPartOfThePath) {
  const std::string log = kLog;
  for (std::size_t bytes = 1; bytes < log.size(); ++bytes) {
    ExpectRefused({.filename = log.substr(0, bytes)}, "another file");
    ExpectRefused({.filename = log.substr(bytes)}, "another file");
  }
  for (const std::string& longer : {log + "/", log + ".1", "/" + log, "./" + log, log + " "}) {
    ExpectRefused({.filename = longer}, "another file");
  }
}

// It must understand them to trust the token (RFC 7515, 4.1.11), even if it is told nonsense.
TEST_F(LogAccessTest, RefusesTokenWithCriticalHeaders) {
  EXPECT_EQ(CheckToken({.filename = kLog, .headers = R"({"other":["x"]})"}).status, 200);
  for (const char* headers : {R"({"crit":["x"],"x":1})", R"({"crit":["exp"]})", R"({"crit":[]})",
                              R"({"crit":{}})", R"({"crit":"exp"})", R"({"crit":""})",
                              R"({"crit":1})", R"({"crit":false})", R"({"crit":null})"}) {
    SCOPED_TRACE(headers);
    ExpectRefused({.filename = kLog, .headers = headers}, "critical header extensions");
  }
}

TEST_F(LogAccessTest, RefusesHeaderThatIsNoBareToken) {
  const auto token = LogToken{.filename = kLog}.Encode();
  EXPECT_EQ(Check(kLog, "").message, "the Authorization header is missing");
  EXPECT_NE(Check(kLog, "Bearer " + token).message.find("Bearer"), std::string::npos);
  for (const std::string& bad :
       {"Bearer " + token, std::string(), std::string("x"), std::string(".."), std::string("a..b"),
        token + ".x", " " + token, token + "\n", std::string(20000, 'a') + "." + token}) {
    EXPECT_EQ(Check(kLog, bad).status, 403) << bad.substr(0, 80);
  }
}

TEST_F(LogAccessTest, RefusesPathsThatLeaveTheFolder) {
  folder_.Write("secret.txt", "x");
  EXPECT_EQ(CheckFile("../secret.txt", "../secret.txt").status, 400);
  EXPECT_EQ(CheckFile("%2e%2e/secret.txt", "../secret.txt").status, 400);
  EXPECT_EQ(CheckFile("dag_id=d/..%2F../secret.txt", "dag_id=d/../../secret.txt").status, 400);
  EXPECT_EQ(CheckFile("dag_id=d/..", "dag_id=d/..").status, 400);
  EXPECT_EQ(CheckFile("/etc/passwd", "/etc/passwd").status, 400);
  EXPECT_EQ(CheckFile("%2Fetc/passwd", "/etc/passwd").status, 400);
}

TEST_F(LogAccessTest, RefusesBrokenPaths) {
  for (const char* raw : {"", "a%00.log", "a%", "a%4", "a%zz", "%-1"}) {
    EXPECT_EQ(Check(raw, LogToken{.filename = "a"}.Encode()).status, 400) << raw;
  }
}

TEST_F(LogAccessTest, FollowsLinksOnlyInsideTheFolder) {
  folder_.Write("secret.txt", "x");
  folder_.Write("logs-of-others/a.log", "x");  // shares a prefix with the base, not the folder
  const auto logs = folder_.path() / "logs";
  fs::create_symlink(kLog, logs / "inside.log");
  fs::create_symlink("../secret.txt", logs / "outside.log");
  fs::create_directory_symlink("../logs-of-others", logs / "others");
  fs::create_symlink("loop.log", logs / "loop.log");
  EXPECT_EQ(CheckFile("inside.log", "inside.log").path,
            (fs::canonical(folder_.path()) / "logs" / kLog).string());
  EXPECT_EQ(CheckFile("outside.log", "outside.log").status, 404);
  EXPECT_EQ(CheckFile("others/a.log", "others/a.log").status, 404);
  EXPECT_EQ(CheckFile("loop.log", "loop.log").status, 404);
}

TEST_F(LogAccessTest, FindsNothingButRegularFiles) {
  EXPECT_EQ(CheckFile("missing.log", "missing.log").status, 404);
  EXPECT_EQ(CheckFile("dag_id=d", "dag_id=d").status, 404);
  EXPECT_EQ(CheckFile(".", ".").status, 404);
  const LogAccess no_folder((folder_.path() / "nowhere").string(), kTestSecret, kTestGrace);
  EXPECT_EQ(no_folder.Check(kLog, LogToken{.filename = kLog}.Encode(), kTestNow).status, 404);
}

// A token made by JWTGenerator of Airflow 3.3.2: both sides must agree.
TEST_F(LogAccessTest, AcceptsTokenMadeByAirflow) {
  constexpr char kToken[] =
      "eyJhbGciOiJIUzUxMiIsImtpZCI6Im5vdC11c2VkIiwidHlwIjoiSldUIn0.eyJmaWxlbmFtZSI6ImRhZ19pZD1k"
      "L3J1bl9pZD1tYW51YWxfXzIwMjYtMDEtMDJUMDM6MDQ6MDUrMDA6MDAvdGFza19pZD10L2F0dGVtcHQ9MS5sb2ci"
      "LCJqdGkiOiJlNzg5N2VkYjNmZTA0MGU4YTViODU3NzA0NjZkM2ZlOCIsImF1ZCI6InRhc2staW5zdGFuY2UtbG9n"
      "cyIsIm5iZiI6MTgwMDAwMDAwMCwiZXhwIjoxODAwMDAwMDMwLCJpYXQiOjE4MDAwMDAwMDB9.FvrzV7jpIGz53f0"
      "6ht0im_Re3T4sUpwiryeuG3hcYA3xbPnUK5gHWqF70hYaAj-fWzylv2n0xKKHyj0u4_pd2Q";
  EXPECT_EQ(access_.Check(kLog, kToken, kTestNow).status, 200);
}

}  // namespace
}  // namespace zkexec
