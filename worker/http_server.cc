// SPDX-License-Identifier: Apache-2.0
#include "worker/http_server.h"

#include <arpa/inet.h>
#include <cpprest/http_listener.h>
#include <cpprest/interopstream.h>
#include <netdb.h>
#include <pplx/threadpool.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <exception>
#include <istream>
#include <mutex>
#include <streambuf>
#include <string_view>
#include <utility>

#include "worker/log_file.h"

namespace zkexec {
namespace {

namespace http = web::http;
using http::experimental::listener::http_listener;
using http::experimental::listener::http_listener_config;

constexpr std::size_t kThreads = 4;
constexpr int kOpenAttempts = 5;  // a free port may be taken between Probe() and cpprest
constexpr std::string_view kLogPrefix = "/log/";
constexpr char kPlainText[] = "text/plain; charset=utf-8";

// LogFile as cpprest wants to read it: a stream of bytes. Only bulk reads occur.
class LogFileBuffer : public std::streambuf {
 public:
  explicit LogFileBuffer(LogFile file) : file_(std::move(file)) {}

 protected:
  std::streamsize xsgetn(char* to, std::streamsize bytes) override {
    return static_cast<std::streamsize>(file_.Read(to, static_cast<std::size_t>(bytes)));
  }

 private:
  LogFile file_;
};

// The pool is one for the process. Its threads inherit a full signal mask, so
// that signals reach the thread that waits for them.
void StartThreadsOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      crossplat::threadpool::initialize_with_threads(kThreads);
    } catch (const std::exception&) {
      // Someone used cpprest before us: then its threads are there already.
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
}

struct Fd {
  int fd;
  ~Fd() {
    if (fd >= 0) close(fd);
  }
};

Error Invalid(std::string message) { return {ErrorCode::kInvalid, std::move(message)}; }

// cpprest cannot choose a port or parse IPv6, and a failed bind of its own
// leaves a listener behind. So resolve and try the address first.
Result<sockaddr_in> Probe(const std::string& host, int port) {
  if (port < 0 || port > 65535) return Invalid("port " + std::to_string(port) + " does not exist");
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int failed = getaddrinfo(host.c_str(), nullptr, &hints, &found); failed != 0) {
    return Invalid("host " + host + " has no IPv4 address: " + gai_strerror(failed));
  }
  sockaddr_in address{};
  std::memcpy(&address, found->ai_addr, sizeof(address));
  freeaddrinfo(found);
  address.sin_port = htons(static_cast<std::uint16_t>(port));

  const Fd probe{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  const int on = 1;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (probe.fd < 0 || setsockopt(probe.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      bind(probe.fd, generic, size) != 0 || listen(probe.fd, 1) != 0 ||
      getsockname(probe.fd, generic, &size) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return Invalid("port " + std::to_string(port) + " is taken on " + host);
    }
    return Invalid("cannot listen on " + host + " port " + std::to_string(port) + ": " +
                   std::strerror(error));
  }
  return address;
}

std::string ListenUri(const sockaddr_in& address) {
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
  return std::string("http://") + text + ":" + std::to_string(ntohs(address.sin_port));
}

// Sends it; `body` lives until cpprest has read the last of it.
void Send(const http::http_request& request, const http::http_response& response,
          std::shared_ptr<LogFileBuffer> body = nullptr) {
  request.reply(response).then([body = std::move(body)](const pplx::task<void>& sent) {
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
    response.set_body(concurrency::streams::bytestream::open_istream(std::string()), bytes, type);
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
  if (!text.empty()) response.set_body(text, type);
  Send(request, response);
}

void SendHealth(const http::http_request& request, const HttpServer::Health& health) {
  SendText(request,
           health.ok ? http::status_codes::OK : http::status_codes::ServiceUnavailable,
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
  int port = 0;

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
    RefuseLog(request,
              missing ? http::status_codes::NotFound : http::status_codes::InternalError,
              file.error().message);
    return;
  }

  const std::size_t bytes = file->size();
  if (bytes == 0 || request.method() == http::methods::HEAD) {
    SendHead(request, http::http_response(http::status_codes::OK), bytes, kPlainText);
    return;
  }
  auto buffer = std::make_shared<LogFileBuffer>(std::move(*file));
  std::istream stream(buffer.get());  // used only to hand over the buffer
  http::http_response response(http::status_codes::OK);
  response.set_body(concurrency::streams::stdio_istream<std::uint8_t>(stream), bytes, kPlainText);
  Send(request, response, std::move(buffer));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { Close(); }

int HttpServer::port() const { return impl_->port; }

Result<std::unique_ptr<HttpServer>> HttpServer::Open(const Options& options, const LogAccess& logs,
                                                     Handlers handlers) {
  StartThreadsOnce();
  auto impl = std::make_unique<Impl>(logs, std::move(handlers));
  for (int attempt = 1;; ++attempt) {
    const auto address = Probe(options.host, options.port);
    if (!address) return address.error().Within("http server");
    try {
      auto listener = std::make_unique<http_listener>(ListenUri(*address), http_listener_config());
      listener->support([raw = impl.get()](const http::http_request& request) {
        raw->Handle(request);
      });
      listener->open().get();
      impl->port = ntohs(address->sin_port);
      impl->listener = std::move(listener);
      return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
    } catch (const std::exception& error) {
      if (options.port == 0 && attempt < kOpenAttempts) continue;
      return Invalid("http server: port " + std::to_string(ntohs(address->sin_port)) +
                     " is taken on " + options.host + ": " + error.what());
    }
  }
}

void HttpServer::Close() {
  if (!impl_->listener) return;
  try {
    impl_->listener->close().get();
  } catch (const std::exception&) {
    // Not registered any more, which is what we want.
  }
  impl_->listener.reset();
}

}  // namespace zkexec
