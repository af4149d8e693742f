// SPDX-License-Identifier: Apache-2.0
// HttpServer: task logs, metrics and health of one worker. http_server.cc alone includes cpprest.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "common/result.h"
#include "worker/http/log_access.h"

namespace zkexec {

// Routes, all of them GET and HEAD (other methods: 405, other paths: 404):
//   /log/<path>     a task log, if LogAccess allows it
//   /metrics        the Prometheus text format
//   /health/live    200 or 503, JSON
//   /health/ready   200 or 503, JSON
// Every response has a Content-Length and is neither chunked nor compressed:
// Airflow's API server takes a log without Content-Length for an empty one. A
// log that grows while it is served is cut at the size it had when opened; one
// that shrinks ends in a broken connection.
//
// Threads:  Open() and Close() from the owner's thread, never from a handler.
//           Handlers and LogAccess are called on cpprest's four threads, which
//           block all signals.
// Lifetime: borrows `logs` until Close() returns; no handler runs after that.
// Limits:   IPv4 only. cpprest has no timeouts and no limits on request size
//           or connections: keep the port inside the cluster.
class HttpServer {
 public:
  struct Options {
    std::string host = "0.0.0.0";  // address or name to listen on
    int port = 0;                  // 0 = any free port
  };

  struct Health {
    bool ok = false;
    std::string json;  // the response body
  };

  // The first three are required. Each must be thread-safe and return soon.
  struct Handlers {
    std::function<std::string()> metrics_text;
    std::function<Health()> live;
    std::function<Health()> ready;
    // Told of each log request that was not answered with 200, for the
    // worker's own log: the API server shows its user only a general hint.
    std::function<void(int status, const std::string& reason)> log_refused = nullptr;
    std::function<std::int64_t()> epoch_s = nullptr;  // default: the system clock
  };

  // Binds and serves at once. Blocks shortly.
  // Errors: kInvalid (port taken, no such host; the message says which).
  static Result<std::unique_ptr<HttpServer>> Open(const Options& options, const LogAccess& logs,
                                                  Handlers handlers);
  ~HttpServer();  // closes
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;

  // Stops listening and breaks open connections; waits for running handlers. Idempotent.
  void Close();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
