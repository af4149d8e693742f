// SPDX-License-Identifier: Apache-2.0
// Any bytes on a task's channel: whatever decodes is sound, survives a round trip, and makes
// a sound request to the API server.
#include "tests/fuzz/invariants.h"
#include "worker/supervise/routes.h"

namespace zkexec::fuzz {
namespace {

std::string Object(const TaskRequest& request) {
  std::string out;
  for (const auto& [key, value] : request.fields)
    out += (out.empty() ? "" : ",") + JsonString(key) + ":" + value;
  return "{" + out + "}";
}

void ExamineCall(const Route& route, const TaskRequest& request) {
  const auto call = MakeRequest(route, request, "00000000-0000-7000-8000-000000000001");
  Require(call.method == route.method, "another method", call.method);
  for (const char letter : call.path)
    Require(letter > 0x20 && letter < 0x7f, "a letter that no URL has", call.path);
  for (const auto& [name, value] : call.headers)
    for (const char letter : name + value)
      Require(letter >= 0x20 && letter < 0x7f, "a letter that no header has", value);
  Require(call.body.empty() || IsStrictJson(call.body), "a body that is not JSON", call.body);
  Require(call.body.empty() == (route.body == Route::Body::kNone), "a body too many or too few",
          call.body);
}

void Examine(const std::string& payload) {
  std::int64_t id = -1;
  const auto request = DecodeRequest(payload, &id);
  if (!request) {
    Require(!request.error().message.empty(), "refused for no reason");
    return;
  }
  Require(request->id == id, "two ids");
  for (const auto& [key, value] : request->fields) {
    Require(key != "type", "the type among the fields");
    Require(IsStrictJson(value), "a field that is not JSON", value);
    request->Text(key);
  }

  const auto object = Object(*request);
  Require(IsStrictJson(object), "fields that make no object", object);
  const auto frame = ResponseFrame(id, WithType(object, request->type), "");
  Require(frame.has_value(), "what was decoded cannot be encoded", object);
  std::int64_t id_again = -1;
  const auto again = DecodeRequest(Payload(*frame), &id_again);
  Require(again.has_value(), "what was encoded cannot be decoded", object);
  Require(id_again == id, "another id after a round trip", object);
  Require(again->type == request->type, "another type after a round trip", again->type);
  Require(again->fields == request->fields, "other fields after a round trip",
          object + "\n" + Object(*again));

  if (const auto* route = FindRoute(request->type)) ExamineCall(*route, *request);
}

}  // namespace
}  // namespace zkexec::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zkexec::fuzz;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  zkexec::FrameReader reader;
  std::string payload;
  bool any = false;
  InPieces(input, [&](std::string_view piece) {
    reader.Push(piece);
    while (reader.Pop(&payload)) {
      any = true;
      Examine(payload);
    }
  });
  Require(reader.pending() <= size, "bytes from nowhere");
  // Few mutations hit upon the length that fits.
  if (!any && size > 4) Examine(std::string(input.substr(4)));
  return 0;
}
