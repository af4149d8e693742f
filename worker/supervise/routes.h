// SPDX-License-Identifier: Apache-2.0
// Routes: which call of Airflow's Execution API answers which message of a task, as a
// table. What is not in it is answered by Airflow's own handlers, in a helper process.
//
// Pure. Threads: any.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/supervise/dialect.h"
#include "worker/supervise/execution_api.h"
#include "worker/supervise/wire.h"

namespace zkexec {

struct Route {
  // How a parameter of the query comes from a field of the message.
  enum class When {
    kAlways,       // null is empty
    kPresent,      // unless null or absent
    kTrue,         // unless null, absent, false, 0 or empty
    kNonNegative,  // numbers from 0
  };
  struct Param {
    const char* name = nullptr;
    const char* field = nullptr;
    When when = When::kPresent;
    bool time = false;  // written as Python's isoformat()
  };
  enum class Body {
    kNone,
    kAll,       // the message without its type
    kWithType,  // the message as it is
    kFields,    // those of body_fields, those that are absent as null
    kNonEmpty,  // those of body_fields that say something
    kValue,     // the value of the one field
  };
  enum class Reply {
    kNothing,  // nil
    kOk,       // {"ok": true}
    kObject,   // the API's object
    kUnder,    // the API's value, as reply_key
    kCount,    // Content-Range of a HEAD
  };

  const char* type;
  const char* method;
  const char* path;  // {field}, {field!} with nothing kept unescaped; {} is the task's own id
  std::span<const Param> params;
  Body body = Body::kNone;
  const char* body_fields = "";
  Reply reply = Reply::kNothing;
  const char* reply_type = "";
  const char* reply_key = "";
  // For 404: this error in the body of the reply, with these fields as detail.
  const char* not_found = "";
  const char* detail_fields = "";
  bool tells_denied = false;  // 401 and 403 as PERMISSION_DENIED in the body
  bool ignores_gone = false;  // 410 is as good as done
};

struct Reply {
  std::string body;  // JSON texts; empty: nil
  std::string error;
};

// nullptr: not in the table of that dialect.
const Route* FindRoute(std::string_view type, Dialect dialect = Dialect::kNewest);
// Those that the dialect uses, each type once.
std::vector<Route> AllRoutes(Dialect dialect = Dialect::kNewest);

ApiRequest MakeRequest(const Route& route, const TaskRequest& message, const std::string& ti_id);
Reply MakeReply(const Route& route, const TaskRequest& message, const ApiAnswer& answer);

// Why Airflow's client would not ask the API: an asset without a name, or a number in the
// user's value that JSON has not (elsewhere pydantic makes null of it). Empty: it would.
std::string WhyNotAsked(const Route& route, const TaskRequest& message);

// {"error": …, "type": "ErrorResponse"}; `detail` is JSON text or empty.
std::string ErrorResponse(std::string_view error, std::string_view detail);
// What Airflow sends for a failure on our side of the API, with Python's name for its kind.
std::string ClientError(std::string_view message, std::string_view exception_type);
// What Airflow sends for an API failure that it has no other word for.
std::string ApiError(const ApiAnswer& answer);
// Whether this is an error as the API server words it: only then is a 404 an answer.
bool IsApiError(const ApiAnswer& answer);

// Of the body of such an error what Airflow's client calls its detail: the field of that name if
// it is an object or says what was invalid, nullptr if it is a text, else the whole body.
const nlohmann::ordered_json* ErrorDetail(const nlohmann::ordered_json& body);

// As Python's httpx escapes them.
std::string EscapePath(std::string_view text);
std::string EscapeAll(std::string_view text);
std::string EscapeQuery(std::string_view text);

}  // namespace zkexec
