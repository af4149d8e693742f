// SPDX-License-Identifier: Apache-2.0
#include "common/repeated_log.h"

namespace zkexec {
namespace {

std::string_view KindOf(std::string_view message) {
  const auto begin = message.find('@');
  if (begin == std::string_view::npos) return message;
  const auto end = message.find(':', begin);
  return end == std::string_view::npos ? message : message.substr(begin, end - begin);
}

}  // namespace

std::optional<std::string> RepeatedLog::Admit(std::string_view message, TimePoint now) {
  const auto kind = KindOf(message);
  auto found = kinds_.find(kind);
  if (found != kinds_.end() && now - found->second.told < interval_) {
    ++found->second.left_out;
    return std::nullopt;
  }
  std::string line(message);
  if (found == kinds_.end()) {
    if (kinds_.size() >= kKindsMax) kinds_.clear();
    found = kinds_.emplace(kind, Kind{}).first;
  } else if (found->second.left_out > 0) {
    line += " (" + std::to_string(found->second.left_out) + " like it were left out)";
  }
  found->second = {now, 0};
  return line;
}

}  // namespace zkexec
