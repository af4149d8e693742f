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
#include "worker/json_fields.h"
#include "worker/orphans.h"

namespace zkexec {
namespace {

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
    pollfd ready{zygote->channel_.fd(), POLLIN, 0};
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
  const auto theirs = channel_.OpenPair();
  if (!theirs) return theirs.error();
  std::vector<std::string> words{python_, "-m", "zk_executor.worker.zygote", "--fd",
                                 std::to_string(*theirs)};
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeZygote(*theirs, parent, arguments.data());
  const int failure = errno;
  close(*theirs);
  if (pid < 0) {
    channel_.Close();
    return Error{ErrorCode::kInternal, std::string("fork: ") + std::strerror(failure)};
  }
  pid_ = pid;
  ready_ = false;
  greeted_ = false;
  return Done{};
}

void Zygote::CloseProcess() {
  channel_.Close();
  if (pid_ > 0) {
    // It kills what is below it first; that is why it is waited for.
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
}

void Zygote::Start(const std::string& dispatch_id, const std::string& workload) {
  runs_.insert(dispatch_id);
  if (channel_.fd() < 0) return;  // told at the next turn, by Ready()
  channel_.Send({{"op", "run"}, {"id", dispatch_id}, {"workload", workload}});
}

void Zygote::Kill(const std::string& dispatch_id, Signal signal) {
  if (channel_.fd() < 0 || !runs_.contains(dispatch_id)) return;
  channel_.Send({{"op", "kill"},
                 {"id", dispatch_id},
                 {"signal", signal == Signal::kKill ? SIGKILL : SIGTERM}});
}

void Zygote::Fork(int child, const Sockets& sockets) {
  if (channel_.fd() < 0) forks_lost_ = true;
  channel_.Send({{"op", "fork"}, {"child", child}, {"fds", sockets.size()}},
                {sockets.begin(), sockets.end()});
}

void Zygote::Attend(const nlohmann::json& what, int fd) {
  auto message = what;
  message["fds"] = 1;
  channel_.Send(message, {fd});
}

void Zygote::Upload(const nlohmann::json& what, std::function<void()> done) {
  auto message = what;
  message["op"] = "upload";
  message["upload"] = ++next_upload_;
  uploads_[next_upload_] = std::move(done);
  if (channel_.fd() < 0) forks_lost_ = true;
  channel_.Send(message);
}

PollSource::Request Zygote::Prepare() {
  Request request;
  if (channel_.fd() < 0) {
    request.wait = runs_.empty() && !forks_lost_ ? Duration{200} : Duration{0};
    return request;
  }
  request.fd = channel_.fd();
  request.events = POLLIN;
  if (channel_.pending()) request.events |= POLLOUT;
  return request;
}

void Zygote::Ready(short revents) {
  if (channel_.fd() < 0) {
    if (std::exchange(forks_lost_, false) && fork_listener_ != nullptr) {
      fork_listener_->OnLost(*this);
    }
    for (const auto& [upload, done] : std::exchange(uploads_, {})) done();
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
  if ((revents & POLLOUT) != 0) channel_.Flush();
  if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !Receive()) OnDeath();
}

bool Zygote::Receive() {
  const bool open = channel_.Receive();
  nlohmann::json message;
  std::vector<int> fds;
  while (channel_.Pop(&message, &fds)) Handle(message, fds);
  return open && !channel_.broken();
}

void Zygote::Handle(const nlohmann::json& message, const std::vector<int>& fds) {
  JsonFields fields(message, "a message of the zygote");
  const auto event = fields.Text("event");
  if (event == "hello") {
    greeted_ = true;
    configuration_ = message;
  } else if (event == "ready") {
    ready_ = true;
    restart_pause_ = Duration{500};
    spdlog::info("zygote ready pid={}", pid_);
  } else if (event == "failed") {
    const auto why = fields.Text("message", "unknown");
    if (fields.Flag("invalid")) {
      fatal_ = why;
    } else {
      spdlog::error("zygote failed error=\"{}\"", why);
    }
  } else if (event == "started") {
    spdlog::debug("supervisor started dispatch={} pid={}", fields.Text("id"), fields.Int("pid", 0));
  } else if (event == "exited") {
    const auto id = fields.Text("id");
    if (runs_.erase(id) == 0 || listener_ == nullptr) return;
    listener_->OnExit({id, fields.Text("outcome", "failed"), fields.Text("info")});
  } else if (event == "uploaded") {
    const auto upload = uploads_.extract(fields.Int("upload", 0));
    if (!upload.empty()) upload.mapped()();
  } else if (fork_listener_ != nullptr) {
    return TellForkEvent(message, fds, fork_listener_);
  }
  for (const int fd : fds) close(fd);
  if (const auto status = fields.status(); !status)
    spdlog::error("odd message event={} error=\"{}\"", event, status.error().message);
}

void Zygote::OnDeath() {
  const bool was_ready = ready_;
  ready_ = false;
  ++deaths_;
  channel_.Close();
  forks_lost_ = true;
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
