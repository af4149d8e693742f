// SPDX-License-Identifier: Apache-2.0
// Any bytes that a task logs or prints: each line of the log is one sound JSON object, and
// shows neither a known secret nor a token.
//
//   input = secret "\n" what the task writes
#include <set>
#include <utility>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/fuzz/invariants.h"
#include "worker/supervise/line_reader.h"
#include "worker/supervise/log_lines.h"

namespace zkexec::fuzz {
namespace {

constexpr std::size_t kSecretBytesMax = 64;
constexpr int kRedactedDepthMax = 5;  // Airflow shows secrets that are deeper

const Masker::Rules kRules{true, {"api_key", "password", "secret", "token"}, 5};

bool IsUtf8(std::string_view text) { return nlohmann::json::accept(JsonString(text)); }

// Secrets that a masked line must not show. Left out: what is too short, what the masking
// itself may write, and what a replaced byte may make.
bool MustBeHidden(const std::string& secret) {
  using Json = nlohmann::ordered_json;
  if (!IsUtf8(secret) || Json::parse(JsonString(secret)) != secret) return false;
  std::string lower = secret;
  for (auto& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower != "airflow" && secret.find('*') == std::string::npos &&
         secret.find("\xef\xbf\xbd") == std::string::npos &&
         std::count_if(secret.begin(), secret.end(), [](unsigned char c) {
           return (c & 0xc0) != 0x80;
         }) >= static_cast<std::ptrdiff_t>(kRules.min_length);
}

// Reads a line as it stands, even what a repeated key would hide from a parser.
class LineExaminer : public nlohmann::json_sax<nlohmann::json> {
 public:
  LineExaminer(std::string_view line, const Masker& masker, const std::set<std::string>& secrets)
      : line_(line), masker_(masker), secrets_(secrets) {}

  std::vector<std::string> top_keys;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool string(string_t& value) override {
    if (depth_ <= kRedactedDepthMax) {
      for (const auto& secret : secrets_)
        Require(value.find(secret) == std::string::npos, "a secret is shown", line_);
    }
    if (depth_ == 1) {
      for (auto at = value.find("eyJ"); at != std::string::npos; at = value.find("eyJ", at + 3))
        Require(value.compare(at, 6, "eyJ***") == 0, "a token is shown", line_);
    }
    if (depth_ == value_depth_ && masker_.ShouldHide(key_))
      Require(value == "***", "the value of a telling name is shown", line_);
    return true;
  }
  bool start_object(std::size_t) override { return Enter(); }
  bool start_array(std::size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool key(string_t& value) override {
    if (depth_ == 1) top_keys.push_back(value);
    key_ = value;
    value_depth_ = depth_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  bool Enter() {
    ++depth_;
    value_depth_ = -1;
    return true;
  }
  bool Leave() {
    --depth_;
    value_depth_ = -1;
    return true;
  }

  const std::string_view line_;
  const Masker& masker_;
  const std::set<std::string>& secrets_;
  int depth_ = 0;
  int value_depth_ = -1;  // where the value of key_ is to come
  std::string key_;
};

void Examine(std::string_view line, const Masker& masker, const std::set<std::string>& secrets) {
  Require(line.ends_with('\n'), "a line without its end", line);
  line.remove_suffix(1);
  Require(line.find('\n') == std::string_view::npos, "two lines for one", line);
  Require(line.starts_with('{') && IsStrictJson(line), "a line that is not JSON", line);
  LineExaminer examiner(line, masker, secrets);
  Require(nlohmann::json::sax_parse(line, &examiner), "a line that is not JSON", line);
  const auto& keys = examiner.top_keys;
  Require(keys.size() >= 3 && keys[0] == "timestamp" && keys[1] == "level" && keys[2] == "event",
          "a line in another order", line);
}

// The reader hands out what is between newlines, each once.
std::vector<std::string> ReadLines(std::string_view bytes) {
  std::vector<std::string> lines;
  LineReader reader;
  const auto take = [&lines](std::string_view line) { lines.emplace_back(line); };
  InPieces(bytes, [&](std::string_view piece) { reader.Push(piece, take); });
  reader.Finish(take);
  std::string joined;
  for (const auto& line : lines) joined += line + "\n";
  if (!bytes.empty() && !bytes.ends_with('\n')) joined.pop_back();
  Require(joined == bytes, "other bytes than were written", joined);
  return lines;
}

}  // namespace
}  // namespace zkexec::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace zkexec::fuzz;
  using zkexec::JsonString;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  zkexec::Masker masker(&kRules);
  std::set<std::string> secrets;
  const auto add = [&](const std::string& secret) {
    masker.AddText(secret);
    if (MustBeHidden(secret)) secrets.insert(secret);
  };
  for (const char* known : {"hunter2hunter2", "a \"quoted\\ one", "two\nlines", "schl\xc3\xbcssel"})
    add(known);
  const auto end = input.find('\n');
  if (end != std::string_view::npos && end <= kSecretBytesMax) {
    add(std::string(input.substr(0, end)));
    input.remove_prefix(end + 1);
  }

  const zkexec::FakeClock clock;
  const zkexec::LogLines log(clock, masker, zkexec::LogLines::kDebug);
  for (const auto& line : ReadLines(input)) {
    if (const auto event = log.FromEvent(line); !event.empty()) Examine(event, masker, secrets);
    Examine(log.FromText(line, "task.stdout", zkexec::LogLines::kInfo), masker, secrets);
    Examine(log.Own(zkexec::LogLines::kError, line,
                    {{"exit_code", "1"}, {"reason", JsonString(line)}, {"secret", "\"told\""}}),
            masker, secrets);
  }
  return 0;
}
