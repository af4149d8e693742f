// SPDX-License-Identifier: Apache-2.0
// Channel: one end of a stream socket between zk-worker and a Python process of its own.
// JSON objects, each behind four bytes of length (big endian). A message that carries
// descriptors says how many in "fds".
//
// Threads: the owner's loop. Lifetime: owns its descriptor and those that wait to be sent
// or taken.
#pragma once

#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/result.h"

namespace zkexec {

class Channel {
 public:
  static constexpr std::size_t kMessageBytesMax = 64u << 20;

  Channel() = default;
  ~Channel() { Close(); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // A pair of connected ends; ours is kept, the other's is returned. Blocking is the
  // other's business; ours never blocks.
  Result<int> OpenPair();
  void Close();
  int fd() const { return fd_; }

  // `fds` are ours to close from now on.
  void Send(const nlohmann::json& message, std::vector<int> fds = {});
  // Whether Flush() has something to do when the socket is writable.
  bool pending() const { return !out_.empty(); }
  void Flush();
  // Reads what is there. False: the other end is closed, or talks nonsense.
  bool Receive();
  // The next message that is complete; its descriptors, if any, are the caller's.
  bool Pop(nlohmann::json* message, std::vector<int>* fds);
  // A message did not say how many descriptors it has: nothing more is read.
  bool broken() const { return broken_; }

 private:
  struct Outgoing {
    std::string bytes;
    std::vector<int> fds;
  };

  int fd_ = -1;
  std::string in_;
  std::deque<int> in_fds_;
  std::deque<Outgoing> out_;
  bool broken_ = false;
};

}  // namespace zkexec
