// SPDX-License-Identifier: Apache-2.0
#include "worker/http/connection.h"

#include <algorithm>
#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/error.hpp>
#include <exception>

namespace zkexec {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t kFirstReadBytes = 1024;
constexpr std::size_t kPieceBytes = 128 * 1024;
constexpr char kPlainText[] = "text/plain; charset=utf-8";

int StatusOf(const error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  return 400;
}

template <typename Text>
std::string_view View(
    const Text& text) {  // Boost's own kind of string_view changes with its version
  return {text.data(), text.size()};
}

}  // namespace

// What file work reads into. The connection looks at it only between two works.
struct Connection::LogRead {
  std::atomic<bool> given_up{false};
  Pages::Log log;
  std::string piece;
  std::size_t got = 0;
};

template <typename Then>
auto Connection::Held(Then then) {
  return [self = shared_from_this(), then = std::move(then)](auto... results) {
    if (self->state_ == State::kEnded) return;
    try {
      then(results...);
    } catch (const std::exception&) {
      self->Close();
    }
  };
}

Connection::Connection(std::shared_ptr<asio::io_context> io, Socket socket,
                       std::shared_ptr<const Pages> pages, const ConnectionLimits& limits,
                       Owner& owner)
    : io_(std::move(io)),
      pages_(std::move(pages)),
      limits_(limits),
      owner_(owner),
      socket_(std::move(socket)),
      deadline_(*io_) {}

void Connection::Start() { AwaitRequest(); }

void Connection::Close() {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  if (log_) log_->given_up = true;
  log_.reset();
  error_code ignored;
  deadline_.cancel(ignored);
  socket_.close(ignored);
  owner_.Ended(*this);
}

std::optional<Connection::Clock::time_point> Connection::idle_since() const {
  if (state_ != State::kAwaiting && state_ != State::kLingering) return std::nullopt;
  return since_;
}

void Connection::Enter(State state, std::chrono::milliseconds limit) {
  state_ = state;
  since_ = Clock::now();
  deadline_.expires_after(limit);
  deadline_.async_wait(Held([this](const error_code& error) {
    // One that had passed, but not been told, when the deadline was moved is of no interest.
    if (!error && deadline_.expiry() <= Clock::now()) OnDeadline();
  }));
}

void Connection::OnDeadline() {
  const bool idle = state_ == State::kAwaiting && in_used_ == 0;
  if (!idle && state_ != State::kLingering) pages_->TellDropped("slow");
  if (state_ == State::kAwaiting && !idle) {
    error_code ignored;
    socket_.cancel(ignored);  // the read under way, whose room is used again
    Refuse(408, "the request took too long");
  } else if (state_ == State::kOpeningLog) {
    log_->given_up = true;
    log_.reset();
    keep_alive_ = false;
    RefuseLog(503, "the file system of the logs does not answer");
  } else {
    Close();
  }
}

void Connection::AwaitRequest() {
  parser_.emplace();
  parser_->header_limit(limits_.header_bytes);
  if (in_used_ == 0) in_ = std::string();
  Enter(State::kAwaiting, limits_.request);
  if (in_used_ > 0) {
    Parse();
  } else {
    Read();
  }
}

void Connection::Read() {
  if (in_used_ == in_.size()) {
    in_.resize(std::clamp<std::size_t>(2 * in_used_, kFirstReadBytes, limits_.header_bytes));
  }
  socket_.async_read_some(asio::buffer(in_.data() + in_used_, in_.size() - in_used_),
                          Held([this](const error_code& error, std::size_t bytes) {
                            // Refused meanwhile, because it was too slow.
                            if (state_ != State::kAwaiting) return;
                            if (error) return Close();
                            in_used_ += bytes;
                            Parse();
                          }));
}

void Connection::Parse() {
  error_code error;
  const auto parsed = parser_->put(asio::buffer(in_.data(), in_used_), error);
  in_.erase(0, parsed);
  in_used_ -= parsed;
  if (error == http::error::need_more) {
    // The parser has a limit of the same size, and complains first.
    return in_used_ < limits_.header_bytes ? Read() : Refuse(431, "the head is too large");
  }
  if (error) return Refuse(StatusOf(error), error.message());
  OnRequest();
}

void Connection::OnRequest() {
  const auto& request = parser_->get();
  const auto method = View(request.method_string());
  const auto length = request.count(http::field::content_length);
  const bool body = request.count(http::field::transfer_encoding) > 0 || length > 1 ||
                    (length == 1 && View(request[http::field::content_length]) != "0");
  head_only_ = method == "HEAD";
  keep_alive_ = request.version() == 11 && request.keep_alive() && !body;
  // Also with a body: then nothing is kept alive, as what follows can't be told from it.
  if (method != "GET" && !head_only_) return Send({405, "only GET and HEAD\n"}, keep_alive_);
  if (body) return Refuse(413, "no request has a body here");
  const auto path = Pages::PathOf(View(request.target()));
  if (const auto name = Pages::LogName(path)) return OpenLog(*name);
  Send(pages_->At(path), keep_alive_);
}

void Connection::Refuse(int status, const std::string& why) { Send({status, why + "\n"}, false); }

void Connection::Send(const Page& page, bool keep_alive) {
  keep_alive_ = keep_alive;
  SendHead(page.status, page.type, page.body.size(), head_only_ ? "" : page.body);
}

void Connection::SendHead(int status, const std::string& type, std::size_t bytes,
                          std::string body) {
  pages_->TellAnswered(status);
  out_ = AnswerHead(status, type, bytes, keep_alive_) + std::move(body);
  Enter(log_left_ > 0 ? State::kStreaming : State::kSending, limits_.progress);
  asio::async_write(socket_, asio::buffer(out_), Held([this](const error_code& error, std::size_t) {
                      if (error) return Close();
                      OnSent();
                    }));
}

void Connection::OnSent() {
  out_ = std::string();
  if (log_left_ > 0) return ReadLog();
  log_.reset();
  head_only_ = false;
  if (!keep_alive_) return Linger();
  AwaitRequest();
}

void Connection::Linger() {
  error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  if (error) return Close();
  Enter(State::kLingering, limits_.linger);
  in_.resize(std::max(in_.size(), kFirstReadBytes));
  Discard(limits_.linger_bytes);
}

void Connection::Discard(std::size_t left) {
  socket_.async_read_some(asio::buffer(in_.data(), in_.size()),
                          Held([this, left](const error_code& error, std::size_t bytes) {
                            if (error || bytes >= left) return Close();
                            Discard(left - bytes);
                          }));
}

void Connection::PostLogWork(std::function<void(LogRead&)> work, void (Connection::*then)()) {
  auto job = [io = io_, log = log_, weak = weak_from_this(), work = std::move(work), then] {
    if (log->given_up) return;
    work(*log);
    asio::post(*io, [log, weak, then] {
      const auto self = weak.lock();
      // Another request's, or none, once this one was given up.
      if (!self || self->log_ != log) return;
      self->Held([&self, then] { (self.get()->*then)(); })();
    });
  };
  if (owner_.PostFileWork(std::move(job))) return;
  if (state_ != State::kOpeningLog) return Close();
  log_.reset();
  RefuseLog(503, "too many requests for logs");
}

void Connection::OpenLog(std::string_view name) {
  const auto authorization = View(parser_->get()[http::field::authorization]);
  log_ = std::make_shared<LogRead>();
  Enter(State::kOpeningLog, limits_.progress);
  PostLogWork([pages = pages_, name = std::string(name), token = std::string(authorization)](
                  LogRead& log) { log.log = pages->OpenLog(name, token); },
              &Connection::OnLogOpened);
}

void Connection::OnLogOpened() {
  if (log_->log.status != 200) {
    const auto refused = std::move(log_);
    log_.reset();
    return RefuseLog(refused->log.status, refused->log.reason);
  }
  const auto bytes = log_->log.file->size();
  log_left_ = head_only_ ? 0 : bytes;
  SendHead(200, kPlainText, bytes);
}

void Connection::RefuseLog(int status, const std::string& why) {
  pages_->TellRefused(status, why);
  Send({status, why + "\n"}, keep_alive_);
}

void Connection::ReadLog() {
  Enter(State::kStreaming, limits_.progress);
  PostLogWork(
      [wanted = std::min(log_left_, kPieceBytes)](LogRead& log) {
        log.piece.resize(wanted);
        log.got = log.log.file->Read(log.piece.data(), wanted);
      },
      &Connection::OnLogRead);
}

void Connection::OnLogRead() {
  if (log_->got == 0) return Close();  // it shrank: better visibly broken than filled up
  Enter(State::kStreaming, limits_.progress);
  asio::async_write(socket_, asio::buffer(log_->piece.data(), log_->got),
                    Held([this](const error_code& error, std::size_t bytes) {
                      if (error) return Close();
                      log_left_ -= bytes;
                      OnSent();
                    }));
}

}  // namespace zkexec
