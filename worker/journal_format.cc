// SPDX-License-Identifier: Apache-2.0
// The bytes of a journal file: header, then frames of length, CRC-32 (both four
// bytes, little endian) and a JournalEntry.
#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "common/proto/journal.pb.h"
#include "worker/file_journal.h"

namespace zkexec::journal_format {
namespace {

constexpr std::size_t kPrefix = 8;
constexpr std::uint32_t kBodyBytesMax = 1u << 20;

std::uint32_t Checksum(std::string_view bytes) {
  return static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()),
                                            static_cast<z_size_t>(bytes.size())));
}

void PutNumber(std::string* out, std::uint32_t number) {
  for (int shift = 0; shift < 32; shift += 8) {
    *out += static_cast<char>((number >> shift) & 0xff);
  }
}

std::uint32_t GetNumber(std::string_view bytes) {
  std::uint32_t number = 0;
  for (int i = 3; i >= 0; --i) {
    number = number << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  }
  return number;
}

std::string Encode(const proto::JournalEntry& entry) {
  const auto body = entry.SerializeAsString();
  std::string frame;
  PutNumber(&frame, static_cast<std::uint32_t>(body.size()));
  PutNumber(&frame, Checksum(body));
  return frame + body;
}

void Apply(const proto::JournalEntry& entry, Contents* contents) {
  if (entry.forgotten()) {
    contents->live.erase(entry.dispatch_id());
    return;
  }
  contents->live[entry.dispatch_id()] = {entry.dispatch_id(), entry.queue(),   entry.partition(),
                                         entry.scheduler(),   entry.outcome(), entry.info(),
                                         entry.worker()};
}

bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == 0; });
}

}  // namespace

std::string Frame(const JournalRecord& record) {
  proto::JournalEntry entry;
  entry.set_dispatch_id(record.dispatch_id);
  entry.set_queue(record.queue);
  entry.set_partition(record.partition);
  entry.set_scheduler(record.scheduler);
  entry.set_outcome(record.outcome);
  entry.set_info(record.info);
  entry.set_worker(record.worker);
  return Encode(entry);
}

std::string ForgetFrame(const std::string& dispatch_id) {
  proto::JournalEntry entry;
  entry.set_dispatch_id(dispatch_id);
  entry.set_forgotten(true);
  return Encode(entry);
}

Contents Parse(const std::string& bytes) {
  Contents contents;
  const std::string_view header(kHeader);
  std::string_view rest(bytes);
  if (!rest.starts_with(header)) {
    contents.torn = header.starts_with(rest) && !rest.empty();
    contents.corrupt = !header.starts_with(rest);
    return contents;
  }
  rest.remove_prefix(header.size());
  while (!rest.empty()) {
    const auto length = rest.size() < kPrefix ? 0 : GetNumber(rest);
    // Of a write that a crash cut off, the end is missing, or is zeroes.
    const bool cut = rest.size() < kPrefix ||
                     (length <= kBodyBytesMax && rest.size() < kPrefix + length) || AllZero(rest);
    proto::JournalEntry entry;
    if (!cut && length > 0 && length <= kBodyBytesMax) {
      const auto body = rest.substr(kPrefix, length);
      if (Checksum(body) == GetNumber(rest.substr(4)) &&
          entry.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        Apply(entry, &contents);
        rest.remove_prefix(kPrefix + length);
        continue;
      }
    }
    // A bad last frame was torn, too: its blocks may reach the disk in any order.
    const bool last = length > 0 && length <= kBodyBytesMax && rest.size() == kPrefix + length;
    contents.torn = cut || last;
    contents.corrupt = !contents.torn;
    break;
  }
  return contents;
}

}  // namespace zkexec::journal_format
