// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task_process.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace zkexec {
namespace {

constexpr std::size_t kChunk = 65536;
// Of one stream in one turn: a task that never stops talking must not silence the others.
constexpr int kChunksPerTurn = 4;

int SendWithFd(int socket, const std::string& bytes, int fd) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return static_cast<int>(sendmsg(socket, &message, MSG_NOSIGNAL));
}

}  // namespace

TaskProcess::~TaskProcess() {
  listener_ = nullptr;
  for (auto& stream : streams_) Close(&stream);
  for (const auto& waiting : out_)
    if (waiting.fd >= 0) close(waiting.fd);
  if (pidfd_ >= 0) {
    if (exit_watch_ != 0) poller_.Forget(exit_watch_, pidfd_);
    close(pidfd_);
  }
}

Result<ForkServer::Sockets> TaskProcess::Open() {
  constexpr std::array kKinds{Kind::kRequests, Kind::kStdout, Kind::kStderr, Kind::kLog};
  ForkServer::Sockets theirs{-1, -1, -1, -1};
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      const std::string why = std::strerror(errno);
      for (const int fd : theirs)
        if (fd >= 0) close(fd);
      return Error{ErrorCode::kUnavailable, "cannot make a task's sockets: " + why};
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    auto& stream = streams_.emplace_back();
    stream.fd = ends[0];
    stream.kind = kKinds[i];
    theirs[i] = ends[1];
  }
  return theirs;
}

void TaskProcess::Attach(pid_t pid, int pidfd, std::function<void()> on_exit) {
  pid_ = pid;
  pidfd_ = pidfd;
  exit_watch_ = poller_.Add(pidfd_, EPOLLIN | EPOLLONESHOT,
                            [on_exit = std::move(on_exit)](std::uint32_t) { on_exit(); });
}

void TaskProcess::SetListener(Listener* listener) {
  listener_ = listener;
  for (auto& stream : streams_) Watch(&stream);
}

void TaskProcess::Watch(Stream* stream) {
  if (stream->fd < 0 || stream->watch != 0) return;
  stream->watch = poller_.Add(stream->fd, EPOLLIN, [this, stream](std::uint32_t events) {
    const auto call = [&] { OnReady(stream, events); };
    if (listener_ == nullptr) return call();
    listener_->Guard(std::ref(call));  // no copy, and so no memory, for each event
  });
}

void TaskProcess::OnReady(Stream* stream, std::uint32_t events) {
  if (stream->kind == Kind::kRequests && (events & EPOLLOUT) != 0) Flush();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || stream->fd < 0) return;
  bool open = true;
  for (int i = 0; open && i < kChunksPerTurn; ++i) {
    open = ReadSome(stream);
    if (errno == EAGAIN) break;
  }
  if (open || stream->fd < 0) return;
  Close(stream);
  if (listener_ != nullptr &&
      std::all_of(streams_.begin(), streams_.end(), [](const Stream& one) { return one.fd < 0; }))
    listener_->OnStreamsClosed();
}

bool TaskProcess::ReadSome(Stream* stream) {
  char chunk[kChunk];
  for (;;) {
    errno = 0;
    const auto got = recv(stream->fd, chunk, sizeof chunk, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      errno = EAGAIN;
      return true;
    }
    if (got <= 0) return false;
    Take(stream, {chunk, static_cast<std::size_t>(got)});
    errno = 0;
    return true;
  }
}

void TaskProcess::Take(Stream* stream, std::string_view bytes) {
  if (listener_ == nullptr) return;
  const auto take = [this, kind = stream->kind](std::string_view line) {
    if (kind == Kind::kLog) {
      listener_->OnLogEvent(line);
    } else {
      listener_->OnText(line, kind == Kind::kStderr);
    }
  };
  if (stream->kind != Kind::kRequests) return stream->lines.Push(bytes, take);
  if (broken_) return;
  frames_.Push(bytes);
  std::string payload;
  while (frames_.Pop(&payload)) listener_->OnRequest(std::move(payload));
  if (frames_.broken()) {
    broken_ = true;
    listener_->OnBrokenChannel();
  }
}

void TaskProcess::Close(Stream* stream) {
  if (stream->fd < 0) return;
  if (listener_ != nullptr && stream->kind != Kind::kRequests) {
    stream->lines.Finish([this, kind = stream->kind](std::string_view line) {
      if (kind == Kind::kLog) {
        listener_->OnLogEvent(line);
      } else {
        listener_->OnText(line, kind == Kind::kStderr);
      }
    });
  }
  if (stream->watch != 0) poller_.Forget(stream->watch, stream->fd);
  close(stream->fd);
  stream->fd = -1;
  stream->watch = 0;
}

void TaskProcess::CloseStreams() {
  for (auto& stream : streams_) {
    while (stream.fd >= 0 && stream.kind != Kind::kRequests && ReadSome(&stream) &&
           errno != EAGAIN) {
    }
    Close(&stream);
  }
}

void TaskProcess::Write(const std::string& frame) {
  out_.push_back({frame, -1});
  Flush();
}

void TaskProcess::SendLoggingChannel(std::int64_t id) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    const auto refusal =
        ResponseFrame(id, "", R"({"error":"GENERIC_ERROR","detail":null,"type":"ErrorResponse"})");
    return Write(*refusal);
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  auto& stream = streams_.emplace_back();
  stream.fd = ends[0];
  stream.kind = Kind::kLog;
  if (listener_ != nullptr) Watch(&stream);
  // The number means nothing to the other side, which takes the one that it receives.
  const auto frame =
      ResponseFrame(id, "{\"fds\":[" + std::to_string(ends[1]) + "],\"type\":\"SentFDs\"}", "");
  out_.push_back({*frame, ends[1]});
  Flush();
}

void TaskProcess::Flush() {
  auto& stream = streams_.front();
  while (!out_.empty() && stream.fd >= 0) {
    auto& first = out_.front();
    const auto sent = first.fd >= 0
                          ? SendWithFd(stream.fd, first.bytes, first.fd)
                          : send(stream.fd, first.bytes.data(), first.bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (sent < 0) {  // the process is gone; its end is told elsewhere
      for (const auto& waiting : out_)
        if (waiting.fd >= 0) close(waiting.fd);
      out_.clear();
      break;
    }
    if (first.fd >= 0) close(std::exchange(first.fd, -1));
    first.bytes.erase(0, static_cast<std::size_t>(sent));
    if (first.bytes.empty()) out_.pop_front();
  }
  if (stream.watch != 0)
    poller_.Change(stream.watch, stream.fd, out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void TaskProcess::Signal(int number, bool whole_group) {
  if (pid_ <= 0) return;
  // Its group has its number; it is not anybody else's while the process is not reaped.
  if (whole_group && !reaped_ && killpg(pid_, number) == 0) return;
  if (pidfd_ >= 0) syscall(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0);
}

}  // namespace zkexec
