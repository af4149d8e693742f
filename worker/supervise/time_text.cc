// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/time_text.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace zkexec {
namespace {

// The number that `digits` digits at the beginning of `*text` are; -1 if they are none.
int Take(std::string_view* text, std::size_t digits) {
  if (text->size() < digits) return -1;
  int number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return -1;
    number = number * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return number;
}

bool Skip(std::string_view* text, std::string_view choices) {
  if (text->empty() || choices.find(text->front()) == std::string_view::npos) return false;
  text->remove_prefix(1);
  return true;
}

bool Within(int number, int least, int most) { return number >= least && number <= most; }

int DaysOf(int year, int month) {
  constexpr std::array kDays{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return kDays.at(static_cast<std::size_t>(month) - 1) + (month == 2 && leap ? 1 : 0);
}

}  // namespace

bool IsMoment(std::string_view text) {
  const int year = Take(&text, 4);
  if (year < 1 || !Skip(&text, "-")) return false;
  const int month = Take(&text, 2);
  if (!Within(month, 1, 12) || !Skip(&text, "-")) return false;
  if (!Within(Take(&text, 2), 1, DaysOf(year, month)) || !Skip(&text, "Tt ")) return false;
  if (!Within(Take(&text, 2), 0, 23) || !Skip(&text, ":")) return false;
  if (!Within(Take(&text, 2), 0, 59) || !Skip(&text, ":")) return false;
  if (!Within(Take(&text, 2), 0, 59)) return false;
  if (Skip(&text, ".")) {
    if (Take(&text, 1) < 0) return false;
    while (Take(&text, 1) >= 0) {
    }
  }
  if (text.empty()) return true;
  if (Skip(&text, "Zz")) return text.empty();
  if (!Skip(&text, "+-") || !Within(Take(&text, 2), 0, 23)) return false;
  Skip(&text, ":");
  return Within(Take(&text, 2), 0, 59) && text.empty();
}

std::string IsoTime(std::int64_t unix_us) {
  const std::time_t seconds = unix_us / 1'000'000;
  const int micros = static_cast<int>(unix_us % 1'000'000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  std::string out = text;
  if (micros != 0) {
    std::snprintf(text, sizeof text, ".%06d", micros);
    out += text;
  }
  return out + "Z";
}

std::string WithOffset(std::string_view iso) {
  if (!iso.ends_with('Z')) return std::string(iso);
  return std::string(iso.substr(0, iso.size() - 1)) + "+00:00";
}

}  // namespace zkexec
