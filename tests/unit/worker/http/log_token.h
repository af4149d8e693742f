// SPDX-License-Identifier: Apache-2.0
// Tokens for tests, as Airflow's API server makes them, or spoiled in one respect.
#pragma once

#include <jwt.h>
#include <stdlib.h>

#include <cstdint>
#include <map>
#include <string>

namespace zkexec {

inline constexpr char kTestSecret[] = "a secret of the whole fleet";
inline constexpr std::int64_t kTestNow = 1'800'000'000;
inline constexpr std::int64_t kTestGrace = 30;

struct LogToken {
  std::string filename;
  std::string secret = kTestSecret;
  jwt_alg_t alg = JWT_ALG_HS512;
  // Claims in JSON; an empty text leaves the claim out.
  std::string aud = "\"task-instance-logs\"";
  std::string iat = std::to_string(kTestNow);
  std::string nbf = std::to_string(kTestNow);
  std::string exp = std::to_string(kTestNow + kTestGrace);
  std::string headers = "{\"kid\":\"not-used\"}";  // in JSON, besides typ and alg

  std::string Encode() const {
    std::string json = "{\"jti\":\"1f\"";
    const std::map<std::string, std::string> claims = {
        {"aud", aud}, {"iat", iat}, {"nbf", nbf}, {"exp", exp}};
    for (const auto& [name, value] : claims) {
      if (!value.empty()) json += ",\"" + name + "\":" + value;
    }
    if (!filename.empty()) json += ",\"filename\":\"" + filename + "\"";
    json += "}";

    jwt_t* jwt = nullptr;
    jwt_new(&jwt);
    jwt_add_grants_json(jwt, json.c_str());
    jwt_add_headers_json(jwt, headers.c_str());
    const bool keyed = alg != JWT_ALG_NONE;
    jwt_set_alg(jwt, alg, keyed ? reinterpret_cast<const unsigned char*>(secret.data()) : nullptr,
                keyed ? static_cast<int>(secret.size()) : 0);
    char* text = jwt_encode_str(jwt);
    std::string token = text;
    free(text);
    jwt_free(jwt);
    return token;
  }
};

}  // namespace zkexec
