// SPDX-License-Identifier: Apache-2.0
// Connection: one client of the worker's HTTP server.
#pragma once

// clang-format off: Boost needs std::exchange and forgets to include it.
#include <utility>
// clang-format on

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "worker/http/pages.h"

namespace zkexec {

struct ConnectionLimits {
  std::uint32_t header_bytes = 16384;  // of a request, its first line included
  // For a request's head, from the moment that the server is ready for it: how long a connection
  // may be idle, and how slowly a client may write.
  std::chrono::milliseconds request{30000};
  // For each piece of an answer (a page, or 128 KiB of a log) to be read by the client, and for
  // each look into a log file.
  std::chrono::milliseconds progress{30000};
  // What a client may still send, and for how long, after an answer that ends the connection.
  // Closed without reading it, the kernel would take the answer back.
  std::chrono::milliseconds linger{1000};
  std::size_t linger_bytes = 256 * 1024;
};

// Reads requests one after the other and answers each before it looks at the next, so several in
// one packet are answered in their order. GET and HEAD only; a request with a body, or whose head
// is no HTTP or is too large, gets its answer and is the last. A log is read and sent in pieces,
// of which there is one in memory, and is cut at the size it had when opened; one that shrinks
// meanwhile ends in a broken connection.
//
// Threads:  one, that which runs `io`; file work runs where Owner::PostFileWork() puts it.
// Lifetime: held by its owner until Owner::Ended(), which comes once, also after Close(). Pending
//           operations hold it too. File work that never ends holds `io` and `pages`, nothing else.
// Errors:   none come out. What goes wrong ends the connection.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;
  using Clock = std::chrono::steady_clock;

  class Owner {
   public:
    virtual ~Owner() = default;
    // Runs it on another thread. False if there is too much to do.
    virtual bool PostFileWork(std::function<void()> work) = 0;
    virtual void Ended(Connection& connection) = 0;
  };

  Connection(std::shared_ptr<boost::asio::io_context> io, Socket socket,
             std::shared_ptr<const Pages> pages, const ConnectionLimits& limits, Owner& owner);

  void Start();
  void Close();

  // Since when nothing is on its way to the client: it can be closed without harm to an answer.
  std::optional<Clock::time_point> idle_since() const;

 private:
  enum class State { kAwaiting, kOpeningLog, kSending, kStreaming, kLingering, kEnded };
  struct LogRead;
  using Error = boost::system::error_code;
  using Parser = boost::beast::http::request_parser<boost::beast::http::empty_body>;

  // Makes a handler of `then` that holds this connection, and ends it if `then` throws.
  template <typename Then>
  auto Held(Then then);
  void Enter(State state, std::chrono::milliseconds limit);
  void OnDeadline();

  void AwaitRequest();
  void Read();
  void Parse();
  void OnRequest();
  void Refuse(int status, const std::string& why);
  void Send(const Page& page, bool keep_alive);
  void SendHead(int status, const std::string& type, std::size_t bytes, std::string body = "");
  void OnSent();
  void Linger();
  void Discard(std::size_t left);

  void OpenLog(std::string_view name);
  void OnLogOpened();
  void RefuseLog(int status, const std::string& why);
  void ReadLog();
  void OnLogRead();
  void PostLogWork(std::function<void(LogRead&)> work, void (Connection::*then)());

  const std::shared_ptr<boost::asio::io_context> io_;
  const std::shared_ptr<const Pages> pages_;
  const ConnectionLimits limits_;
  Owner& owner_;

  Socket socket_;
  boost::asio::steady_timer deadline_;
  State state_ = State::kAwaiting;
  Clock::time_point since_ = Clock::now();

  // The request.
  std::optional<Parser> parser_;
  std::string in_;  // what was read: in_used_ bytes, then room for more
  std::size_t in_used_ = 0;
  bool head_only_ = false;
  bool keep_alive_ = false;

  // The answer.
  std::string out_;
  std::shared_ptr<LogRead> log_;  // shared with file work
  std::size_t log_left_ = 0;
};

}  // namespace zkexec
