// SPDX-License-Identifier: Apache-2.0
// JsonFields: the fields of a JSON object that another program wrote, by type.
//
// nlohmann's value(), get() and at() throw where a field has another type than expected, and
// convert a number beyond the wanted type to something undefined. JsonFields does neither: a field
// that is not what is asked for reads as the fallback, and the first such field is remembered in
// status(). So a reader takes all fields that it needs, and decides once.
//
// Pure; nothing throws. Threads: any, each object one at a time.
// Lifetime: borrows the JSON value.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace zkexec {

template <typename Json>
class JsonFields {
 public:
  // `what` names the object in errors. What is not an object is read as an empty one, and is
  // an error.
  JsonFields(const Json& object, std::string what);

  // The field of that name, the last one if it is repeated, as Python has it; nullptr: absent.
  const Json* Find(std::string_view name) const;

  // Each returns `fallback` if the field is absent, and also, which is an error, if it is null, of
  // another type, or a number that is not within [min, max].
  std::string Text(std::string_view name, std::string fallback = "");
  bool Flag(std::string_view name, bool fallback = false);
  std::int64_t Integer(std::string_view name, std::int64_t fallback,
                       std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t max = std::numeric_limits<std::int64_t>::max());
  int Int(std::string_view name, int fallback, int min = std::numeric_limits<int>::min(),
          int max = std::numeric_limits<int>::max()) {
    return static_cast<int>(Integer(name, fallback, min, max));
  }
  // A number of seconds from 0 on, whole or not; at most a century.
  Duration Seconds(std::string_view name, Duration fallback);
  std::vector<std::string> Texts(std::string_view name);
  // An object or array; nullptr if absent, or not that.
  const Json* Object(std::string_view name);
  const Json* Array(std::string_view name);

  // Errors: kInvalid: the first field that was not as asked for, with its name and type, never
  // with its value, which may be secret.
  Status status() const { return status_; }

 private:
  void Complain(std::string_view name, const char* expected, const Json* found);

  const Json* object_ = nullptr;  // null: there is none
  std::string what_;
  Status status_ = Done{};
};

extern template class JsonFields<nlohmann::json>;
extern template class JsonFields<nlohmann::ordered_json>;

}  // namespace zkexec
