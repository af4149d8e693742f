// SPDX-License-Identifier: Apache-2.0
// Error and Result<T>: how every fallible function in this project fails.
// Value types. The API is the subset of std::expected that we use, so that a
// toolchain with <expected> can replace this file with two aliases.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace zkexec {

// Named by what the caller does next, not by what broke.
enum class ErrorCode {
  kNotFound,        // an answer from the server; decide
  kAlreadyExists,   // an answer; decide
  kConflict,        // an answer: version moved, or children exist; re-read, then decide
  kUnavailable,     // outcome UNKNOWN; re-read before repeating
  kSessionExpired,  // ephemerals are gone; rebuild what stood on them
  kOverloaded,      // not done; retry after back-off
  kInvalid,         // operator or caller must change something; never retry
  kInternal,        // a bug; report, never retry
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  // Which operation of a multi was refused; -1 where there is no such thing.
  int failed_op = -1;

  // Prefixes what this layer was doing: "claim t1: create /x: connection loss".
  Error Within(const std::string& doing) const { return {code, doing + ": " + message, failed_op}; }
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  const T& operator*() const& { return std::get<0>(state_); }
  T& operator*() & { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  const T* operator->() const { return &std::get<0>(state_); }
  T* operator->() { return &std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;

inline const char* ToString(ErrorCode code) {
  switch (code) {
    case ErrorCode::kNotFound: return "not found";
    case ErrorCode::kAlreadyExists: return "already exists";
    case ErrorCode::kConflict: return "conflict";
    case ErrorCode::kUnavailable: return "unavailable";
    case ErrorCode::kSessionExpired: return "session expired";
    case ErrorCode::kOverloaded: return "overloaded";
    case ErrorCode::kInvalid: return "invalid";
    case ErrorCode::kInternal: return "internal";
  }
  return "unknown";
}

}  // namespace zkexec
