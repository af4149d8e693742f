// SPDX-License-Identifier: Apache-2.0
#include "worker/http/http_server.h"

#include <cpprest/http_listener.h>
#include <pplx/threadpool.h>
#include <signal.h>

#include <chrono>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <ios>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "worker/http/listen_address.h"
#include "worker/http/log_file.h"
#include "worker/web_threads.h"

namespace zkexec {
namespace {

namespace http = web::http;
using Bytes = std::vector<unsigned char>;  // cpprest casts its streams of other types unsoundly
using http::experimental::listener::http_listener;
using http::experimental::listener::http_listener_config;

constexpr int kOpenAttempts = 5;  // a free port may be taken between our look and cpprest's bind
constexpr std::string_view kLogPrefix = "/log/";
// How long cpprest needs, once it has stopped listening, to close its sockets.
constexpr std::chrono::milliseconds kSocketsClose{50};
constexpr std::chrono::milliseconds kStopListening{2000};
constexpr std::chrono::milliseconds kPoll{2};
constexpr char kPlainText[] = "text/plain; charset=utf-8";

// LogFile as cpprest wants to read it. A response body is read by getn() alone;
// the rest of the interface says "nothing here". The bridge that cpprest has for
// standard streams casts between unrelated types, so it is not used.
class LogFileBuffer : public concurrency::streams::details::streambuf_state_manager<std::uint8_t> {
 public:
  explicit LogFileBuffer(LogFile file)
      : streambuf_state_manager(std::ios_base::in), file_(std::move(file)) {}

 protected:
  pplx::task<std::size_t> _getn(std::uint8_t* to, std::size_t bytes) override {
    return pplx::task_from_result(file_.Read(to, bytes));
  }

 private:
  using Mode = std::ios_base::openmode;

  static pplx::task<int_type> NoByte() { return pplx::task_from_result<int_type>(traits::eof()); }
  static pos_type NoPosition() { return static_cast<pos_type>(traits::eof()); }

  bool can_seek() const override { return false; }
  bool has_size() const override { return false; }
  std::size_t buffer_size(Mode) const override { return 0; }
  void set_buffer_size(std::size_t, Mode) override {}
  std::size_t in_avail() const override { return 0; }
  pos_type getpos(Mode) const override { return NoPosition(); }
  pos_type seekpos(pos_type, Mode) override { return NoPosition(); }
  pos_type seekoff(off_type, std::ios_base::seekdir, Mode) override { return NoPosition(); }
  bool acquire(std::uint8_t*&, std::size_t&) override { return false; }
  void release(std::uint8_t*, std::size_t) override {}
  pplx::task<int_type> _putc(std::uint8_t) override { return NoByte(); }
  pplx::task<std::size_t> _putn(const std::uint8_t*, std::size_t) override {
    return pplx::task_from_result<std::size_t>(0);
  }
  pplx::task<int_type> _bumpc() override { return NoByte(); }
  int_type _sbumpc() override { return traits::eof(); }
  pplx::task<int_type> _getc() override { return NoByte(); }
  int_type _sgetc() override { return traits::eof(); }
  pplx::task<int_type> _nextc() override { return NoByte(); }
  pplx::task<int_type> _ungetc() override { return NoByte(); }
  std::size_t _scopy(std::uint8_t*, std::size_t) override { return 0; }
  pplx::task<bool> _sync() override { return pplx::task_from_result(true); }
  std::uint8_t* _alloc(std::size_t) override { return nullptr; }
  void _commit(std::size_t) override {}

  // One read at a time, as cpprest does.
  LogFile file_;
};

// Holds all threads of the pool but one, until destroyed.
class ParkedThreads {
 public:
  ParkedThreads() {
    for (std::size_t i = 0; i + 1 < kWebThreads; ++i) {
      pplx::create_task([state = state_] {
        std::unique_lock lock(state->mutex);
        ++state->parked;
        state->changed.notify_all();
        state->changed.wait(lock, [&] { return state->released; });
      });
    }
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [this] { return state_->parked + 1 == kWebThreads; });
  }
  ParkedThreads(const ParkedThreads&) = delete;
  ParkedThreads& operator=(const ParkedThreads&) = delete;
  ~ParkedThreads() {
    const std::lock_guard lock(state_->mutex);
    state_->released = true;
    state_->changed.notify_all();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t parked = 0;  // both guarded by mutex
    bool released = false;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

void Send(const http::http_request& request, const http::http_response& response) {
  request.reply(response).then([](const pplx::task<void>& sent) {
    try {
      sent.get();
    } catch (const std::exception&) {
      // The client went away, or the log shrank: cpprest has closed the connection.
    }
  });
}

// The headers of a body without the body. cpprest insists on as many bytes as
// Content-Length says, and hangs up when the stream ends before: here at once.
void SendHead(const http::http_request& request, http::http_response response, std::size_t bytes,
              const std::string& type) {
  if (bytes > 0) {
    response.headers().add(http::header_names::connection, "close");
    const auto nothing = concurrency::streams::bytestream::open_istream(Bytes());
    response.set_body(nothing, bytes, type);
  }
  Send(request, response);
}

void SendText(const http::http_request& request, http::status_code status, const std::string& text,
              const std::string& type = kPlainText) {
  http::http_response response(status);
  if (status == http::status_codes::MethodNotAllowed) response.headers().add("Allow", "GET, HEAD");
  if (request.method() == http::methods::HEAD) {
    SendHead(request, response, text.size(), type);
    return;
  }
  if (!text.empty()) {
    response.set_body(Bytes(text.begin(), text.end()));
    response.headers().set_content_type(type);
  }
  Send(request, response);
}

void SendHealth(const http::http_request& request, const HttpServer::Health& health) {
  SendText(request, health.ok ? http::status_codes::OK : http::status_codes::ServiceUnavailable,
           health.json, "application/json");
}

}  // namespace

struct HttpServer::Impl {
  Impl(const LogAccess& log_access, Handlers the_handlers)
      : logs(log_access), handlers(std::move(the_handlers)) {}

  void Handle(const http::http_request& request) const;
  void HandleLog(const http::http_request& request, std::string_view path) const;
  void RefuseLog(const http::http_request& request, int status, const std::string& why) const;

  // Constant after Open().
  const LogAccess& logs;
  const Handlers handlers;
  bool own_threads = false;
  ListenAddress address;

  // Owner's thread only.
  std::unique_ptr<http_listener> listener;
};

void HttpServer::Impl::Handle(const http::http_request& request) const {
  try {
    const std::string path = request.request_uri().path();
    if (request.method() != http::methods::GET && request.method() != http::methods::HEAD) {
      SendText(request, http::status_codes::MethodNotAllowed, "only GET and HEAD\n");
    } else if (path.starts_with(kLogPrefix)) {
      HandleLog(request, std::string_view(path).substr(kLogPrefix.size()));
    } else if (path == "/metrics") {
      SendText(request, http::status_codes::OK, handlers.metrics_text(),
               "text/plain; version=0.0.4");
    } else if (path == "/health/live") {
      SendHealth(request, handlers.live());
    } else if (path == "/health/ready") {
      SendHealth(request, handlers.ready());
    } else {
      SendText(request, http::status_codes::NotFound, "no such page\n");
    }
  } catch (const std::exception&) {
    SendText(request, http::status_codes::InternalError, "internal error\n");
  }
}

void HttpServer::Impl::RefuseLog(const http::http_request& request, int status,
                                 const std::string& why) const {
  if (handlers.log_refused) handlers.log_refused(status, why);
  SendText(request, static_cast<http::status_code>(status), why + "\n");
}

void HttpServer::Impl::HandleLog(const http::http_request& request, std::string_view path) const {
  std::string authorization;
  request.headers().match(http::header_names::authorization, authorization);
  const auto now = handlers.epoch_s ? handlers.epoch_s() : std::int64_t{std::time(nullptr)};
  const auto verdict = logs.Check(path, authorization, now);
  if (verdict.status != http::status_codes::OK) {
    RefuseLog(request, verdict.status, verdict.message);
    return;
  }
  auto file = LogFile::Open(verdict.path);
  if (!file) {
    const bool missing = file.error().code == ErrorCode::kNotFound;
    RefuseLog(request, missing ? http::status_codes::NotFound : http::status_codes::InternalError,
              file.error().message);
    return;
  }

  const std::size_t bytes = file->size();
  if (bytes == 0 || request.method() == http::methods::HEAD) {
    SendHead(request, http::http_response(http::status_codes::OK), bytes, kPlainText);
    return;
  }
  const concurrency::streams::streambuf<std::uint8_t> buffer(
      std::make_shared<LogFileBuffer>(std::move(*file)));
  http::http_response response(http::status_codes::OK);
  response.set_body(concurrency::streams::istream(buffer), bytes, kPlainText);
  Send(request, response);
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { Close(); }

int HttpServer::port() const { return impl_->address.port; }

Result<std::unique_ptr<HttpServer>> HttpServer::Open(const Options& options, const LogAccess& logs,
                                                     Handlers handlers) {
  auto impl = std::make_unique<Impl>(logs, std::move(handlers));
  impl->own_threads = StartWebThreadsOnce();
  for (int attempt = 1;; ++attempt) {
    // A failed bind of cpprest's own leaves a listener behind: try first.
    const auto address = ListenAddress::Find(options.host, options.port);
    if (!address) return address.error().Within("http server");
    try {
      auto listener = std::make_unique<http_listener>(
          "http://" + address->ip + ":" + std::to_string(address->port), http_listener_config());
      const auto handle = [raw = impl.get()](const http::http_request& request) {
        raw->Handle(request);
      };
      listener->support(handle);
      // cpprest answers these two itself unless told otherwise.
      listener->support(http::methods::OPTIONS, handle);
      listener->support(http::methods::TRCE, handle);
      listener->open().get();
      impl->address = *address;
      impl->listener = std::move(listener);
      return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
    } catch (const std::exception& error) {
      if (options.port == 0 && attempt < kOpenAttempts) continue;
      return Error{ErrorCode::kInvalid, "http server: port " + std::to_string(address->port) +
                                            " is taken on " + options.host + ": " + error.what()};
    }
  }
}

// cpprest closes the sockets of open connections without a lock, and crashes
// when another thread is using one. So let one thread do it alone, and wake the
// others when it must be waiting for them to clean up.
void HttpServer::Close() {
  if (!impl_->listener) return;
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  std::optional<ParkedThreads> parked;
  if (impl_->own_threads) parked.emplace();

  auto closed = impl_->listener->close();
  const auto listening = [this] {
    return !ListenAddress::Find(impl_->address.ip, impl_->address.port);
  };
  using Steady = std::chrono::steady_clock;
  // Bounded: another process may have taken the port the moment it was free.
  const auto latest = Steady::now() + kStopListening;
  while (!closed.is_done() && listening() && Steady::now() < latest) {
    std::this_thread::sleep_for(kPoll);
  }
  const auto until = Steady::now() + kSocketsClose;
  while (!closed.is_done() && Steady::now() < until) std::this_thread::sleep_for(kPoll);
  parked.reset();
  try {
    closed.get();
  } catch (const std::exception&) {
    // Not registered any more, which is what we want.
  }
  impl_->listener.reset();
}

}  // namespace zkexec
