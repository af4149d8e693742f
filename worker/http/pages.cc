// SPDX-License-Identifier: Apache-2.0
#include "worker/http/pages.h"

#include <array>
#include <ctime>
#include <exception>
#include <utility>

namespace zkexec {
namespace {

constexpr std::string_view kLogPrefix = "/log/";

Page HealthPage(const HttpHealth& health) {
  return {health.ok ? 200 : 503, health.json, "application/json"};
}

const char* Phrase(int status) {
  constexpr std::array<std::pair<int, const char*>, 10> kPhrases{{
      {200, "OK"},
      {400, "Bad Request"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {413, "Payload Too Large"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {503, "Service Unavailable"},
  }};
  for (const auto& [known, phrase] : kPhrases) {
    if (known == status) return phrase;
  }
  return "Unknown";
}

}  // namespace

Pages::Pages(HttpHandlers handlers, LogAccess logs)
    : handlers_(std::move(handlers)), logs_(std::move(logs)) {}

std::string_view Pages::PathOf(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const auto slash = target.find('/', scheme.size());
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
    break;
  }
  return target.substr(0, target.find_first_of("?#"));
}

std::optional<std::string_view> Pages::LogName(std::string_view path) {
  if (!path.starts_with(kLogPrefix)) return std::nullopt;
  return path.substr(kLogPrefix.size());
}

Page Pages::At(std::string_view path) const {
  try {
    if (path == "/metrics") return {200, handlers_.metrics_text(), "text/plain; version=0.0.4"};
    if (path == "/health/live") return HealthPage(handlers_.live());
    if (path == "/health/ready") return HealthPage(handlers_.ready());
  } catch (const std::exception&) {
    return {500, "internal error\n"};
  }
  return {404, "no such page\n"};
}

Pages::Log Pages::OpenLog(std::string_view name, std::string_view authorization) const {
  try {
    const auto now = handlers_.epoch_s ? handlers_.epoch_s() : std::int64_t{std::time(nullptr)};
    auto verdict = logs_.Check(name, authorization, now);
    if (verdict.status != 200) return {verdict.status, std::move(verdict.message), std::nullopt};
    auto file = LogFile::Open(verdict.path);
    if (!file) {
      const bool missing = file.error().code == ErrorCode::kNotFound;
      return {missing ? 404 : 500, file.error().message, std::nullopt};
    }
    return {200, "", std::move(*file)};
  } catch (const std::exception&) {
    return {500, "internal error", std::nullopt};
  }
}

void Pages::TellRefused(int status, const std::string& reason) const {
  if (handlers_.log_refused) handlers_.log_refused(status, reason);
}

void Pages::TellAnswered(int status) const {
  if (handlers_.answered) handlers_.answered(status);
}

void Pages::TellDropped(const std::string& reason) const {
  if (handlers_.dropped) handlers_.dropped(reason);
}

std::string AnswerHead(int status, const std::string& type, std::size_t bytes, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " " + Phrase(status) + "\r\n";
  if (status == 405) head += "Allow: GET, HEAD\r\n";
  if (bytes > 0) head += "Content-Type: " + type + "\r\n";
  head += "Content-Length: " + std::to_string(bytes) + "\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  return head + "\r\n";
}

}  // namespace zkexec
