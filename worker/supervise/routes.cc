// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/routes.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "worker/json_fields.h"
#include "worker/supervise/time_text.h"

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

void AppendEscaped(std::string* out, char letter) {
  char text[4];
  std::snprintf(text, sizeof text, "%%%02X", static_cast<unsigned char>(letter));
  *out += text;
}

bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

std::vector<std::string_view> Split(std::string_view list) {
  std::vector<std::string_view> parts;
  while (!list.empty()) {
    const auto comma = list.find(',');
    parts.push_back(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
  return parts;
}

Json Parsed(const std::string* text) { return text == nullptr ? Json() : ParseTree(*text); }

// A scalar as it stands in a URL.
std::string Plain(const Json& value, bool time) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return time ? WithOffset(text) : text;
  }
  return value.is_null() ? "" : value.dump();
}

bool Says(const Json& value, Route::When when) {
  switch (when) {
    case Route::When::kAlways: return true;
    case Route::When::kPresent: return !value.is_null();
    case Route::When::kTrue:
      if (value.is_boolean()) return value.get<bool>();
      if (value.is_number()) return value != 0;
      return !value.is_null() && value != "" && !value.empty();
    case Route::When::kNonNegative: return value.is_number() && value >= 0;
  }
  return false;
}

std::string Path(const Route& route, const TaskRequest& message, const std::string& ti_id) {
  std::string out;
  for (std::string_view rest = route.path; !rest.empty();) {
    const auto open = rest.find('{');
    out += rest.substr(0, open);
    if (open == std::string_view::npos) break;
    const auto close = rest.find('}', open);
    auto name = rest.substr(open + 1, close - open - 1);
    rest.remove_prefix(close + 1);
    if (name.empty()) {
      out += ti_id;
      continue;
    }
    const bool all = name.ends_with('!');
    if (all) name.remove_suffix(1);
    const auto value = Plain(Parsed(message.Find(name)), false);
    out += all ? EscapeAll(value) : EscapePath(value);
  }
  return out;
}

std::string Query(const Route& route, const TaskRequest& message) {
  std::string out;
  const auto append = [&out](const char* name, const std::string& value) {
    out += out.empty() ? '?' : '&';
    out += EscapeQuery(name) + "=" + EscapeQuery(value);
  };
  for (const auto& param : route.params) {
    const auto value = Parsed(message.Find(param.field));
    if (!Says(value, param.when)) continue;
    if (value.is_array()) {
      for (const auto& item : value) append(param.name, Plain(item, param.time));
    } else if (value.is_object()) {
      for (const auto& [key, item] : value.items())
        append(param.name, key + "=" + Plain(item, param.time));
    } else {
      append(param.name, Plain(value, param.time));
    }
  }
  return out;
}

std::string Body(const Route& route, const TaskRequest& message) {
  std::string out;
  const auto append = [&out](std::string_view key, const std::string& value) {
    out += (out.empty() ? "" : ",") + JsonString(key) + ":" + value;
  };
  switch (route.body) {
    case Route::Body::kNone: return "";
    case Route::Body::kValue: {
      const auto* value = message.Find(route.body_fields);
      return value == nullptr ? "null" : *value;
    }
    case Route::Body::kAll:
    case Route::Body::kWithType:
      for (const auto& [key, value] : message.fields) append(key, value);
      if (route.body == Route::Body::kWithType) append("type", JsonString(message.type));
      break;
    case Route::Body::kFields:
    case Route::Body::kNonEmpty:
      for (const auto part : Split(route.body_fields)) {
        const auto equals = part.find('=');
        const auto name = part.substr(0, equals);
        const auto* value =
            message.Find(equals == std::string_view::npos ? part : part.substr(equals + 1));
        if (route.body == Route::Body::kFields) {
          append(name, value == nullptr ? "null" : *value);
        } else if (value != nullptr && *value != "null" && *value != "false" && *value != "{}") {
          append(name, *value);
        }
      }
      break;
  }
  return "{" + out + "}";
}

std::string Detail(const Route& route, const TaskRequest& message) {
  std::string out;
  for (const auto name : Split(route.detail_fields)) {
    const auto* value = message.Find(name);
    out += (out.empty() ? "" : ",") + JsonString(name) + ":" + (value == nullptr ? "null" : *value);
  }
  return out;
}

// Whether pydantic takes it for a list of Airflow's ValidationError.
bool IsValidationErrors(const Json& detail) {
  if (!detail.is_array()) return false;
  return std::all_of(detail.begin(), detail.end(), [](const Json& one) {
    JsonFields fields(one, "");
    fields.Text("msg");
    fields.Text("type");
    const auto* place = fields.Array("loc");
    const auto* context = fields.Find("ctx");
    return fields.status() && fields.Find("msg") != nullptr && fields.Find("type") != nullptr &&
           place != nullptr &&
           std::all_of(
               place->begin(), place->end(),
               [](const Json& part) { return part.is_string() || part.is_number_integer(); }) &&
           (context == nullptr || context->is_null() || context->is_object());
  });
}

Reply Unreadable(const std::string& why) { return {"", ClientError(why, "ValidationError")}; }

Reply Success(const Route& route, const ApiAnswer& answer) {
  switch (route.reply) {
    case Route::Reply::kNothing: return {};
    case Route::Reply::kOk: return {R"({"ok":true,"type":"OKResponse"})", ""};
    case Route::Reply::kCount: {
      constexpr std::string_view kPrefix = "map_indexes ";
      const std::string_view range = answer.content_range;
      if (!range.starts_with(kPrefix) || range.size() == kPrefix.size() ||
          range.find_first_not_of("0123456789", kPrefix.size()) != std::string_view::npos) {
        return Unreadable("Unable to parse Content-Range header from HEAD");
      }
      // "007" is a number for Python, but not in JSON.
      const auto first = std::min(range.find_first_not_of('0', kPrefix.size()), range.size() - 1);
      return {WithType("{\"len\":" + std::string(range.substr(first)) + "}", route.reply_type), ""};
    }
    case Route::Reply::kObject:
    case Route::Reply::kUnder: break;
  }
  if (!IsJson(answer.body)) {
    return Unreadable("the API server's answer is not JSON");
  }
  if (route.reply == Route::Reply::kUnder) {
    return {WithType("{" + JsonString(route.reply_key) + ":" + answer.body + "}", route.reply_type),
            ""};
  }
  const auto first = answer.body.find_first_not_of(" \t\r\n");
  if (first == std::string::npos || answer.body[first] != '{') {
    return Unreadable("the API server's answer is not an object");
  }
  return {WithType(answer.body, route.reply_type), ""};
}

}  // namespace

ApiRequest MakeRequest(const Route& route, const TaskRequest& message, const std::string& ti_id) {
  return {route.method, Path(route, message, ti_id) + Query(route, message), Body(route, message),
          message.trace};
}

Reply MakeReply(const Route& route, const TaskRequest& message, const ApiAnswer& answer) {
  if (answer.ok()) return Success(route, answer);
  if (IsApiError(answer)) {
    if (answer.status == 410 && route.ignores_gone) return {};
    if (answer.status == 404 && std::string_view(route.type) == "GetXCom") {
      return {WithType("{" + Detail(route, message) + ",\"value\":null}", route.reply_type), ""};
    }
    if (answer.status == 404 && *route.not_found != '\0') {
      return {ErrorResponse(route.not_found, "{" + Detail(route, message) + "}"), ""};
    }
    if ((answer.status == 401 || answer.status == 403) && route.tells_denied) {
      return {ErrorResponse("PERMISSION_DENIED",
                            "{" + Detail(route, message) +
                                ",\"status_code\":" + std::to_string(answer.status) + "}"),
              ""};
    }
  }
  return {"", ApiError(answer)};
}

std::string WhyNotAsked(const Route& route, const TaskRequest& message) {
  if (route.body == Route::Body::kValue && !message.not_finite.empty())
    return "Out of range float values are not JSON compliant: " + message.not_finite;
  const std::string_view path = route.path;
  const bool events = path.starts_with("asset-events/");
  if (!events && !path.starts_with("assets/by-name") && !path.starts_with("assets/by-uri") &&
      !path.starts_with("store/asset/")) {
    return "";
  }
  for (const auto* field : {"name", "uri", "alias_name"})
    if (!message.Text(field).empty()) return "";
  return events ? "Either `name`, `uri` or `alias_name` must be provided"
                : "Either `name` or `uri` must be provided";
}

std::string ErrorResponse(std::string_view error, std::string_view detail) {
  return "{\"error\":" + JsonString(error) +
         ",\"detail\":" + (detail.empty() ? "null" : std::string(detail)) +
         ",\"type\":\"ErrorResponse\"}";
}

std::string ClientError(std::string_view message, std::string_view exception_type) {
  return ErrorResponse("API_SERVER_ERROR",
                       "{\"status_code\":null,\"message\":" + JsonString(message) +
                           ",\"exception_type\":" + JsonString(exception_type) + "}");
}

bool IsApiError(const ApiAnswer& answer) {
  // What is nested too deeply is not JSON for Python either.
  return answer.status >= 400 && answer.status < 600 && answer.content_type == "application/json" &&
         IsJson(answer.body) && (answer.body == "null" || !ParseTree(answer.body).is_null());
}

const nlohmann::ordered_json* ErrorDetail(const nlohmann::ordered_json& body) {
  const auto* detail = JsonFields(body, "").Find("detail");
  if (detail == nullptr) return &body;
  if (detail->is_string()) return nullptr;
  return detail->is_object() || IsValidationErrors(*detail) ? detail : &body;
}

std::string ApiError(const ApiAnswer& answer) {
  if (!IsApiError(answer)) {
    const auto why = answer.status == 0
                         ? answer.failure
                         : "the API server answered with status " + std::to_string(answer.status);
    const auto* kind = answer.status == 0 ? "RequestError" : "HTTPStatusError";
    return ClientError(why, kind);
  }
  const auto body = ParseTree(answer.body);
  std::string message = "Server returned error";
  if (const auto* detail = ErrorDetail(body); detail == nullptr) {
    message = JsonFields(body, "").Text("detail");
    if (message.empty()) message = "Un-parseable error";
  } else if (detail != &body && detail->is_array()) {
    message = "Remote server returned validation error";
  }
  return ErrorResponse("API_SERVER_ERROR", "{\"status_code\":" + std::to_string(answer.status) +
                                               ",\"message\":" + JsonString(message) +
                                               ",\"detail\":" + answer.body + "}");
}

std::string EscapePath(std::string_view text) {
  constexpr std::string_view kEscaped = " \"#<>?`{}[]\\^|";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const auto byte = static_cast<unsigned char>(c);
    // What is escaped already stays as it is; users have such keys.
    const bool escaped =
        c == '%' && i + 2 < text.size() && IsHex(text[i + 1]) && IsHex(text[i + 2]);
    if (byte <= 0x20 || byte >= 0x7f || kEscaped.find(c) != std::string_view::npos ||
        (c == '%' && !escaped)) {
      AppendEscaped(&out, c);
    } else {
      out += c;
    }
  }
  return out;
}

std::string EscapeAll(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && (std::isalnum(byte) != 0 || c == '_' || c == '.' || c == '-' || c == '~')) {
      out += c;
    } else {
      AppendEscaped(&out, c);
    }
  }
  return out;
}

std::string EscapeQuery(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == ' ' ? "+" : EscapeAll({&c, 1});
  return out;
}

}  // namespace zkexec
