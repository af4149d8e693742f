// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/routes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace zkexec {
namespace {

TaskRequest Request(const std::string& type,
                    std::vector<std::pair<std::string, std::string>> fields) {
  TaskRequest request;
  request.type = type;
  request.fields = std::move(fields);
  return request;
}

ApiRequest Made(const TaskRequest& request) {
  return MakeRequest(*FindRoute(request.type), request, "TI");
}

ApiAnswer Answered(int status, const std::string& body) {
  ApiAnswer answer;
  answer.status = status;
  answer.body = body;
  answer.content_type = "application/json";
  return answer;
}

TEST(RoutesTest, EveryTypeIsThereOnceInEachDialect) {
  for (const auto dialect : {Dialect::k33, Dialect::k34}) {
    std::set<std::string> seen;
    for (const auto& route : AllRoutes(dialect))
      EXPECT_TRUE(seen.insert(route.type).second) << route.type;
    EXPECT_GT(seen.size(), 40u);
  }
  EXPECT_EQ(FindRoute("NewInAirflow4"), nullptr);
}

TEST(RoutesTest, ADialectKnowsWhatIsNewInItAndTheRestFromThoseBefore) {
  EXPECT_EQ(FindRoute("UpdateDagRunNote", Dialect::k33), nullptr);
  EXPECT_NE(FindRoute("UpdateDagRunNote", Dialect::k34), nullptr);
  EXPECT_NE(FindRoute("GetConnection", Dialect::k33), FindRoute("GetConnection", Dialect::k34));
  EXPECT_EQ(FindRoute("GetVariable", Dialect::k33), FindRoute("GetVariable", Dialect::k34));
  const auto request = Request("GetXComCount", {{"dag_id", "\"d\""},
                                                {"run_id", "\"r\""},
                                                {"task_id", "\"t\""},
                                                {"key", "\"k\""},
                                                {"previous_iteration", "true"}});
  const auto path = [&](Dialect dialect) {
    return MakeRequest(*FindRoute("GetXComCount", dialect), request, "TI").path;
  };
  EXPECT_EQ(path(Dialect::k33), "xcoms/d/r/t/k");
  EXPECT_EQ(path(Dialect::k34), "xcoms/d/r/t/k?previous_iteration=true");
}

TEST(RoutesTest, AssetEventsAreFoundByTheirExtras) {
  const auto made = Made(Request("GetAssetEventByAsset", {{"name", "\"n\""},
                                                          {"uri", "null"},
                                                          {"limit", "0"},
                                                          {"partition_key", "\"p\""},
                                                          {"extra", R"({"b":"1","a":"x y"})"}}));
  EXPECT_EQ(made.path,
            "asset-events/by-asset?name=n&uri=&limit=0&partition_key=p&extra=b%3D1&extra=a%3Dx+y");
}

TEST(RoutesTest, AnXComKeyKeepsItsSlashesAndEscapesWhatEndsAPath) {
  const auto made = Made(Request("GetXCom", {{"key", "\"a/b?c d%20%é\""},
                                             {"dag_id", "\"d\""},
                                             {"run_id", "\"manual__2026-01-02T03:04:05+00:00\""},
                                             {"task_id", "\"t\""},
                                             {"map_index", "-1"},
                                             {"include_prior_dates", "true"}}));
  EXPECT_EQ(made.method, "GET");
  EXPECT_EQ(made.path,
            "xcoms/d/manual__2026-01-02T03:04:05+00:00/t/a/b%3Fc%20d%20%25%C3%A9"
            "?include_prior_dates=true");
}

TEST(RoutesTest, WhatIsNestedTooDeeplyForAUrlIsLeftOut) {
  const std::string deep = std::string(9000, '[') + std::string(9000, ']');
  EXPECT_EQ(Made(Request("GetDagRun", {{"dag_id", deep}, {"run_id", "\"r\""}})).path,
            "dag-runs//r");
  EXPECT_EQ(Made(Request("GetDRCount", {{"dag_id", "\"d\""}, {"run_ids", deep}})).path,
            "dag-runs/count?dag_id=d");
}

TEST(RoutesTest, AnXComValueIsTheBodyAsItCame) {
  const auto made = Made(Request("SetXCom", {{"key", "\"k\""},
                                             {"value", "{\"b\":1.0,\"a\":1}"},
                                             {"dag_id", "\"d\""},
                                             {"run_id", "\"r\""},
                                             {"task_id", "\"t\""},
                                             {"map_index", "2"},
                                             {"dag_result", "false"},
                                             {"mapped_length", "0"}}));
  EXPECT_EQ(made.body, "{\"b\":1.0,\"a\":1}");
  EXPECT_EQ(made.path, "xcoms/d/r/t/k?map_index=2&mapped_length=0");
}

TEST(RoutesTest, ListsAndTimesOfAQueryAreWrittenAsPythonWritesThem) {
  const auto made = Made(Request("GetDRCount", {{"dag_id", "\"a b\""},
                                                {"logical_dates", "[\"2026-01-02T03:04:05Z\"]"},
                                                {"run_ids", "[\"x\",\"y\"]"},
                                                {"states", "null"}}));
  EXPECT_EQ(made.path,
            "dag-runs/count?dag_id=a+b&logical_dates=2026-01-02T03%3A04%3A05%2B00%3A00"
            "&run_ids=x&run_ids=y");
}

TEST(RoutesTest, ATriggerSendsOnlyWhatSaysSomething) {
  const auto made = Made(Request("TriggerDagRun", {{"dag_id", "\"d\""},
                                                   {"run_id", "\"r\""},
                                                   {"conf", "{\"k\":1}"},
                                                   {"logical_date", "null"},
                                                   {"reset_dag_run", "false"},
                                                   {"note", "null"}}));
  EXPECT_EQ(made.path, "dag-runs/d/r");
  EXPECT_EQ(made.body, "{\"conf\":{\"k\":1}}");
}

TEST(RoutesTest, ATerminalStateIsSentWithoutItsType) {
  EXPECT_EQ(Made(Request("RetryTask", {{"state", "\"up_for_retry\""}})).body,
            "{\"state\":\"up_for_retry\"}");
  EXPECT_EQ(Made(Request("RetryTask", {})).path, "task-instances/TI/state");
}

TEST(RoutesTest, WhatIsNotFoundIsAnAnswerAndNoError) {
  const auto request = Request("GetConnection", {{"conn_id", "\"c\""}});
  const auto& route = *FindRoute("GetConnection");
  const auto missing = MakeReply(route, request, Answered(404, "{\"detail\":\"no\"}"));
  EXPECT_EQ(missing.error, "");
  EXPECT_EQ(missing.body,
            R"({"error":"CONNECTION_NOT_FOUND","detail":{"conn_id":"c"},"type":"ErrorResponse"})");
  const auto denied = MakeReply(route, request, Answered(403, "{\"detail\":\"no\"}"));
  EXPECT_EQ(denied.body,
            R"({"error":"PERMISSION_DENIED","detail":{"conn_id":"c","status_code":403},)"
            R"("type":"ErrorResponse"})");
}

TEST(RoutesTest, A404ThatIsNotTheApiServersOwnIsAnError) {
  auto answer = Answered(404, "<html>");
  answer.content_type = "text/html";
  const auto reply =
      MakeReply(*FindRoute("GetVariable"), Request("GetVariable", {{"key", "\"k\""}}), answer);
  EXPECT_EQ(reply.body, "");
  EXPECT_NE(reply.error.find("API_SERVER_ERROR"), std::string::npos);
}

TEST(RoutesTest, AnXComThatIsNotThereIsNull) {
  const auto reply = MakeReply(*FindRoute("GetXCom"), Request("GetXCom", {{"key", "\"k\""}}),
                               Answered(404, "{\"detail\":\"no\"}"));
  EXPECT_EQ(reply.body, R"({"key":"k","value":null,"type":"XComResult"})");
}

TEST(RoutesTest, ACountIsReadFromTheHeader) {
  auto answer = Answered(200, "");
  answer.content_range = "map_indexes 12";
  EXPECT_EQ(MakeReply(*FindRoute("GetXComCount"), Request("GetXComCount", {}), answer).body,
            R"({"len":12,"type":"XComCountResponse"})");
  answer.content_range = "map_indexes 007";
  EXPECT_EQ(MakeReply(*FindRoute("GetXComCount"), Request("GetXComCount", {}), answer).body,
            R"({"len":7,"type":"XComCountResponse"})");
  answer.content_range = "map_indexes 00";
  EXPECT_EQ(MakeReply(*FindRoute("GetXComCount"), Request("GetXComCount", {}), answer).body,
            R"({"len":0,"type":"XComCountResponse"})");
  answer.content_range = "map_indexes x";
  EXPECT_EQ(MakeReply(*FindRoute("GetXComCount"), Request("GetXComCount", {}), answer).body, "");
}

TEST(RoutesTest, AnAnswerWithANulOrAByteOrderMarkIsAnErrorForTheTask) {
  const auto request = Request("GetDRCount", {});
  for (const auto& body : {std::string("3\0", 2), std::string("\xef\xbb\xbf"
                                                              "3")}) {
    for (const int status : {200, 500}) {
      const auto reply = MakeReply(*FindRoute("GetDRCount"), request, Answered(status, body));
      EXPECT_EQ(reply.body, "");
      EXPECT_TRUE(IsJson(reply.error)) << reply.error;
    }
  }
}

TEST(RoutesTest, AnAnswerThatIsNonsenseIsAnErrorForTheTask) {
  for (const auto* body : {"", "<html>", "[1]", "3"}) {
    const auto reply = MakeReply(*FindRoute("GetVariable"),
                                 Request("GetVariable", {{"key", "\"k\""}}), Answered(200, body));
    EXPECT_EQ(reply.body, "") << body;
    EXPECT_NE(reply.error, "") << body;
  }
}

TEST(RoutesTest, RenderedFieldsOfAnArchivedTaskAreNoError) {
  const auto reply = MakeReply(*FindRoute("SetRenderedFields"), Request("SetRenderedFields", {}),
                               Answered(410, "{\"detail\":\"gone\"}"));
  EXPECT_EQ(reply.body, "");
  EXPECT_EQ(reply.error, "");
}

}  // namespace
}  // namespace zkexec
