// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/python_warm_process.h"

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/json_fields.h"

namespace zkexec {

PythonWarmProcess::PythonWarmProcess(const std::string& imports, const Options& options,
                                     Zygote& zygote, EventLoop& loop, const Clock& clock,
                                     ForkServer::Listener& fork_listener, Listener listener)
    : loop_(loop),
      clock_(clock),
      fork_listener_(fork_listener),
      listener_(std::move(listener)),
      deadline_(clock.Now() + options.timeout) {
  loop_.Add(this);
  const auto theirs = channel_.OpenPair();
  if (!theirs) {
    // Told at the next turn: the channel is closed.
    facts_.detail = theirs.error().message;
    return;
  }
  zygote.Attend({{"op", "warm"},
                 {"imports", nlohmann::json::parse(imports, nullptr, false)},
                 {"dag_folders", options.dag_folders}},
                *theirs);
}

PythonWarmProcess::~PythonWarmProcess() { loop_.Remove(this); }

void PythonWarmProcess::Fork(int child, const Sockets& sockets) {
  channel_.Send({{"op", "fork"}, {"child", child}, {"fds", sockets.size()}},
                {sockets.begin(), sockets.end()});
}

bool PythonWarmProcess::Fresh() const {
  return facts_.state == State::kReady && channel_.fd() >= 0 && PathState::AllUnchanged(paths_);
}

PollSource::Request PythonWarmProcess::Prepare() {
  const bool importing = facts_.state == State::kImporting;
  if (channel_.fd() < 0) return {-1, 0, importing ? Duration{0} : Duration{60000}};
  Request request{channel_.fd(), POLLIN, Duration{60000}};
  if (importing) {
    const auto left = std::chrono::ceil<Duration>(deadline_ - clock_.Now());
    request.wait = std::max(Duration{0}, left);
  }
  if (channel_.pending()) request.events |= POLLOUT;
  return request;
}

void PythonWarmProcess::Ready(short revents) {
  if (channel_.fd() < 0) {
    if (facts_.state == State::kImporting) Lose();
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
  if (facts_.state == State::kImporting && clock_.Now() >= deadline_) {
    // It may be stuck where it does not see that its channel is closed.
    if (facts_.pid > 0) kill(facts_.pid, SIGKILL);
    channel_.Close();
    Fail("timeout", "its import took too long");
  }
}

void PythonWarmProcess::Handle(const nlohmann::json& message, const std::vector<int>& fds) {
  JsonFields fields(message, "a message of a warm process");
  const auto event = fields.Text("event");
  const bool importing = facts_.state == State::kImporting;
  if (event == "located") {
    listener_.located(message);
  } else if (event == "importing" && importing) {
    facts_.pid = fields.Int("pid", 0);
    facts_.index = static_cast<std::size_t>(fields.Int("index", 0, 0));
  } else if (event == "unfit" && importing) {
    facts_.index = static_cast<std::size_t>(fields.Int("index", 0, 0));
    Fail(fields.Text("reason", "unfit"), fields.Text("detail"));
  } else if (event == "ready" && importing) {
    OnReady(message);
  } else {
    return TellForkEvent(message, fds, &fork_listener_);
  }
  for (const int fd : fds) close(fd);
}

void PythonWarmProcess::OnReady(const nlohmann::json& message) {
  JsonFields fields(message, "a warm process that is ready");
  facts_.pid = fields.Int("pid", 0);
  facts_.took = Duration{fields.Int("ms", 0, 0)};
  facts_.modules = fields.Text("modules");
  auto paths = PathState::ReadAll(fields);
  // Whether such a process is fresh nobody could tell.
  if (!paths) return Fail("message", paths.error().message);
  paths_ = std::move(*paths);
  facts_.state = State::kReady;
  listener_.settled();
}

void PythonWarmProcess::Fail(const std::string& reason, const std::string& detail) {
  facts_.state = State::kFailed;
  facts_.reason = reason;
  facts_.detail = detail;
  listener_.settled();
}

void PythonWarmProcess::Lose() {
  channel_.Close();
  if (facts_.state == State::kImporting)
    return Fail("died", facts_.detail.empty() ? "the process that imported ended" : facts_.detail);
  if (facts_.state == State::kFailed) return;
  facts_.state = State::kFailed;
  facts_.reason = "died";
  fork_listener_.OnLost(*this);
}

}  // namespace zkexec
