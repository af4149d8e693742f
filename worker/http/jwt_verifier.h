// SPDX-License-Identifier: Apache-2.0
// JwtVerifier: who may believe a token. Wraps libjwt; jwt_verifier.cc alone includes jwt.h.
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"

namespace zkexec {

// Verifies HS512 tokens by the rules of Airflow's JWTValidator: exp, iat and
// nbf are required and checked with a leeway, aud must contain ours, the
// issuer and the key id are ignored.
//
// Threads: constant after construction; call from any thread. Never blocks.
class JwtVerifier {
 public:
  // An empty secret verifies nothing: every token is refused.
  JwtVerifier(std::string secret, std::string audience, std::int64_t leeway_s);

  // Verifies `token`, then returns its claim `name`, which must be a string.
  // Errors: kInvalid, with a reason for the operator. It names settings and
  // clocks, and quotes neither the token nor the secret.
  Result<std::string> VerifiedClaim(const std::string& token, const std::string& name,
                                    std::int64_t now_epoch_s) const;

 private:
  // Constant after construction.
  const std::string secret_;
  const std::string audience_;
  const std::int64_t leeway_s_;
};

}  // namespace zkexec
