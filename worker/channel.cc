// SPDX-License-Identifier: Apache-2.0
#include "worker/channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "worker/json_fields.h"

namespace zkexec {
namespace {

constexpr std::size_t kFdsMax = 16;  // in one message

ssize_t SendSome(int fd, const std::string& bytes, const std::vector<int>& fds) {
  if (fds.empty()) return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  auto* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

Result<int> Channel::OpenPair() {
  Close();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Error{ErrorCode::kInternal, std::string("socketpair: ") + std::strerror(errno)};
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  fd_ = ends[0];
  return ends[1];
}

void Channel::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  for (const int fd : in_fds_) close(fd);
  for (const auto& waiting : out_)
    for (const int fd : waiting.fds) close(fd);
  in_.clear();
  in_fds_.clear();
  out_.clear();
  broken_ = false;
}

void Channel::Send(const nlohmann::json& message, std::vector<int> fds) {
  if (fd_ < 0 || fds.size() > kFdsMax) {
    for (const int fd : fds) close(fd);
    return;
  }
  // What is not UTF-8 can't come from Airflow's JSON; it must not stop us either.
  const auto body = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string bytes;
  const auto size = static_cast<std::uint32_t>(body.size());
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>((size >> shift) & 0xff);
  out_.push_back({bytes + body, std::move(fds)});
  Flush();
}

void Channel::Flush() {
  while (!out_.empty()) {
    auto& first = out_.front();
    const auto sent = SendSome(fd_, first.bytes, first.fds);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return;  // full: when writable again. Closed: seen when reading.
    }
    for (const int fd : std::exchange(first.fds, {})) close(fd);  // they went with the first byte
    first.bytes.erase(0, static_cast<std::size_t>(sent));
    if (first.bytes.empty()) out_.pop_front();
  }
}

bool Channel::Receive() {
  char chunk[65536];
  for (;;) {
    iovec part{chunk, sizeof chunk};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const auto got = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (got <= 0) return false;
    for (auto* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const auto count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
        in_fds_.push_back(fd);
      }
    }
    in_.append(chunk, static_cast<std::size_t>(got));
    if (in_.size() > kMessageBytesMax + 4) return false;
  }
}

bool Channel::Pop(nlohmann::json* message, std::vector<int>* fds) {
  while (in_.size() >= 4) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) size = size << 8 | static_cast<unsigned char>(in_[i]);
    if (in_.size() < 4 + size) return false;
    *message = nlohmann::json::parse(in_.substr(4, size), nullptr, false);
    in_.erase(0, 4 + size);
    if (!message->is_object()) continue;
    fds->clear();
    JsonFields fields(*message, "a message");
    auto count = fields.Int("fds", 0, 0, static_cast<int>(kFdsMax));
    if (!fields.status()) {
      // Which descriptors belong to what comes behind it cannot be told any more.
      broken_ = true;
      in_.clear();
      return false;
    }
    for (; count > 0 && !in_fds_.empty(); --count) {
      fds->push_back(in_fds_.front());
      in_fds_.pop_front();
    }
    return true;
  }
  return false;
}

}  // namespace zkexec
