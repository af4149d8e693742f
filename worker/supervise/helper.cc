// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/helper.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace zkexec {
namespace {

std::string Framed(std::string_view bytes) {
  std::string frame;
  for (int shift = 24; shift >= 0; shift -= 8)
    frame += static_cast<char>(bytes.size() >> shift & 0xff);
  return frame + std::string(bytes);
}

}  // namespace

Helper::~Helper() { Close(); }

void Helper::Close() {
  if (fd_ < 0) return;
  poller_.Forget(watch_, fd_);
  close(std::exchange(fd_, -1));
}

int Helper::Open() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  fd_ = ends[0];
  watch_ = poller_.Add(fd_, EPOLLIN, [this](std::uint32_t events) {
    fence_.Run([&] { OnReady(events); });
    if (fence_.down()) Close();
  });
  return ends[1];
}

void Helper::Ask(const std::string& token, const std::string& payload, Answered answered) {
  if (fd_ < 0) return answered("", "");
  waiting_.push_back(std::move(answered));
  out_ += Framed("{\"token\":" + JsonString(token) + "}") + Framed(payload);
  Flush();
}

void Helper::Flush() {
  while (!out_.empty()) {
    const auto sent = send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) break;
    out_.erase(0, static_cast<std::size_t>(sent));
  }
  poller_.Change(watch_, fd_, out_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

void Helper::OnReady(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) Flush();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  char chunk[65536];
  const auto got = recv(fd_, chunk, sizeof chunk, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return Fail();
  in_.Push({chunk, static_cast<std::size_t>(got)});
  std::string payload;
  while (in_.Pop(&payload)) {
    if (!std::exchange(masks_read_, !masks_read_)) {
      masks_ = std::move(payload);
      continue;
    }
    if (waiting_.empty()) continue;
    const auto answered = std::move(waiting_.front());
    waiting_.pop_front();
    answered(Framed(payload), masks_);
  }
}

void Helper::Fail() {
  Close();
  for (const auto& answered : std::exchange(waiting_, {})) answered("", "");
}

}  // namespace zkexec
