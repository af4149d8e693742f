// SPDX-License-Identifier: Apache-2.0
// Any bytes as an answer of the API server: the task gets a frame of the type that it expects.
//
//   input = route (1 byte) status (1 byte) content type (1 byte) body
#include <array>
#include <utility>
#include <vector>

#include "tests/fuzz/invariants.h"
#include "worker/supervise/routes.h"

namespace zkexec::fuzz {
namespace {

constexpr std::array kStatuses{200, 404, 0, 201, 204, 401, 403, 409, 410, 422, 500, 503, 302, 600};
constexpr std::array kContentTypes{"application/json", "text/html", ""};

// All fields that an answer may quote.
TaskRequest Message(const Route& route) {
  TaskRequest message;
  message.id = 7;
  message.type = route.type;
  for (const char* name : {"conn_id", "key", "dag_id", "run_id", "task_id", "name", "uri"})
    message.fields.emplace_back(name, JsonString("a \"" + std::string(name) + "\""));
  message.fields.emplace_back("offset", "-3");
  return message;
}

void ExamineType(const Route& route, const ApiAnswer& answer, const std::string& type) {
  if (type == "ErrorResponse") return;
  if (!answer.ok()) {
    Require(answer.status == 404 && std::string_view(route.type) == "GetXCom",
            "an error that became a result", type);
  }
  const auto* expected = route.reply == Route::Reply::kOk ? "OKResponse" : route.reply_type;
  Require(type == expected, "a reply of another type", type);
}

// The API's value is in the reply as it was.
void ExamineValue(const Route& route, const ApiAnswer& answer, const TaskRequest& reply) {
  if (!answer.ok() || route.reply != Route::Reply::kUnder || reply.type != route.reply_type) return;
  const auto* value = reply.Find(route.reply_key);
  Require(value != nullptr, "a reply without its value", answer.body);
  using Json = nlohmann::ordered_json;
  Require(Json::parse(*value) == Json::parse(answer.body), "another value", answer.body);
}

void Examine(const Route& route, const ApiAnswer& answer) {
  const auto reply = MakeReply(route, Message(route), answer);
  Require(reply.body.empty() || reply.error.empty(), "both a body and an error", reply.body);
  const bool nothing = route.reply == Route::Reply::kNothing && answer.ok();
  const bool gone = route.ignores_gone && answer.status == 410;
  Require(!(reply.body.empty() && reply.error.empty()) || nothing || gone, "no reply", answer.body);
  for (const auto& part : {reply.body, reply.error})
    Require(part.empty() || IsStrictJson(part), "a reply that is not JSON", part);

  // An error is read where a request has its body, too.
  const auto& text = reply.error.empty() ? reply.body : reply.error;
  const auto frame = ResponseFrame(7, text, "");
  Require(frame.has_value() == ResponseFrame(7, reply.body, reply.error).has_value(),
          "an error is not encoded like a body", text);
  if (!frame) {
    Require(IsRefused(frame.error()), "a reply that cannot be encoded", text);
    return;
  }
  std::int64_t id = -1;
  const auto decoded = DecodeRequest(Payload(*frame), &id);
  Require(decoded.has_value(), "a reply that cannot be decoded", text);
  Require(id == 7, "another id");
  if (!reply.error.empty()) {
    Require(decoded->type == "ErrorResponse", "an error of another type", reply.error);
  } else if (!reply.body.empty()) {
    ExamineType(route, answer, decoded->type);
    ExamineValue(route, answer, *decoded);
  }
}

}  // namespace
}  // namespace zkexec::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zkexec::fuzz;
  if (size < 3) return 0;
  const auto routes = zkexec::AllRoutes();
  zkexec::ApiAnswer answer;
  answer.status = kStatuses[data[1] % kStatuses.size()];
  answer.content_type = kContentTypes[data[2] % kContentTypes.size()];
  answer.body.assign(reinterpret_cast<const char*>(data + 3), size - 3);
  answer.content_range = answer.body;
  answer.failure = answer.body;
  Examine(routes[data[0] % routes.size()], answer);
  return 0;
}
