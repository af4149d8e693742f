// SPDX-License-Identifier: Apache-2.0
#include "worker/http/jwt_verifier.h"

#include <jwt.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace zkexec {
namespace {

using nlohmann::json;

struct JwtFree {
  void operator()(jwt_t* jwt) const { jwt_free(jwt); }
};
using Jwt = std::unique_ptr<jwt_t, JwtFree>;

struct Free {
  void operator()(char* text) const { std::free(text); }
};

// libjwt copies a token to the stack several times; Airflow's have about 400 bytes.
constexpr std::size_t kTokenBytesMax = 8192;

Error Refused(std::string why) { return {ErrorCode::kInvalid, std::move(why)}; }

// Three non-empty base64url parts: libjwt writes past its buffer for an empty
// part, and stops reading at a NUL.
bool LooksLikeSignedToken(const std::string& token) {
  std::array<std::size_t, 3> part_size{};
  std::size_t part = 0;
  for (const char c : token) {
    if (c == '.') {
      if (++part == part_size.size()) return false;
      continue;
    }
    const bool base64url = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (!base64url) return false;
    ++part_size[part];
  }
  return std::find(part_size.begin(), part_size.end(), 0U) == part_size.end();
}

std::optional<std::int64_t> Seconds(const json& claims, const char* name) {
  const auto it = claims.find(name);
  if (it == claims.end()) return std::nullopt;
  if (it->is_number_integer()) return it->get<std::int64_t>();
  if (it->is_number_float()) {
    const double value = std::trunc(it->get<double>());
    if (std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
  }
  return std::nullopt;
}

bool HasAudience(const json& claims, const std::string& audience) {
  const auto it = claims.find("aud");
  if (it == claims.end()) return false;
  if (it->is_string()) return *it == audience;
  if (!it->is_array()) return false;
  const bool all_strings =
      std::all_of(it->begin(), it->end(), [](const json& entry) { return entry.is_string(); });
  return all_strings && std::find(it->begin(), it->end(), audience) != it->end();
}

}  // namespace

JwtVerifier::JwtVerifier(std::string secret, std::string audience, std::int64_t leeway_s)
    : secret_(std::move(secret)), audience_(std::move(audience)), leeway_s_(leeway_s) {}

Result<std::string> JwtVerifier::VerifiedClaim(const std::string& token, const std::string& name,
                                               std::int64_t now_epoch_s) const {
  // Without a key libjwt skips the signature check altogether.
  if (secret_.empty()) return Refused("[api] secret_key is empty on this worker");
  if (token.size() > kTokenBytesMax || !LooksLikeSignedToken(token)) {
    return Refused("the Authorization header is not a bare signed token");
  }

  // libjwt checks the JSON, the header's typ and, by the header's alg, the
  // signature. It checks no time, no audience, and takes any HMAC it knows.
  jwt_t* decoded = nullptr;
  const int failed =
      jwt_decode(&decoded, token.c_str(), reinterpret_cast<const unsigned char*>(secret_.data()),
                 static_cast<int>(secret_.size()));
  const Jwt jwt(decoded);
  if (failed != 0 || !jwt) {
    return Refused(
        "the token's signature is wrong: [api] secret_key must be the same on the API servers and "
        "the workers");
  }
  const char* alg = jwt_get_header(jwt.get(), "alg");
  if (jwt_get_alg(jwt.get()) != JWT_ALG_HS512 || alg == nullptr || std::strcmp(alg, "HS512") != 0) {
    return Refused("the token must be signed with HS512");
  }
  // Extensions that a verifier must understand (RFC 7515, 4.1.11): we know none.
  if (const std::unique_ptr<char, Free> crit(jwt_get_headers_json(jwt.get(), "crit")); crit) {
    return Refused("the token has critical header extensions");
  }

  const std::unique_ptr<char, Free> text(jwt_get_grants_json(jwt.get(), nullptr));
  const json claims = text ? json::parse(text.get(), nullptr, /*allow_exceptions=*/false) : json();
  if (!claims.is_object()) return Refused("the token's claims are not a JSON object");

  const auto exp = Seconds(claims, "exp");
  const auto iat = Seconds(claims, "iat");
  const auto nbf = Seconds(claims, "nbf");
  if (!exp || !iat || !nbf) return Refused("the token must have the claims exp, iat and nbf");
  const std::string clocks = ": the clocks of the API server and this worker must agree within " +
                             std::to_string(leeway_s_) + " s ([webserver] log_request_clock_grace)";
  if (*iat > now_epoch_s + leeway_s_) {
    return Refused("the token was issued " + std::to_string(*iat - now_epoch_s) +
                   " s in the future" + clocks);
  }
  if (*nbf > now_epoch_s + leeway_s_) {
    return Refused("the token is valid only in " + std::to_string(*nbf - now_epoch_s) + " s" +
                   clocks);
  }
  if (*exp <= now_epoch_s - leeway_s_) {
    return Refused("the token expired " + std::to_string(now_epoch_s - *exp) + " s ago" + clocks);
  }
  if (!HasAudience(claims, audience_)) {
    return Refused("the token's audience must be " + audience_);
  }

  const auto wanted = claims.find(name);
  if (wanted == claims.end() || !wanted->is_string()) {
    return Refused("the token must have the claim " + name);
  }
  return wanted->get<std::string>();
}

}  // namespace zkexec
