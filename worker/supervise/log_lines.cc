// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/log_lines.h"

#include <array>
#include <cctype>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "worker/supervise/time_text.h"
#include "worker/supervise/wire.h"

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

// Names as they come, and as structlog writes them back.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kLevels{
    {{"debug", "debug"},
     {"info", "info"},
     {"warning", "warning"},
     {"warn", "warning"},
     {"error", "error"},
     {"exception", "error"},
     {"critical", "critical"},
     {"notset", "notset"}}};

std::string_view KnownLevel(std::string_view name) {
  for (const auto& [from, to] : kLevels)
    if (from == name) return to;
  return {};
}

const char* Name(LogLines::Level level) {
  switch (level) {
    case LogLines::kDebug: return "debug";
    case LogLines::kInfo: return "info";
    case LogLines::kWarning: return "warning";
    case LogLines::kError: return "error";
    case LogLines::kCritical: return "critical";
  }
  return "info";
}

// Whether the line may be written as it came: it has our order of keys and a level that
// we know, and nothing in it is to be renamed. (Secrets are the masker's question.)
bool IsPlain(std::string_view line) {
  constexpr std::string_view kTime = "{\"timestamp\":\"";
  constexpr std::string_view kLevel = "\",\"level\":\"";
  constexpr std::string_view kEvent = "\",\"event\":\"";
  if (!line.starts_with(kTime) || !line.ends_with('}')) return false;
  const auto level = line.find(kLevel, kTime.size());
  if (level == std::string_view::npos || level > 64) return false;
  const auto from = level + kLevel.size();
  const auto to = line.find('"', from);
  if (to == std::string_view::npos || line.compare(to, kEvent.size(), kEvent) != 0) return false;
  const auto name = line.substr(from, to - from);
  return KnownLevel(name) == name && line.find("\"exception\"") == std::string_view::npos &&
         line.find("eyJ") == std::string_view::npos && IsJson(line);
}

void RedactTopLevelTokens(Json* event) {
  for (auto& value : *event) {
    if (!value.is_string()) continue;
    const auto& text = value.get_ref<const std::string&>();
    if (text.find("eyJ") != std::string::npos) value = RedactTokens(text);
  }
}

std::string Line(const Json& event) {
  return event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

LogLines::LogLines(const Clock& clock, const Masker& masker, int least, std::string ti_id)
    : clock_(clock),
      masker_(masker),
      least_(least),
      ti_id_(std::move(ti_id)),
      ti_field_(ti_id_.empty() ? "" : ",\"ti_id\":" + JsonString(ti_id_)) {}

bool LogLines::MayWriteAsItIs(std::string_view line) const {
  if (!IsPlain(line) || masker_.Concerns(line)) return false;
  if (ti_id_.empty()) return true;
  constexpr std::size_t kTimeAt = 14;  // {"timestamp":"
  return line.find(ti_field_) != std::string_view::npos &&
         IsMoment(line.substr(kTimeAt, line.find('"', kTimeAt) - kTimeAt));
}

std::string LogLines::FromEvent(std::string_view line) const {
  if (MayWriteAsItIs(line)) return std::string(line) + "\n";
  auto parsed = ParseTree(line);
  if (!parsed.is_object()) return "";
  const auto level = parsed.find("level");
  if (level == parsed.end() || !level->is_string()) return "";
  const auto known = KnownLevel(level->get_ref<const std::string&>());
  if (known.empty()) return "";
  Json event;
  const auto time = parsed.find("timestamp");
  const bool has_time = time != parsed.end() && time->is_string() &&
                        (ti_id_.empty() || IsMoment(time->get_ref<const std::string&>()));
  event["timestamp"] = has_time ? *time : Json(Now());
  event["level"] = known;
  const auto text = parsed.find("event");
  event["event"] = text != parsed.end() && !text->is_null() ? *text : Json("");
  // An empty one is as good as none, for Python.
  if (!ti_id_.empty() && !has_time && time != parsed.end() && !time->empty() && *time != "" &&
      *time != 0 && *time != false) {
    event["invalid_timestamp"] = *time;
  }
  Json exception;
  for (auto& [key, value] : parsed.items()) {
    if (key == "exception") {
      exception = std::move(value);
    } else if (key != "timestamp" && key != "level" && key != "event") {
      // Not event[key], which looks at all keys before it.
      event.get_ref<Json::object_t&>().emplace_back(key, std::move(value));
    }
  }
  if (!ti_id_.empty() && !event.contains("ti_id")) event["ti_id"] = ti_id_;
  // Airflow's pages look for tracebacks under this name.
  if (!exception.is_null() && !exception.empty()) event["error_detail"] = std::move(exception);
  RedactTopLevelTokens(&event);
  masker_.Redact(&event);
  return Line(event);
}

std::string LogLines::FromText(std::string_view line, const char* logger, Level level) const {
  if (level < least_) return "";
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0)
    line.remove_suffix(1);
  const auto shown = masker_.RedactText(RedactTokens(line));
  return "{\"timestamp\":\"" + Now() + "\",\"level\":\"" + Name(level) +
         "\",\"event\":" + JsonString(shown) + ",\"logger\":\"" + logger + "\"" + ti_field_ + "}\n";
}

std::string LogLines::Own(Level level, const std::string& event,
                          std::initializer_list<std::pair<const char*, std::string>> fields) const {
  if (level < least_) return "";
  std::string line = "{\"timestamp\":\"" + Now() + "\",\"level\":\"" + Name(level) +
                     "\",\"event\":" + JsonString(event);
  for (const auto& [key, value] : fields) line += "," + JsonString(key) + ":" + value;
  line += ",\"logger\":\"task\"" + ti_field_ + "}";
  if (line.find("eyJ") == std::string::npos && !masker_.Concerns(line)) return line + "\n";
  auto parsed = Json::parse(line, nullptr, false);
  if (parsed.is_discarded()) return "";
  RedactTopLevelTokens(&parsed);
  masker_.Redact(&parsed);
  return Line(parsed);
}

std::string LogLines::Now() const { return IsoTime(clock_.UnixUs()); }

}  // namespace zkexec
