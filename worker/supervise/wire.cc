// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/wire.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <msgpack.hpp>
#include <nlohmann/json.hpp>

namespace zkexec {
namespace {

constexpr std::size_t kDepthMax = 10000;

Error Invalid(const std::string& message) { return {ErrorCode::kInvalid, message}; }

// Python's first and last year, as seconds.
constexpr std::int64_t kSecondsMin = -62'135'596'800;
constexpr std::int64_t kSecondsMax = 253'402'300'799;

// One of msgpack's timestamps as Python's isoformat() has it, in UTC.
bool AppendTimestamp(std::string* json, const char* data, std::uint32_t size) {
  const auto word = [data](std::uint32_t from, std::uint32_t bytes) {
    std::uint64_t value = 0;
    for (std::uint32_t i = 0; i < bytes; ++i)
      value = value << 8 | static_cast<unsigned char>(data[from + i]);
    return value;
  };
  std::int64_t seconds = 0;
  std::uint64_t nanos = 0;
  if (size == 4) {
    seconds = static_cast<std::int64_t>(word(0, 4));
  } else if (size == 8) {
    const auto both = word(0, 8);
    nanos = both >> 34;
    seconds = static_cast<std::int64_t>(both & 0x3ffffffffULL);
  } else if (size == 12) {
    nanos = word(0, 4);
    seconds = static_cast<std::int64_t>(word(4, 8));
  } else {
    return false;
  }
  const std::time_t time = seconds;
  std::tm parts{};
  if (nanos > 999'999'999 || seconds < kSecondsMin || seconds > kSecondsMax) return false;
  if (gmtime_r(&time, &parts) == nullptr) return false;
  char text[64];
  std::snprintf(text, sizeof text, "\"%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
  *json += text;
  if (nanos >= 1000) {
    std::snprintf(text, sizeof text, ".%06d", static_cast<int>(nanos / 1000));
    *json += text;
  }
  *json += "Z\"";
  return true;
}

void AppendString(std::string* json, std::string_view text) {
  *json += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::strict);
}

bool IsUtf8(std::string_view text) {
  try {
    std::string unused;
    AppendString(&unused, text);
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

// What may go into a header on behalf of a task: no other headers, no line breaks.
bool IsTraceHeader(std::string_view name, std::string_view value) {
  return (name == "traceparent" || name == "tracestate") &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// msgpack, as it is parsed, written as JSON text. The first level is cut into
// [id, {fields}, {trace}]; what is deeper goes into the field's text.
class RequestVisitor : public msgpack::null_visitor {
 public:
  explicit RequestVisitor(TaskRequest* request, std::int64_t* id) : request_(request), id_(id) {}

  std::string failure;

  bool visit_nil() { return Scalar("null"); }
  bool visit_boolean(bool value) { return Scalar(value ? "true" : "false"); }
  bool visit_positive_integer(std::uint64_t value) {
    if (IsId()) return value <= INT64_MAX ? Id(static_cast<std::int64_t>(value)) : NoRequest();
    return Scalar(std::to_string(value));
  }
  bool visit_negative_integer(std::int64_t value) {
    return IsId() ? Id(value) : Scalar(std::to_string(value));
  }
  bool visit_float32(float value) { return visit_float64(value); }
  bool visit_float64(double value) {
    if (!std::isfinite(value)) {
      if (request_->not_finite.empty())
        request_->not_finite = std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
      return Scalar("null");
    }
    char text[32];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    std::string number(text, end);
    if (number.find_first_of(".e") == std::string::npos) number += ".0";
    return Scalar(number);
  }
  bool visit_str(const char* data, std::uint32_t size) {
    const std::string_view text(data, size);
    if (in_key_) return Key(text);
    if (levels_.empty() || IsId()) return NoRequest();
    if (levels_.size() == 1 && part_ == 3) return true;
    if (levels_.size() == 2 && part_ == 1 && key_ == "type") {
      if (!IsUtf8(text)) return Refuse("a text that is not UTF-8");
      request_->type = text;
      return true;
    }
    if (levels_.size() == 2 && part_ == 2) {
      if (IsTraceHeader(key_, text)) request_->trace[key_] = text;
      return true;
    }
    try {
      AppendString(Text(), text);
    } catch (const nlohmann::json::exception&) {
      return Refuse("a text that is not UTF-8");
    }
    return true;
  }
  bool visit_bin(const char*, std::uint32_t) {
    return Refuse("Object of type bytes is not JSON serializable");
  }
  bool visit_ext(const char* data, std::uint32_t size) {
    if (levels_.empty() || IsId()) return NoRequest();
    // The first byte is the extension's type; -1 is a timestamp.
    if (in_key_ || size < 1 || static_cast<signed char>(data[0]) != -1 ||
        !AppendTimestamp(Text(), data + 1, size - 1)) {
      return Refuse("an unknown extension of msgpack");
    }
    return true;
  }
  bool start_array(std::uint32_t count) {
    if (in_key_) return Refuse("a key that is no text");
    if (levels_.empty()) {
      // The fourth, since 3.4, is for requests of triggers, of which we have none.
      if (count < 1 || count > 4) return Refuse("not a request");
    } else if (levels_.size() == 1) {
      return Refuse("not a request");
    } else {
      *Text() += '[';
    }
    return Open();
  }
  bool start_array_item() {
    if (levels_.size() > 1 && Next()) *Text() += ',';
    return true;
  }
  bool end_array_item() {
    if (levels_.size() == 1) ++part_;
    return true;
  }
  bool end_array() {
    if (levels_.size() > 1) *Text() += ']';
    levels_.pop_back();
    return true;
  }
  bool start_map(std::uint32_t) {
    if (in_key_) return Refuse("a key that is no text");
    if (levels_.empty() || (levels_.size() == 1 && part_ == 0)) return Refuse("not a request");
    if (levels_.size() > 1) *Text() += '{';
    return Open();
  }
  bool start_map_key() {
    in_key_ = true;
    return true;
  }
  bool end_map_key() {
    in_key_ = false;
    return true;
  }
  bool end_map() {
    if (levels_.size() > 2) *Text() += '}';
    levels_.pop_back();
    return true;
  }
  void parse_error(std::size_t, std::size_t) { failure = "not msgpack"; }
  void insufficient_bytes(std::size_t, std::size_t) { failure = "an incomplete message"; }

 private:
  bool Refuse(const std::string& why) {
    failure = why;
    return false;
  }
  bool NoRequest() { return Refuse("not a request"); }
  // Whether the next value is the request's id.
  bool IsId() const { return levels_.size() == 1 && part_ == 0; }
  bool Id(std::int64_t value) {
    *id_ = request_->id = value;
    return true;
  }
  bool Open() {
    if (levels_.size() >= kDepthMax) return Refuse("nested too deeply");
    levels_.push_back(false);
    return true;
  }
  // Whether something came before in this array or map.
  bool Next() {
    const bool later = levels_.back();
    levels_.back() = true;
    return later;
  }
  bool Scalar(std::string_view text) {
    if (in_key_) return Key(text);
    if (levels_.empty() || IsId()) return NoRequest();
    if (levels_.size() == 1) return true;
    *Text() += text;
    return true;
  }
  bool Key(std::string_view text) {
    if (levels_.size() == 2) {
      if (!IsUtf8(text)) return Refuse("a text that is not UTF-8");
      key_ = text;
      if (part_ == 1 && key_ != "type") request_->fields.emplace_back(key_, "");
      return true;
    }
    if (Next()) *Text() += ',';
    try {
      AppendString(Text(), text);
    } catch (const nlohmann::json::exception&) {
      return Refuse("a text that is not UTF-8");
    }
    *Text() += ':';
    return true;
  }
  std::string* Text() {
    if (part_ != 1 || key_ == "type" || request_->fields.empty()) {
      ignored_.clear();
      return &ignored_;
    }
    return &request_->fields.back().second;
  }

  TaskRequest* const request_;
  std::int64_t* const id_;
  std::vector<bool> levels_;
  int part_ = 0;  // of the request: id, body, trace
  bool in_key_ = false;
  std::string key_;  // of the first level
  std::string ignored_;
};

// JSON, as it is parsed, written as msgpack. How many items an array or map has is known
// at its end only: its head is of the longest form, and filled in then.
class Packer : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Packer(std::string* out) : out_(out) {}

  std::string failure;

  bool null() override { return Byte(0xc0); }
  bool boolean(bool value) override { return Byte(value ? 0xc3 : 0xc2); }
  bool number_integer(number_integer_t value) override {
    Count();
    Pack().pack_int64(value);
    return true;
  }
  bool number_unsigned(number_unsigned_t value) override {
    Count();
    Pack().pack_uint64(value);
    return true;
  }
  bool number_float(number_float_t value, const string_t& text) override {
    if (text.find_first_of(".eE") == std::string::npos) {
      failure = "an integer beyond 64 bits";
      return false;
    }
    Count();
    // Not pack_double(): it makes an integer of 1.0.
    *out_ += static_cast<char>(0xcb);
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int shift = 56; shift >= 0; shift -= 8) *out_ += static_cast<char>(bits >> shift & 0xff);
    return true;
  }
  bool string(string_t& value) override {
    Count();
    return Text(value);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(0xdf); }
  bool key(string_t& value) override {
    ++open_.back().items;
    return Text(value);
  }
  bool end_object() override { return Close(); }
  bool start_array(std::size_t) override { return Open(0xdd); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::json::exception& error) override {
    failure = error.what();
    return false;
  }

 private:
  struct Level {
    std::size_t head;
    bool map;
    std::uint32_t items;
  };
  struct Sink {
    std::string* out;
    void write(const char* data, std::size_t size) { out->append(data, size); }
  };
  msgpack::packer<Sink> Pack() { return msgpack::packer<Sink>(sink_); }
  // An item of an array; a map counts its keys.
  void Count() {
    if (!open_.empty() && !open_.back().map) ++open_.back().items;
  }
  bool Byte(int value) {
    Count();
    *out_ += static_cast<char>(value);
    return true;
  }
  bool Text(const std::string& value) {
    Pack().pack_str(static_cast<std::uint32_t>(value.size()));
    Pack().pack_str_body(value.data(), static_cast<std::uint32_t>(value.size()));
    return true;
  }
  bool Open(int head) {
    Count();
    if (open_.size() >= kDepthMax) {
      failure = "nested too deeply";
      return false;
    }
    *out_ += static_cast<char>(head);
    open_.push_back({out_->size(), head == 0xdf, 0});
    out_->append(4, '\0');
    return true;
  }
  bool Close() {
    const auto level = open_.back();
    open_.pop_back();
    for (int i = 0; i < 4; ++i)
      (*out_)[level.head + static_cast<std::size_t>(i)] =
          static_cast<char>(level.items >> (24 - 8 * i) & 0xff);
    return true;
  }

  std::string* const out_;
  Sink sink_{out_};
  std::vector<Level> open_;
};

// nlohmann's own builder looks for each key among those before it.
class TreeBuilder : public nlohmann::json_sax<nlohmann::ordered_json> {
 public:
  using Json = nlohmann::ordered_json;

  explicit TreeBuilder(std::size_t depth) : depth_(depth) {}

  Json root;

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(Json::object()); }
  bool start_array(std::size_t) override { return Open(Json::array()); }
  bool key(string_t& value) override {
    key_ = std::move(value);
    return true;
  }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  Json* Put(Json value) {
    if (open_.empty()) {
      root = std::move(value);
      return &root;
    }
    if (auto* array = open_.back()->get_ptr<Json::array_t*>())
      return &array->emplace_back(std::move(value));
    auto* object = open_.back()->get_ptr<Json::object_t*>();
    return &object->emplace_back(std::move(key_), std::move(value)).second;
  }
  bool Add(Json value) {
    Put(std::move(value));
    return true;
  }
  bool Open(Json empty) {
    if (open_.size() >= depth_) return false;
    open_.push_back(Put(std::move(empty)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const std::size_t depth_;
  std::vector<Json*> open_;  // each is the last item of the one before
  std::string key_;
};

// The parser takes a NUL for the end, and skips a byte order mark.
bool MayBeJson(std::string_view text) {
  return text.find('\0') == std::string_view::npos && !text.starts_with("\xef\xbb\xbf");
}

Status AppendBody(std::string* frame, std::string_view json) {
  if (json.empty()) {
    *frame += static_cast<char>(0xc0);
    return Done{};
  }
  Packer packer(frame);
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &packer)) return Invalid(packer.failure);
  return Done{};
}

}  // namespace

const std::string* TaskRequest::Find(std::string_view name) const {
  for (const auto& [key, value] : fields)
    if (key == name) return &value;
  return nullptr;
}

std::string TaskRequest::Text(std::string_view name) const {
  const auto* value = Find(name);
  if (value == nullptr || value->empty() || value->front() != '"') return "";
  const auto parsed = nlohmann::json::parse(*value, nullptr, false);
  return parsed.is_string() ? parsed.get<std::string>() : "";
}

Result<TaskRequest> DecodeRequest(std::string_view payload, std::int64_t* id) {
  TaskRequest request;
  RequestVisitor visitor(&request, id);
  std::size_t offset = 0;
  bool parsed = false;
  try {
    parsed = msgpack::parse(payload.data(), payload.size(), offset, visitor);
  } catch (const std::exception& error) {
    return Invalid(error.what());
  }
  if (!visitor.failure.empty()) return Invalid(visitor.failure);
  if (!parsed || offset != payload.size()) return Invalid("not a message");
  return request;
}

Result<std::string> ResponseFrame(std::int64_t id, std::string_view body, std::string_view error) {
  std::string frame(4, '\0');
  frame += static_cast<char>(0x93);
  if (const auto packed = AppendBody(&frame, std::to_string(id)); !packed) return packed.error();
  if (const auto packed = AppendBody(&frame, body); !packed) return packed.error();
  if (const auto packed = AppendBody(&frame, error); !packed) return packed.error();
  const auto size = frame.size() - 4;
  for (std::size_t i = 0; i < 4; ++i) frame[i] = static_cast<char>(size >> (24 - 8 * i) & 0xff);
  return frame;
}

bool IsJson(std::string_view text) { return MayBeJson(text) && nlohmann::json::accept(text); }

nlohmann::ordered_json ParseTree(std::string_view text, std::size_t depth) {
  if (!MayBeJson(text)) return nullptr;
  TreeBuilder builder(depth);
  const bool parsed = nlohmann::ordered_json::sax_parse(text, &builder);
  return parsed ? std::move(builder.root) : nullptr;
}

std::string JsonString(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string WithType(std::string_view object, std::string_view type) {
  const auto end = object.find_last_of('}');
  if (end == std::string_view::npos) return std::string(object);
  const auto last = object.substr(0, end).find_last_not_of(" \t\r\n");
  const bool empty = last != std::string_view::npos && object[last] == '{';
  return std::string(object.substr(0, end)) + (empty ? "" : ",") + "\"type\":" + JsonString(type) +
         "}";
}

bool FrameReader::Pop(std::string* payload) {
  if (broken_ || pending() < 4) return false;
  std::size_t size = 0;
  for (std::size_t i = 0; i < 4; ++i)
    size = size << 8 | static_cast<unsigned char>(buffer_[read_ + i]);
  if (size > kPayloadBytesMax) {
    broken_ = true;
    return false;
  }
  if (pending() < 4 + size) return false;
  payload->assign(buffer_, read_ + 4, size);
  read_ += 4 + size;
  if (read_ == buffer_.size() || read_ > (1u << 20)) {
    buffer_.erase(0, read_);
    read_ = 0;
  }
  return true;
}

}  // namespace zkexec
