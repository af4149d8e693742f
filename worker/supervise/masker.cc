// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/masker.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/supervise/wire.h"

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMask[] = "***";
constexpr int kPatternDepthMax = 5;  // Airflow replaces known secrets down to here

bool IsWord(char letter) {
  const auto byte = static_cast<unsigned char>(letter);
  return byte >= 0x80 || std::isalnum(byte) != 0 || letter == '_';
}

// Lower case, and runs of what can't be in a word as one underscore. In JSON, the letter
// after a backslash is in no word either.
std::string Normalized(std::string_view name, bool is_json = false) {
  std::string out;
  bool gap = false;
  bool escape = false;
  for (const char letter : name) {
    const bool escaped = escape;
    escape = is_json && letter == '\\' && !escaped;
    if (escaped || !IsWord(letter)) {
      if (!gap) out += '_';
      gap = true;
      continue;
    }
    gap = false;
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return out;
}

// With an underscore where a word begins within another: "privateKey", "APIKey".
std::string SplitWords(std::string_view name) {
  const auto upper = [&](std::size_t i) {
    return i < name.size() && name[i] >= 'A' && name[i] <= 'Z';
  };
  const auto lower = [&](std::size_t i) {
    return i < name.size() && name[i] >= 'a' && name[i] <= 'z';
  };
  const auto digit = [&](std::size_t i) {
    return i < name.size() && name[i] >= '0' && name[i] <= '9';
  };
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (i > 0 && upper(i) && (lower(i - 1) || digit(i - 1) || (upper(i - 1) && lower(i + 1))))
      out += '_';
    out += name[i];
  }
  return out;
}

// Whether the JSON has escapes by which a text may look otherwise than JsonString() has it.
bool HasRareEscape(std::string_view json) {
  for (auto at = json.find('\\'); at != std::string_view::npos; at = json.find('\\', at + 2))
    if (at + 1 < json.size() && (json[at + 1] == 'u' || json[at + 1] == '/')) return true;
  return false;
}

std::size_t Characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string Lower(std::string text) {
  for (auto& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

void RedactAll(Json* value, int depth) {
  if (depth > kPatternDepthMax || value->is_string()) {
    *value = kMask;
  } else if (value->is_structured()) {
    for (auto& item : *value) RedactAll(&item, depth + 1);
  }
}

}  // namespace

void Masker::AddText(const std::string& secret, const std::string& name) {
  if (secret.empty() || Lower(secret) == "airflow") return;
  if (Characters(secret) < rules_->min_length) return;
  if (!name.empty() && !ShouldHide(name)) return;
  secrets_.insert(secret);
  auto quoted = JsonString(secret);
  escaped_.insert(quoted.substr(1, quoted.size() - 2));
}

void Masker::Add(const Json& value, const std::string& name) {
  // Without recursion: a task may nest as deep as it likes.
  std::vector<std::pair<const Json*, std::string>> open{{&value, name}};
  while (!open.empty()) {
    const auto [next, its_name] = std::move(open.back());
    open.pop_back();
    if (next->is_string()) {
      AddText(next->get<std::string>(), its_name);
    } else if (next->is_object()) {
      for (const auto& [key, item] : next->items()) open.emplace_back(&item, key);
    } else if (next->is_array()) {
      for (const auto& item : *next) open.emplace_back(&item, its_name);
    }
  }
}

bool Masker::ShouldHide(std::string_view name) const {
  if (!rules_->hide_sensitive_names || name.empty()) return false;
  while (!name.empty() && std::isspace(static_cast<unsigned char>(name.front())) != 0)
    name.remove_prefix(1);
  while (!name.empty() && std::isspace(static_cast<unsigned char>(name.back())) != 0)
    name.remove_suffix(1);
  return IsTelling(name, false);
}

bool Masker::IsTelling(std::string_view text, bool json) const {
  const auto found = [this](const std::string& normalized) {
    return std::any_of(
        rules_->sensitive_names.begin(), rules_->sensitive_names.end(),
        [&](const auto& part) { return normalized.find(part) != std::string::npos; });
  };
  return found(Normalized(text, json)) ||
         (rules_->thorough && found(Normalized(SplitWords(text), json)));
}

bool Masker::Concerns(std::string_view json_line) const {
  if (HasRareEscape(json_line)) return true;
  for (const auto& secret : escaped_)
    if (json_line.find(secret) != std::string_view::npos) return true;
  if (!rules_->hide_sensitive_names) return false;
  // A telling key is part of its line, normalized in the same way.
  return IsTelling(json_line, true);
}

std::string Masker::RedactText(std::string_view text) const {
  if (std::none_of(secrets_.begin(), secrets_.end(),
                   [&](const auto& secret) { return text.find(secret) != std::string_view::npos; }))
    return std::string(text);
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    // The longest that fits: of a secret and its beginning, both known, none shows.
    std::size_t length = 0;
    for (const auto& secret : secrets_)
      if (secret.size() > length && text.compare(at, secret.size(), secret) == 0)
        length = secret.size();
    if (length == 0) {
      out += text[at++];
    } else {
      out += kMask;
      at += length;
    }
  }
  return out;
}

void Masker::Redact(Json* event) const { Redact(event, "", 0); }

void Masker::Redact(Json* value, std::string_view name, int depth) const {
  if (!name.empty() && ShouldHide(name)) return RedactAll(value, depth);
  if (value->is_object()) {
    for (auto& [key, item] : value->items()) Redact(&item, key, depth + 1);
  } else if (value->is_array()) {
    for (auto& item : *value) Redact(&item, "", depth + 1);
  } else if (value->is_string() && (rules_->thorough || depth <= kPatternDepthMax)) {
    auto redacted = RedactText(value->get_ref<const std::string&>());
    if (redacted != value->get_ref<const std::string&>()) *value = std::move(redacted);
  }
}

std::string RedactTokens(std::string_view text) {
  std::string out;
  for (;;) {
    const auto at = text.find("eyJ");
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += "eyJ***";
    std::size_t end = at + 3;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0 ||
                                 text[end] == '.' || text[end] == '-' || text[end] == '_'))
      ++end;
    text.remove_prefix(end);
  }
}

}  // namespace zkexec
