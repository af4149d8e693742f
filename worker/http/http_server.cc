// SPDX-License-Identifier: Apache-2.0
#include "worker/http/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <thread>
#include <unordered_map>
#include <utility>

#include "worker/http/connection.h"
#include "worker/http/file_threads.h"
#include "worker/http/listener.h"
// Boost after the standard library: some of its headers forget what they need of it.
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

namespace zkexec {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kFileThreads = 4;
// More than can have a log read at a time: what was given up may still wait here.
constexpr std::size_t kFileWorkMax = 1024;
constexpr std::chrono::milliseconds kFileThreadsEnd{2000};
// In which new clients wait in the kernel's queue: long enough not to spin, short for a person.
constexpr std::chrono::milliseconds kAcceptPause{100};
// So that many new clients don't keep the others waiting.
constexpr int kAcceptsAtATime = 64;

// Connections that ended before we took them are no reason to stop taking others.
bool IsOfOneClient(int error) {
  return error == ECONNABORTED || error == EINTR || error == EPROTO || error == EPERM ||
         error == ENETDOWN || error == EHOSTDOWN || error == EHOSTUNREACH || error == ENETUNREACH;
}

}  // namespace

class HttpServer::Impl : public Connection::Owner {
 public:
  Impl(const Options& options, const LogAccess& logs, Handlers handlers, Listener listener)
      : port_(listener.port()),
        connections_max_(options.connections_max),
        pages_(std::make_shared<const Pages>(std::move(handlers), logs)),
        listener_(*io_, listener.Release()),
        pause_(*io_),
        file_threads_(kFileThreads, kFileWorkMax) {
    limits_.request = options.request_timeout;
    limits_.progress = options.progress_timeout;
  }

  // Throws if the thread can't start.
  void Start() {
    AwaitClients();
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  void Close() {
    if (!thread_.joinable()) return;
    asio::post(*io_, [this] { CloseAll(); });
    thread_.join();
    file_threads_.Close(kFileThreadsEnd);
  }

  int port() const { return port_; }

  bool PostFileWork(std::function<void()> work) override {
    return file_threads_.Post(std::move(work));
  }

  void Ended(Connection& connection) override { connections_.erase(&connection); }

 private:
  // Ends when nothing is left to do: after CloseAll().
  void Run() {
    while (true) {
      try {
        io_->run();
        return;
      } catch (const std::exception&) {
        // Nothing is expected here: what can throw is caught where it is known whom it hits.
      }
    }
  }

  void CloseAll() {
    closing_ = true;
    error_code ignored;
    listener_.close(ignored);
    pause_.cancel(ignored);
    while (!connections_.empty()) {
      const auto connection = connections_.begin()->second;
      connection->Close();
    }
  }

  void AwaitClients() {
    listener_.async_wait(asio::posix::stream_descriptor::wait_read,
                         [this](const error_code& error) {
                           if (closing_) return;
                           bool again = false;
                           try {
                             again = !error && Accept();
                           } catch (const std::exception&) {
                             // No memory. What was accepted has been closed.
                           }
                           if (again) {
                             AwaitClients();
                           } else {
                             Pause();
                           }
                         });
  }

  void Pause() {
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](const error_code& error) {
      if (!error && !closing_) AwaitClients();
    });
  }

  // False if it makes no sense to try again at once.
  bool Accept() {
    for (int i = 0; i < kAcceptsAtATime; ++i) {
      const int fd =
          accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd >= 0) {
        Welcome(fd);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK || !IsClientWaiting()) {
        return true;
      } else if (!IsOfOneClient(errno)) {
        pages_->TellDropped("descriptors");
        CloseIdlest();
        return false;
      }
    }
    return true;
  }

  // Without a free descriptor accept4() doesn't look whether there is a client at all.
  bool IsClientWaiting() {
    const int error = errno;
    pollfd waiting{listener_.native_handle(), POLLIN, 0};
    const bool is_waiting = poll(&waiting, 1, 0) > 0;
    errno = error;
    return is_waiting;
  }

  void Welcome(int fd) {
    if (connections_.size() >= connections_max_ && !CloseIdlest()) {
      pages_->TellDropped("full");
      // As far as the kernel takes it: there is no room to wait for more.
      const std::string answer = AnswerHead(503, "", 0, false);
      send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      close(fd);
      return;
    }
    // A page is one piece; nothing is gained by waiting for more.
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    Connection::Socket socket(*io_);
    error_code error;
    socket.assign(asio::generic::stream_protocol(AF_INET, IPPROTO_TCP), fd, error);
    if (error) {
      close(fd);
      return;
    }
    const auto connection =
        std::make_shared<Connection>(io_, std::move(socket), pages_, limits_, *this);
    try {
      connections_.emplace(connection.get(), connection);
      connection->Start();
    } catch (const std::exception&) {
      connection->Close();
      throw;
    }
  }

  // False if none is idle.
  bool CloseIdlest() {
    std::shared_ptr<Connection> idlest;
    for (const auto& [key, connection] : connections_) {
      const auto since = connection->idle_since();
      if (since && (!idlest || *since < *idlest->idle_since())) idlest = connection;
    }
    if (!idlest) return false;
    pages_->TellDropped("idle");
    idlest->Close();
    return true;
  }

  // Constant after construction.
  const int port_;
  const std::size_t connections_max_;
  const std::shared_ptr<const Pages> pages_;
  ConnectionLimits limits_;

  // Shared, because file work may end after us and tells it.
  const std::shared_ptr<asio::io_context> io_ = std::make_shared<asio::io_context>();

  // The server's thread only, once that runs.
  asio::posix::stream_descriptor listener_;
  asio::steady_timer pause_;
  bool closing_ = false;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;

  FileThreads file_threads_;

  // Owner's thread only.
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { Close(); }

int HttpServer::port() const { return impl_->port(); }

void HttpServer::Close() { impl_->Close(); }

Result<std::unique_ptr<HttpServer>> HttpServer::Open(const Options& options, const LogAccess& logs,
                                                     Handlers handlers) {
  auto listener = Listener::Open(options.host, options.port);
  if (!listener) return listener.error().Within("http server");
  try {
    auto impl = std::make_unique<Impl>(options, logs, std::move(handlers), std::move(*listener));
    impl->Start();
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
  } catch (const std::exception& error) {
    return Error{ErrorCode::kUnavailable, std::string("http server: ") + error.what()};
  }
}

}  // namespace zkexec
