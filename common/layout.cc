// SPDX-License-Identifier: Apache-2.0
#include "common/layout.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace zkexec {
namespace {

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.';
}

constexpr std::size_t kBandDigits = 8;
constexpr std::size_t kTimeDigits = 12;
// Maps the priorities of a signed 32-bit number to 0…2^32-1, the highest first.
constexpr std::int64_t kHighest = 0x7fffffff;

bool ParseHex(std::string_view text, std::uint64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, 16);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Layout> Layout::Make(const std::string& root, const std::string& team) {
  if (root.size() < 2 || root[0] != '/' || root.back() == '/' ||
      root.find("//") != std::string::npos || root.find('\0') != std::string::npos) {
    return Error{
        ErrorCode::kInvalid,
        "root must be a path like /zk-executor, without a slash at the end; it is '" + root + "'"};
  }
  if (team.empty()) return Error{ErrorCode::kInvalid, "team must not be empty"};
  return Layout(root + "/" + EncodeComponent(team));
}

std::string Layout::Queue(const std::string& queue) const {
  return Queues() + "/" + EncodeComponent(queue);
}
std::string Layout::Partition(const std::string& queue, int partition) const {
  return Queue(queue) + "/" + std::to_string(partition);
}
std::string Layout::RunningQueue(const std::string& queue) const {
  return Running() + "/" + EncodeComponent(queue);
}
std::string Layout::RunningPartition(const std::string& queue, int partition) const {
  return RunningQueue(queue) + "/" + std::to_string(partition);
}
std::string Layout::RunningNode(const std::string& queue, int partition,
                                const std::string& dispatch) const {
  return RunningPartition(queue, partition) + "/" + dispatch;
}
std::string Layout::ClaimPrefix(const std::string& queue, int partition,
                                const std::string& dispatch, const std::string& guid) const {
  return RunningNode(queue, partition, dispatch) + "/" + ClaimNamePrefix(guid);
}
std::string Layout::ResultNode(const std::string& scheduler, const std::string& dispatch,
                               const std::string& outcome) const {
  return ResultDir(scheduler) + "/" + dispatch + "=" + outcome;
}
std::string Layout::KillNode(const std::string& worker, const std::string& dispatch) const {
  return Control(worker) + "/" + kKillPrefix + dispatch;
}
std::string Layout::CommandPrefix(const std::string& worker) const {
  return Control(worker) + "/" + kCommandPrefix;
}

std::string EntryName::Encode() const {
  const auto band = static_cast<std::uint32_t>(kHighest - priority);
  char prefix[40];
  std::snprintf(prefix, sizeof prefix, "%08x-%012llx-", band,
                static_cast<unsigned long long>(enqueued_unix_ms) & 0xffffffffffffULL);
  return prefix + dispatch;
}

std::optional<EntryName> EntryName::Decode(const std::string& name) {
  const std::size_t head = kBandDigits + 1 + kTimeDigits + 1;
  if (name.size() <= head || name[kBandDigits] != '-' || name[head - 1] != '-') return {};
  std::uint64_t band = 0;
  std::uint64_t time = 0;
  const std::string_view view(name);
  if (!ParseHex(view.substr(0, kBandDigits), &band)) return {};
  if (!ParseHex(view.substr(kBandDigits + 1, kTimeDigits), &time)) return {};
  EntryName entry;
  entry.priority = static_cast<int>(kHighest - static_cast<std::int64_t>(band));
  entry.enqueued_unix_ms = static_cast<std::int64_t>(time);
  entry.dispatch = name.substr(head);
  if (!IsDispatchId(entry.dispatch)) return {};
  return entry;
}

std::optional<ResultName> ResultName::Decode(const std::string& name) {
  const auto at = name.find('=');
  if (at == std::string::npos || at + 1 == name.size()) return {};
  ResultName result{name.substr(0, at), name.substr(at + 1)};
  if (!IsDispatchId(result.dispatch)) return {};
  return result;
}

std::string ClaimNamePrefix(const std::string& guid) { return "claim-" + guid + "-"; }

std::string EncodeComponent(const std::string& name) {
  const bool dots = name == "." || name == "..";
  std::string encoded;
  for (const char c : name) {
    if (IsPlain(c) && !dots) {
      encoded += c;
      continue;
    }
    char hex[4];
    std::snprintf(hex, sizeof hex, "%%%02x", static_cast<unsigned char>(c));
    encoded += hex;
  }
  return encoded;
}

std::string DecodeComponent(const std::string& component) {
  std::string name;
  for (std::size_t i = 0; i < component.size(); ++i) {
    std::uint64_t value = 0;
    if (component[i] == '%' && i + 2 < component.size() &&
        ParseHex(std::string_view(component).substr(i + 1, 2), &value)) {
      name += static_cast<char>(value);
      i += 2;
    } else {
      name += component[i];
    }
  }
  return name;
}

bool IsDispatchId(const std::string& id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) { return IsPlain(c) && c != '.'; });
}

}  // namespace zkexec
