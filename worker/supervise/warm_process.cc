// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/warm_process.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/json_fields.h"

namespace zkexec {

WarmProcess::WarmProcess(std::string imports, const std::vector<std::string>& dag_folders,
                         Duration timeout, Zygote& zygote, EventLoop& loop, const Clock& clock,
                         ForkServer::Listener& fork_listener, Listener listener)
    : imports_(std::move(imports)),
      loop_(loop),
      clock_(clock),
      fork_listener_(fork_listener),
      listener_(std::move(listener)),
      deadline_(clock.Now() + timeout) {
  loop_.Add(this);
  const auto theirs = channel_.OpenPair();
  if (!theirs) {
    // Told at the next turn: the channel is closed.
    detail_ = theirs.error().message;
    return;
  }
  zygote.Attend({{"op", "warm"},
                 {"imports", nlohmann::json::parse(imports_, nullptr, false)},
                 {"dag_folders", dag_folders}},
                *theirs);
}

WarmProcess::~WarmProcess() { loop_.Remove(this); }

void WarmProcess::Fork(int child, const Sockets& sockets) {
  channel_.Send({{"op", "fork"}, {"child", child}, {"fds", sockets.size()}},
                {sockets.begin(), sockets.end()});
}

bool WarmProcess::Fresh() const {
  return state_ == State::kReady && channel_.fd() >= 0 && PathState::AllUnchanged(paths_);
}

PollSource::Request WarmProcess::Prepare() {
  const bool importing = state_ == State::kImporting;
  if (channel_.fd() < 0) return {-1, 0, importing ? Duration{0} : Duration{60000}};
  Request request{channel_.fd(), POLLIN, Duration{60000}};
  if (importing) {
    const auto left = std::chrono::ceil<Duration>(deadline_ - clock_.Now());
    request.wait = std::max(Duration{0}, left);
  }
  if (channel_.pending()) request.events |= POLLOUT;
  return request;
}

void WarmProcess::Ready(short revents) {
  if (channel_.fd() < 0) {
    if (state_ == State::kImporting) Lose();
    return;
  }
  if ((revents & POLLOUT) != 0) channel_.Flush();
  if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
    const bool open = channel_.Receive();
    nlohmann::json message;
    std::vector<int> fds;
    while (channel_.Pop(&message, &fds)) Handle(message, fds);
    if (!open || channel_.broken()) return Lose();
  }
  if (state_ == State::kImporting && clock_.Now() >= deadline_) {
    // It may be stuck where it does not see that its channel is closed.
    if (pid_ > 0) kill(pid_, SIGKILL);
    channel_.Close();
    Fail("timeout", "its import took too long");
  }
}

void WarmProcess::Handle(const nlohmann::json& message, const std::vector<int>& fds) {
  JsonFields fields(message, "a message of a warm process");
  const auto event = fields.Text("event");
  const bool importing = state_ == State::kImporting;
  if (event == "located") {
    listener_.located(message);
  } else if (event == "importing" && importing) {
    pid_ = fields.Int("pid", 0);
    index_ = static_cast<std::size_t>(fields.Int("index", 0, 0));
  } else if (event == "unfit" && importing) {
    index_ = static_cast<std::size_t>(fields.Int("index", 0, 0));
    Fail(fields.Text("reason", "unfit"), fields.Text("detail"));
  } else if (event == "ready" && importing) {
    OnReady(message);
  } else {
    return TellForkEvent(message, fds, &fork_listener_);
  }
  for (const int fd : fds) close(fd);
}

void WarmProcess::OnReady(const nlohmann::json& message) {
  JsonFields fields(message, "a warm process that is ready");
  pid_ = fields.Int("pid", 0);
  took_ = Duration{fields.Int("ms", 0, 0)};
  modules_ = fields.Text("modules");
  const auto* paths = fields.Array("paths");
  auto status = fields.status();
  if (paths != nullptr) {
    auto read = PathState::ReadAll(*paths);
    if (read) {
      paths_ = std::move(*read);
    } else if (status) {
      status = read.error();
    }
  }
  // Whether such a process is fresh nobody could tell.
  if (!status) return Fail("message", status.error().message);
  state_ = State::kReady;
  listener_.settled(*this);
}

void WarmProcess::Fail(const std::string& reason, const std::string& detail) {
  state_ = State::kFailed;
  reason_ = reason;
  detail_ = detail;
  listener_.settled(*this);
}

void WarmProcess::Lose() {
  channel_.Close();
  if (state_ == State::kImporting)
    return Fail("died", detail_.empty() ? "the process that imported ended" : detail_);
  if (state_ == State::kFailed) return;
  state_ = State::kFailed;
  reason_ = "died";
  fork_listener_.OnLost(*this);
}

}  // namespace zkexec
