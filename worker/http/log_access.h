// SPDX-License-Identifier: Apache-2.0
// LogAccess: may this request read a task log, and which file is it?
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "worker/http/jwt_verifier.h"

namespace zkexec {

// The rules of Airflow's own log server, without its sockets. Airflow's API
// server asks for /log/<path> with `Authorization: <token>` (no "Bearer "), and
// the token's claim "filename" must equal the decoded path. The API server
// takes 403 as "show the secret_key and clock hint" and 404 as "look for the
// file locally", so everything wrong with a token is 403.
//
// Threads: constant after construction; call Check() from any thread. It reads
//          the file system and blocks no longer than that.
class LogAccess {
 public:
  struct Verdict {
    int status = 500;     // 200, 400, 403 or 404
    std::string path;     // with 200: absolute, without symlinks, a regular file inside the base
    std::string message;  // otherwise: the reason, for the operator. No secrets, no request text.
  };

  // `base_folder` is [logging] base_log_folder with "~" expanded; it need not
  // exist yet. `secret` is [api] secret_key. `clock_grace_s` is [webserver]
  // log_request_clock_grace.
  LogAccess(std::string base_folder, std::string secret, std::int64_t clock_grace_s);

  // `raw_path` is what follows "/log/" in the request, still percent-encoded,
  // without the query. `authorization` is that header's value, or empty.
  Verdict Check(std::string_view raw_path, std::string_view authorization,
                std::int64_t now_epoch_s) const;

 private:
  Verdict Locate(const std::string& relative_path) const;

  // Constant after construction.
  const std::string base_folder_;
  const JwtVerifier verifier_;
};

}  // namespace zkexec
