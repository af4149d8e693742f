// SPDX-License-Identifier: Apache-2.0
#include "worker/zygote.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "common/log.h"
#include "worker/orphans.h"

namespace zkexec {
namespace {

constexpr std::size_t kFrameBytesMax = 64u << 20;
constexpr Duration kRestartPauseMax{30000};
constexpr int kHandshakeTimeoutMs = 120000;

// In the forked child, before exec: only what is safe after fork.
[[noreturn]] void BecomeZygote(int fd, pid_t parent, char* const* arguments) {
  setpgid(0, 0);                     // a Ctrl-C at the terminal is the worker's to handle
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // ignored once it serves: it sees the channel close
  if (getppid() != parent) _exit(1);
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  fcntl(fd, F_SETFD, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvp(arguments[0], arguments);
  const char message[] = "zk-worker: cannot run the Python interpreter\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, message, sizeof message - 1);
  _exit(127);
}

}  // namespace

Zygote::Zygote(std::string python, EventLoop& loop, const Clock& clock)
    : python_(std::move(python)), loop_(loop), clock_(clock) {}

Result<std::unique_ptr<Zygote>> Zygote::Open(const std::string& python, EventLoop& loop,
                                             const Clock& clock) {
  std::unique_ptr<Zygote> zygote(new Zygote(python, loop, clock));
  if (const auto spawned = zygote->Spawn(); !spawned) return spawned.error();
  while (!zygote->greeted_) {
    pollfd ready{zygote->fd_, POLLIN, 0};
    const int count = poll(&ready, 1, kHandshakeTimeoutMs);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) {
      return Error{ErrorCode::kInternal, "the zygote sent no configuration within " +
                                             std::to_string(kHandshakeTimeoutMs / 1000) + " s"};
    }
    const bool open = zygote->Receive();
    if (!zygote->fatal_.empty()) return Error{ErrorCode::kInvalid, zygote->fatal_};
    if (!open) {
      return Error{ErrorCode::kInternal,
                   "'" + python +
                       " -m zk_executor.worker.zygote' ended before it could serve; "
                       "its own message is above. Is zk-executor installed for this interpreter "
                       "(--python)?"};
    }
  }
  loop.Add(zygote.get());
  return zygote;
}

Zygote::~Zygote() {
  loop_.Remove(this);
  CloseProcess();
}

Status Zygote::Spawn() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Error{ErrorCode::kInternal, std::string("socketpair: ") + std::strerror(errno)};
  }
  std::vector<std::string> words{python_, "-m", "zk_executor.worker.zygote", "--fd",
                                 std::to_string(ends[1])};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeZygote(ends[1], parent, arguments.data());
  const int failure = errno;
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return Error{ErrorCode::kInternal, std::string("fork: ") + std::strerror(failure)};
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  pid_ = pid;
  fd_ = ends[0];
  ready_ = false;
  greeted_ = false;
  in_.clear();
  out_.clear();
  return Done{};
}

void Zygote::CloseProcess() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  if (pid_ > 0) {
    // It kills what is below it first; that is why it is waited for.
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
}

void Zygote::Start(const std::string& dispatch_id, const std::string& workload) {
  runs_.insert(dispatch_id);
  if (fd_ < 0) return;  // told at the next turn, by Ready()
  Send({{"op", "run"}, {"id", dispatch_id}, {"workload", workload}});
}

void Zygote::Kill(const std::string& dispatch_id, Signal signal) {
  if (fd_ < 0 || !runs_.contains(dispatch_id)) return;
  Send({{"op", "kill"},
        {"id", dispatch_id},
        {"signal", signal == Signal::kKill ? SIGKILL : SIGTERM}});
}

void Zygote::Send(const nlohmann::json& message) {
  // What is not UTF-8 can't come from Airflow's JSON; it must not stop us either.
  const auto body = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto size = static_cast<std::uint32_t>(body.size());
  for (int shift = 24; shift >= 0; shift -= 8) out_ += static_cast<char>((size >> shift) & 0xff);
  out_ += body;
  Flush();
}

void Zygote::Flush() {
  while (!out_.empty()) {
    const auto sent = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return;  // full: when writable again. Closed: seen when reading.
    }
    out_.erase(0, static_cast<std::size_t>(sent));
  }
}

PollSource::Request Zygote::Prepare() {
  Request request;
  if (fd_ < 0) {
    request.wait = runs_.empty() ? Duration{200} : Duration{0};
    return request;
  }
  request.fd = fd_;
  request.events = POLLIN;
  if (!out_.empty()) request.events |= POLLOUT;
  return request;
}

void Zygote::Ready(short revents) {
  if (fd_ < 0) {
    const auto lost = std::exchange(runs_, {});
    for (const auto& id : lost) {
      if (listener_ == nullptr) continue;
      listener_->OnExit({id, "failed", "the worker's zygote process died, and the task with it"});
    }
    if (fatal_.empty() && clock_.Now() >= restart_at_) {
      if (const auto spawned = Spawn(); !spawned) {
        spdlog::error("cannot start the zygote again error=\"{}\"", spawned.error().message);
        restart_at_ = clock_.Now() + restart_pause_;
      }
    }
    return;
  }
  if ((revents & POLLOUT) != 0) Flush();
  if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !Receive()) OnDeath();
}

bool Zygote::Receive() {
  char chunk[65536];
  for (;;) {
    const auto got = recv(fd_, chunk, sizeof chunk, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0) return false;
    in_.append(chunk, static_cast<std::size_t>(got));
  }
  while (in_.size() >= 4) {
    std::size_t size = 0;
    for (int i = 0; i < 4; ++i)
      size = size << 8 | static_cast<unsigned char>(in_[static_cast<std::size_t>(i)]);
    if (size > kFrameBytesMax) return false;
    if (in_.size() < 4 + size) break;
    const auto message = nlohmann::json::parse(in_.substr(4, size), nullptr, false);
    in_.erase(0, 4 + size);
    if (message.is_object()) Handle(message);
  }
  return true;
}

void Zygote::Handle(const nlohmann::json& message) {
  const auto event = message.value("event", "");
  if (event == "hello") {
    greeted_ = true;
    configuration_ = message;
  } else if (event == "ready") {
    ready_ = true;
    restart_pause_ = Duration{500};
    spdlog::info("zygote ready pid={}", pid_);
  } else if (event == "failed") {
    const auto why = message.value("message", "unknown");
    if (message.value("invalid", false)) {
      fatal_ = why;
    } else {
      spdlog::error("zygote failed error=\"{}\"", why);
    }
  } else if (event == "started") {
    spdlog::debug("supervisor started dispatch={} pid={}", message.value("id", ""),
                  message.value("pid", 0));
  } else if (event == "exited") {
    const auto id = message.value("id", "");
    if (runs_.erase(id) == 0 || listener_ == nullptr) return;
    listener_->OnExit({id, message.value("outcome", "failed"), message.value("info", "")});
  }
}

void Zygote::OnDeath() {
  const bool was_ready = ready_;
  ready_ = false;
  close(fd_);
  fd_ = -1;
  int status = 0;
  kill(pid_, SIGKILL);  // it may be stuck with its channel closed
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  KillOrphans();
  if (!fatal_.empty()) return;
  spdlog::error("zygote died was_ready={} status={} runs_lost={} restart_ms={}", was_ready, status,
                runs_.size(), restart_pause_.count());
  restart_at_ = clock_.Now() + restart_pause_;
  restart_pause_ = std::min(kRestartPauseMax, restart_pause_ * 2);
}

}  // namespace zkexec
