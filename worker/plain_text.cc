// SPDX-License-Identifier: Apache-2.0
#include "worker/plain_text.h"

namespace zkexec {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// How many bytes the character at the begin of `text`, which is not empty, has; 0: that is none.
std::size_t CharacterBytes(std::string_view text) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const auto first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t size = first < 0xc2   ? 0
                           : first < 0xe0 ? 2
                           : first < 0xf0 ? 3
                           : first < 0xf5 ? 4
                                          : 0;
  if (size == 0 || text.size() < size) return 0;
  for (std::size_t at = 1; at < size; ++at)
    if ((byte(at) & 0xc0) != 0x80) return 0;
  // Neither longer than need be, nor half of a pair, nor beyond the last character.
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) >= 0xa0) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) >= 0x90) return 0;
  return size;
}

bool IsControl(char one) {
  const auto byte = static_cast<unsigned char>(one);
  return (byte < 0x20 && one != '\n' && one != '\t') || byte == 0x7f;
}

}  // namespace

std::string PlainText(std::string_view text, std::size_t bytes_max) {
  std::string plain;
  while (!text.empty()) {
    const auto size = CharacterBytes(text);
    const auto shown = size == 0 || IsControl(text[0]) ? kReplacement : text.substr(0, size);
    if (plain.size() + shown.size() > bytes_max) break;
    plain += shown;
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return plain;
}

}  // namespace zkexec
