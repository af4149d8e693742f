// SPDX-License-Identifier: Apache-2.0
// Pages: what the worker's HTTP server has to say, without its sockets.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "worker/http/log_access.h"
#include "worker/http/log_file.h"

namespace zkexec {

struct HttpHealth {
  bool ok = false;
  std::string json;  // the response body
};

// What the server asks of the worker, and tells it. The first three are required.
struct HttpHandlers {
  // On the server's own thread. Each must be thread-safe and return soon: while one runs, nothing
  // else is served.
  std::function<std::string()> metrics_text;
  std::function<HttpHealth()> live;
  std::function<HttpHealth()> ready;
  // Told of each log request that was not answered with 200, for the worker's own log: the API
  // server shows its user only a general hint.
  std::function<void(int status, const std::string& reason)> log_refused = nullptr;
  // Told of each request that was answered, and of each connection that was not wanted:
  // "idle" (closed to make room), "full" (no room could be made), "slow" (a deadline passed),
  // "descriptors" (the process has none left; one may wait meanwhile).
  std::function<void(int status)> answered = nullptr;
  std::function<void(const std::string& reason)> dropped = nullptr;
  // Default: the system clock. Called on the threads that read log files.
  std::function<std::int64_t()> epoch_s = nullptr;
};

struct Page {
  int status = 200;
  std::string body;
  std::string type = "text/plain; charset=utf-8";
};

// Which page stands where:
//   /log/<path>     a task log, if LogAccess allows it
//   /metrics        the Prometheus text format
//   /health/live    200 or 503, JSON
//   /health/ready   200 or 503, JSON
//
// Threads: constant after construction; At() on the server's thread, OpenLog() on any. OpenLog()
//          touches the file system and takes as long as that does; At() does not.
// Errors:  what a handler throws becomes a page with status 500.
class Pages {
 public:
  // A log that may be read, or the status and the reason why not.
  struct Log {
    int status = 200;
    std::string reason;
    std::optional<LogFile> file;
  };

  Pages(HttpHandlers handlers, LogAccess logs);

  // The path of a request's target, still percent-encoded: no query, and no scheme and authority,
  // which a client that takes us for a proxy sends.
  static std::string_view PathOf(std::string_view target);

  // What follows "/log/", or nothing if the path does not begin so.
  static std::optional<std::string_view> LogName(std::string_view path);

  // Any page but the logs.
  Page At(std::string_view path) const;

  Log OpenLog(std::string_view name, std::string_view authorization) const;

  // These do nothing if nobody wants to be told.
  void TellRefused(int status, const std::string& reason) const;
  void TellAnswered(int status) const;
  void TellDropped(const std::string& reason) const;

 private:
  const HttpHandlers handlers_;
  const LogAccess logs_;
};

// The head of an answer. It always has a Content-Length: Airflow's API server takes a log without
// one for an empty log.
std::string AnswerHead(int status, const std::string& type, std::size_t bytes, bool keep_alive);

}  // namespace zkexec
