// SPDX-License-Identifier: Apache-2.0
#include "worker/guardian.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "common/log.h"
#include "worker/orphans.h"
#include "worker/retire.h"

namespace zkexec {
namespace {

constexpr std::size_t kMessageBytesMax = 64u << 10;
// A process that does not die of SIGKILL within this is stuck in the kernel.
constexpr Duration kKillLimit{2000};

std::vector<std::uint8_t> Encode(const GuardedSession& session) {
  return nlohmann::json::to_msgpack({{"id", session.credentials.id},
                                     {"password", session.credentials.password},
                                     {"hosts", session.hosts},
                                     {"digest_auth", session.digest_auth},
                                     {"session_timeout_ms", session.session_timeout.count()},
                                     {"worker", session.worker},
                                     {"control", session.control}});
}

std::optional<GuardedSession> Decode(const std::vector<std::uint8_t>& message) {
  try {
    const auto fields = nlohmann::json::from_msgpack(message);
    GuardedSession session;
    session.credentials = {fields.at("id"), fields.at("password")};
    session.hosts = fields.at("hosts");
    session.digest_auth = fields.at("digest_auth");
    session.session_timeout = Duration(fields.at("session_timeout_ms").get<std::int64_t>());
    session.worker = fields.at("worker");
    session.control = fields.at("control");
    return session;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

// The parent's side.
class Guardian : public PollSource {
 public:
  // Takes the descriptors.
  Guardian(pid_t worker, int channel, int signals)
      : worker_(worker), channel_(channel), signals_(signals) {}
  ~Guardian() override {
    if (channel_ >= 0) close(channel_);
    close(signals_);
  }
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  int Run();

  // While the end of the session is under way: a signal asks us to leave it.
  Request Prepare() override { return {signals_, POLLIN, Duration{60000}}; }
  void Ready(short revents) override {
    if (revents != 0) ReadSignals();
  }

 private:
  void ReadSignals();
  bool Reap();  // true: the worker has ended
  void ReadChannel();
  void Mourn();
  void EndSession();

  const pid_t worker_;
  int channel_;
  const int signals_;
  int status_ = 0;
  bool ended_ = false;
  bool leave_ = false;
  std::optional<GuardedSession> session_;
};

int Guardian::Run() {
  while (!ended_) {
    pollfd fds[2] = {{signals_, POLLIN, 0}, {channel_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;  // EINTR: nothing else can happen here
    if (fds[1].revents != 0) ReadChannel();
    if (fds[0].revents != 0) ReadSignals();
    ended_ = Reap();
  }
  while (channel_ >= 0) ReadChannel();  // its last words are still in the socket
  if (WIFEXITED(status_)) return WEXITSTATUS(status_);
  Mourn();
  return 128 + WTERMSIG(status_);
}

void Guardian::ReadSignals() {
  signalfd_siginfo info{};
  while (read(signals_, &info, sizeof info) == sizeof info) {
    const int number = static_cast<int>(info.ssi_signo);
    if (number == SIGCHLD || number == StopSignal()) continue;
    leave_ = ended_;
    if (ended_) continue;
    if (sigqueue(worker_, StopSignal(), {}) != 0) kill(worker_, number);
  }
}

bool Guardian::Reap() {
  // Others than the worker are orphans of a container whose first process we are.
  bool ended = false;
  for (;;) {
    int status = 0;
    const pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return ended;
    if (pid != worker_) continue;
    status_ = status;
    ended = true;
  }
}

void Guardian::ReadChannel() {
  std::vector<std::uint8_t> message(kMessageBytesMax);
  const auto got = recv(channel_, message.data(), message.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EINTR || (errno == EAGAIN && !ended_))) return;
  if (got <= 0) {
    close(std::exchange(channel_, -1));
    return;
  }
  message.resize(static_cast<std::size_t>(got));
  session_ = Decode(message);
}

void Guardian::Mourn() {
  const int number = WTERMSIG(status_);
  spdlog::error("guardian: worker process was killed; ending what it left pid={} signal={} ({})",
                worker_, number, strsignal(number));
  const auto started = SystemClock().Now();
  // First: as long as one of its tasks lives, nobody may be told that it is over.
  const auto left = KillOrphans(SystemClock(), kKillLimit);
  for (const int pid : left) {
    spdlog::error("guardian: a process does not end pid={} waited_ms={}", pid, kKillLimit.count());
  }
  if (session_) EndSession();
  const auto took = SystemClock().Now() - started;
  spdlog::info("guardian: done pid={} ms={}", getpid(),
               std::chrono::duration_cast<Duration>(took).count());
}

void Guardian::EndSession() {
  const SystemClock clock;
  EventLoop loop;
  ZookeeperCoordinator::Options options;
  options.hosts = session_->hosts;
  options.digest_auth = session_->digest_auth;
  options.session_timeout = session_->session_timeout;
  options.resume = session_->credentials;
  ZookeeperCoordinator zk(options, clock);
  loop.Add(&zk);
  loop.Add(this);
  // After one session timeout the server has ended the session without us; the
  // control node still has to go.
  const auto removed = RemoveControl(loop, zk, session_->control, clock,
                                     session_->session_timeout * 2, [this] { return leave_; });
  loop.Remove(this);
  loop.Remove(&zk);
  if (!removed) {
    spdlog::error("guardian: cannot remove the control node; giving up worker={} error=\"{}\"",
                  session_->worker, removed.error().message);
    return;
  }
  zk.Close();
  spdlog::info("guardian: session closed, control node removed worker={}", session_->worker);
}

// Those that the guardian waits for. They are blocked in the child too, until it
// reads them itself; SIGCHLD is nothing to it.
sigset_t Block() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGCHLD, StopSignal()}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return set;
}

}  // namespace

GuardianLink::~GuardianLink() {
  if (fd_ >= 0) close(fd_);
}

void GuardianLink::Tell(const GuardedSession& session) {
  if (fd_ < 0) return;
  const auto message = Encode(session);
  while (send(fd_, message.data(), message.size(), MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    // Its death is seen at the next turn of the loop.
    if (errno != EPIPE && errno != ECONNRESET) {
      spdlog::error("cannot tell the guardian my session error=\"{}\"", std::strerror(errno));
    }
    return;
  }
}

PollSource::Request GuardianLink::Prepare() { return {fd_, POLLIN, Duration{60000}}; }

void GuardianLink::Ready(short revents) {
  // It never writes: whatever can be read is the end.
  if (revents == 0 || fd_ < 0) return;
  close(std::exchange(fd_, -1));
  if (on_death_) on_death_();
}

int StopSignal() { return SIGRTMIN; }

int RunGuarded(const std::function<int(GuardianLink& guardian)>& worker) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    spdlog::critical("guardian: socketpair error=\"{}\"", std::strerror(errno));
    return 1;
  }
  const auto handled = Block();
  BecomeSubreaper();
  const pid_t guardian = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    spdlog::critical("guardian: fork error=\"{}\"", std::strerror(errno));
    return 1;
  }
  if (pid == 0) {
    setpgid(0, 0);  // a Ctrl-C at the terminal comes once, through the guardian
    close(ends[0]);
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &ended, nullptr);
    GuardianLink link(ends[1], guardian);
    return worker(link);
  }
  setpgid(pid, pid);
  close(ends[1]);
  prctl(PR_SET_NAME, "zk-guardian", 0, 0, 0);
  spdlog::debug("guardian: watching pid={} worker_pid={}", guardian, pid);
  return Guardian(pid, ends[0], signalfd(-1, &handled, SFD_CLOEXEC | SFD_NONBLOCK)).Run();
}

}  // namespace zkexec
