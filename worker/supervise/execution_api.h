// SPDX-License-Identifier: Apache-2.0
// ExecutionApi: Airflow's API for tasks, as the supervisor needs it: requests out, answers
// in, nothing waits. api_client.h has the real one.
//
// Threads: the owner's loop. An answer never comes from within Send().
#pragma once

#include <functional>
#include <map>
#include <string>

namespace zkexec {

struct ApiRequest {
  std::string method;
  std::string path;  // below the API's root, percent-encoded, with its query
  std::string body;  // JSON text; empty: none
  std::map<std::string, std::string> headers;  // trace context
};

struct ApiAnswer {
  int status = 0;  // 0: no answer; `failure` says why
  std::string body;
  std::string content_type;
  std::string content_range;
  std::string refreshed_token;
  std::string failure;

  bool ok() const { return status >= 200 && status < 300; }
};

class ExecutionApi {
 public:
  using Callback = std::function<void(ApiAnswer)>;
  virtual ~ExecutionApi() = default;
  // Exactly one answer per request, within the time limit that it was made with.
  virtual void Send(ApiRequest request, const std::string& token, Callback done) = 0;
};

}  // namespace zkexec
