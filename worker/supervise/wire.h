// SPDX-License-Identifier: Apache-2.0
// The words between a task process and its supervisor: msgpack frames on the task's fd 0,
// as Airflow's task runner writes and reads them. wire.cc alone includes msgpack-c.
//
//   frame    = length (4 bytes, big endian) payload
//   request  = [id, body, trace context]      task → supervisor
//   response = [id, body, error]              supervisor → task
//
// Inside the supervisor a body is JSON text: most bodies go on to, or come from, the API
// server as they are. The order of keys, 1 against 1.0, and integers of 64 bits survive.
//
// Pure. Threads: any, each object one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace zkexec {

// A request's body, opened at its first level only.
struct TaskRequest {
  std::int64_t id = 0;
  std::string type;
  // In the order of the task, without "type"; the values as JSON text.
  std::vector<std::pair<std::string, std::string>> fields;
  // nan, inf or -inf if there was such a number, which JSON has no words for: it is null above.
  std::string not_finite;
  // Headers for what is asked of the API server on its behalf (traceparent, tracestate).
  std::map<std::string, std::string> trace;

  // The field's JSON text; nullptr if it is not there.
  const std::string* Find(std::string_view name) const;
  // The field if it is a string; empty if it is not.
  std::string Text(std::string_view name) const;
};

// Errors: kInvalid: not a request (the channel is out of step then), or one that JSON has
// no words for (binary). `id` is set as soon as it was read, to be answered.
Result<TaskRequest> DecodeRequest(std::string_view payload, std::int64_t* id);

// A whole frame. `body` and `error` are JSON texts, or empty for nil. With `type`, the
// body, which must be an object, gets this as its last key.
// Errors: kInvalid: not JSON, or an integer beyond 64 bits.
Result<std::string> ResponseFrame(std::int64_t id, std::string_view body, std::string_view error);

// Whether all of it is JSON text, to be written into other JSON as it stands.
bool IsJson(std::string_view text);
// As a tree, in time that is linear in the text; repeated keys stay. null if it is not JSON,
// or nested deeper than `depth`: what walks, copies or prints a tree recurses, and a task
// decides what it sends.
nlohmann::ordered_json ParseTree(std::string_view text, std::size_t depth = 1000);
// A text as JSON, in quotes. What is not UTF-8 is replaced.
std::string JsonString(std::string_view text);
// {"a":1} and "T" make {"a":1,"type":"T"}. `object` must be JSON text of an object.
std::string WithType(std::string_view object, std::string_view type);

// Cuts a stream into payloads.
class FrameReader {
 public:
  // Longer is no message: somebody else writes to the channel.
  static constexpr std::size_t kPayloadBytesMax = 256u << 20;

  void Push(std::string_view bytes) { buffer_.append(bytes); }
  // False: none complete yet, or broken().
  bool Pop(std::string* payload);
  bool broken() const { return broken_; }
  // Bytes of a payload that is not complete.
  std::size_t pending() const { return buffer_.size() - read_; }

 private:
  std::string buffer_;
  std::size_t read_ = 0;
  bool broken_ = false;
};

}  // namespace zkexec
