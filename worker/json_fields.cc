// SPDX-License-Identifier: Apache-2.0
#include "worker/json_fields.h"

#include <cmath>
#include <utility>

namespace zkexec {
namespace {

// 100 years, in seconds: beyond is a mistake, and far from overflowing a Duration.
constexpr double kSecondsMax = 100.0 * 366 * 24 * 3600;

}  // namespace

template <typename Json>
JsonFields<Json>::JsonFields(const Json& object, std::string what) : what_(std::move(what)) {
  if (object.is_object()) {
    object_ = &object;
  } else {
    status_ = Error{ErrorCode::kInvalid,
                    what_ + " must be an object, it is of type " + object.type_name()};
  }
}

template <typename Json>
const Json* JsonFields<Json>::Find(std::string_view name) const {
  if (object_ == nullptr) return nullptr;
  const Json* found = nullptr;
  const auto& fields = *object_->template get_ptr<const typename Json::object_t*>();
  for (const auto& [key, value] : fields)
    if (key == name) found = &value;
  return found;
}

template <typename Json>
void JsonFields<Json>::Complain(std::string_view name, const char* expected, const Json* found) {
  if (!status_) return;
  status_ = Error{ErrorCode::kInvalid, what_ + ": field \"" + std::string(name) + "\" must be " +
                                           expected + ", it is of type " + found->type_name()};
}

template <typename Json>
std::string JsonFields<Json>::Text(std::string_view name, std::string fallback) {
  const auto* found = Find(name);
  if (found == nullptr) return fallback;
  if (const auto* text = found->template get_ptr<const std::string*>()) return *text;
  Complain(name, "a text", found);
  return fallback;
}

template <typename Json>
bool JsonFields<Json>::Flag(std::string_view name, bool fallback) {
  const auto* found = Find(name);
  if (found == nullptr) return fallback;
  if (const auto* flag = found->template get_ptr<const bool*>()) return *flag;
  Complain(name, "true or false", found);
  return fallback;
}

template <typename Json>
std::int64_t JsonFields<Json>::Integer(std::string_view name, std::int64_t fallback,
                                       std::int64_t min, std::int64_t max) {
  const auto* found = Find(name);
  if (found == nullptr) return fallback;
  std::int64_t number = 0;
  bool fits = false;
  // A number from 0 on is kept as unsigned, and counts as signed as well.
  if (const auto* natural = found->template get_ptr<const std::uint64_t*>()) {
    fits = *natural <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    number = fits ? static_cast<std::int64_t>(*natural) : 0;
  } else if (const auto* whole = found->template get_ptr<const std::int64_t*>()) {
    fits = true;
    number = *whole;
  }
  if (fits && number >= min && number <= max) return number;
  Complain(name, "an integer in its bounds", found);
  return fallback;
}

template <typename Json>
Duration JsonFields<Json>::Seconds(std::string_view name, Duration fallback) {
  const auto* found = Find(name);
  if (found == nullptr) return fallback;
  if (found->is_number()) {
    const auto seconds = found->template get<double>();
    if (seconds >= 0 && seconds <= kSecondsMax)
      return Duration{static_cast<Duration::rep>(std::llround(seconds * 1000.0))};
  }
  Complain(name, "a number of seconds", found);
  return fallback;
}

template <typename Json>
std::vector<std::string> JsonFields<Json>::Texts(std::string_view name) {
  std::vector<std::string> texts;
  const auto* array = Array(name);
  if (array == nullptr) return texts;
  for (const auto& one : *array) {
    if (const auto* text = one.template get_ptr<const std::string*>()) {
      texts.push_back(*text);
    } else {
      Complain(name, "an array of texts", &one);
      return {};
    }
  }
  return texts;
}

template <typename Json>
const Json* JsonFields<Json>::Object(std::string_view name) {
  const auto* found = Find(name);
  if (found == nullptr || found->is_object()) return found;
  Complain(name, "an object", found);
  return nullptr;
}

template <typename Json>
const Json* JsonFields<Json>::Array(std::string_view name) {
  const auto* found = Find(name);
  if (found == nullptr || found->is_array()) return found;
  Complain(name, "an array", found);
  return nullptr;
}

template class JsonFields<nlohmann::json>;
template class JsonFields<nlohmann::ordered_json>;

}  // namespace zkexec
