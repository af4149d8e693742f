// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/template.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "worker/json_fields.h"

namespace zkexec {

bool Dependency::Unchanged() const {
  struct stat now{};
  if (stat(path.c_str(), &now) != 0) return false;
  constexpr std::int64_t kSecond = 1'000'000'000;
  return now.st_mtim.tv_sec * kSecond + now.st_mtim.tv_nsec == mtime_ns &&
         now.st_ctim.tv_sec * kSecond + now.st_ctim.tv_nsec == ctime_ns && now.st_size == size &&
         now.st_ino == inode;
}

Template::Template(Key key, EventLoop& loop, const Clock& clock, ForkServer::Listener& listener)
    : key_(std::move(key)), loop_(loop), clock_(clock), listener_(listener), born_(clock.Now()) {
  loop_.Add(this);
}

Template::~Template() { loop_.Remove(this); }

void Template::Begin(Zygote& zygote, const std::vector<std::string>& modules,
                     std::function<void(Template&)> parsed,
                     std::function<void(const std::vector<std::string>&)> learnt) {
  parsed_ = std::move(parsed);
  learnt_ = std::move(learnt);
  const auto theirs = channel_.OpenPair();
  if (!theirs) {
    // Told at the next turn: the channel is closed.
    detail_ = theirs.error().message;
    return;
  }
  nlohmann::json what{{"op", "template"},
                      {"bundle", key_.bundle},
                      {"version", nullptr},
                      {"path", key_.path},
                      {"modules", modules}};
  if (!key_.version.empty()) what["version"] = key_.version;
  if (!key_.version_data.empty())
    what["version_data"] = nlohmann::json::parse(key_.version_data, nullptr, false);
  zygote.Attend(what, *theirs);
}

void Template::Fork(int child, const Sockets& sockets) {
  channel_.Send({{"op", "fork"}, {"child", child}, {"fds", sockets.size()}},
                {sockets.begin(), sockets.end()});
}

bool Template::Fresh() const {
  return state_ == State::kReady && channel_.fd() >= 0 && Unchanged();
}

bool Template::Unchanged() const {
  return std::all_of(dependencies_.begin(), dependencies_.end(),
                     [](const Dependency& one) { return one.Unchanged(); });
}

PollSource::Request Template::Prepare() {
  if (channel_.fd() < 0) return {-1, 0, state_ == State::kParsing ? Duration{0} : Duration{60000}};
  Request request{channel_.fd(), POLLIN, Duration{60000}};
  if (channel_.pending()) request.events |= POLLOUT;
  return request;
}

void Template::Ready(short revents) {
  if (channel_.fd() < 0) {
    if (state_ == State::kParsing) Lose();
    return;
  }
  if ((revents & POLLOUT) != 0) channel_.Flush();
  if ((revents & (POLLIN | POLLHUP | POLLERR)) == 0) return;
  const bool open = channel_.Receive();
  nlohmann::json message;
  std::vector<int> fds;
  while (channel_.Pop(&message, &fds)) Handle(message, fds);
  if (!open || channel_.broken()) Lose();
}

void Template::Handle(const nlohmann::json& message, const std::vector<int>& fds) {
  JsonFields fields(message, "a message of a template");
  const auto event = fields.Text("event");
  if (event == "learnt") return learnt_(fields.Texts("modules"));
  if (event != "parsed") return TellForkEvent(message, fds, &listener_);
  for (const int fd : fds) close(fd);
  pid_ = fields.Int("pid", 0);
  auto reason = fields.Text("reason");
  auto detail = fields.Text("detail");
  const auto* dependencies = fields.Array("dependencies");
  auto status = fields.status();
  if (dependencies != nullptr) {
    for (const auto& one : *dependencies) {
      JsonFields file(one, "a dependency of a template");
      dependencies_.push_back({file.Text("path"), file.Integer("mtime_ns", 0),
                               file.Integer("ctime_ns", 0), file.Integer("size", 0),
                               static_cast<std::uint64_t>(file.Integer("inode", 0))});
      if (status) status = file.status();
    }
  }
  if (!status) {
    // Whether such a template is fresh nobody could tell.
    reason = "message";
    detail = status.error().message;
  }
  Settle(reason.empty() ? State::kReady : State::kFailed, reason, detail);
}

void Template::Settle(State state, const std::string& reason, const std::string& detail) {
  state_ = state;
  reason_ = reason;
  detail_ = detail;
  if (const auto parsed = std::exchange(parsed_, {})) parsed(*this);
}

void Template::Lose() {
  channel_.Close();
  if (state_ == State::kParsing) {
    return Settle(State::kFailed, "died", "the process that parses the DAG file ended");
  }
  state_ = State::kFailed;
  reason_ = "died";
  listener_.OnLost(*this);
}

}  // namespace zkexec
