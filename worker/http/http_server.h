// SPDX-License-Identifier: Apache-2.0
// HttpServer: task logs, metrics and health of one worker. What it serves is in pages.h.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "common/result.h"
#include "worker/http/log_access.h"
#include "worker/http/pages.h"

namespace zkexec {

// GET and HEAD only (other methods: 405), no request bodies (413), heads of at most 16 KiB (431).
// Every answer has a Content-Length and is neither chunked nor compressed.
//
// Threads:  Open() and Close() from the owner's thread, never from a handler. One thread of the
//           server's own has every connection; four more read log files, so that a slow disk holds
//           up other logs at worst. All block all signals.
// Lifetime: keeps copies of `logs` and of the handlers. Close() waits for what runs, but not for
//           ever for a file system that hangs: then LogAccess and Handlers::epoch_s may be in use
//           until that ends. No other handler runs after Close().
// Limits:   `connections_max` connections, each with one log file at most, so at most twice as many
//           descriptors and a few. One more takes the place of the one that has been idle longest,
//           because whoever could fill all places with idle ones would lock everybody out; if none
//           is idle it gets a 503 and is closed. Without a free descriptor the server makes one
//           free in the same way, and accepts again after a pause.
class HttpServer {
 public:
  struct Options {
    std::string host = "0.0.0.0";  // see Listener::Open
    int port = 0;                  // 0 = any free port
    std::size_t connections_max = 256;
    // ConnectionLimits says what these bound.
    std::chrono::milliseconds request_timeout{30000};
    std::chrono::milliseconds progress_timeout{30000};
  };
  using Health = HttpHealth;
  using Handlers = HttpHandlers;

  // Binds and serves at once. Blocks shortly.
  // Errors: kInvalid (port taken, no such host; the message says which), kUnavailable (no threads
  //         or descriptors).
  static Result<std::unique_ptr<HttpServer>> Open(const Options& options, const LogAccess& logs,
                                                  Handlers handlers);
  ~HttpServer();  // closes
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;

  // Stops listening and breaks open connections; waits for running handlers. Idempotent.
  void Close();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace zkexec
