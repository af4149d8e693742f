// SPDX-License-Identifier: Apache-2.0
// Helper: a Python process that answers one task's requests with Airflow's own handlers:
// those that our table of routes does not have (python/zk_executor/worker/helper.py).
//
//   to it:   {"token"} as JSON, then the request's payload
//   from it: {"masks": [...]} as JSON, then the response's payload
//
// Threads:  the owner's loop. Lifetime: borrows the poller; the process ends with it.
#pragma once

#include <deque>
#include <functional>
#include <string>

#include "worker/supervise/poller.h"
#include "worker/supervise/run_fence.h"
#include "worker/supervise/wire.h"

namespace zkexec {

class Helper {
 public:
  // Gets the response frame and what is to be masked (a JSON array), or nothing if the
  // helper died.
  using Answered = std::function<void(const std::string& frame, const std::string& masks)>;

  Helper(Poller& poller, RunFence& fence) : poller_(poller), fence_(fence) {}
  ~Helper();
  Helper(const Helper&) = delete;
  Helper& operator=(const Helper&) = delete;

  // Returns the process's end of the socket; -1 if there is none to be had.
  int Open();
  void Ask(const std::string& token, const std::string& payload, Answered answered);

 private:
  void OnReady(std::uint32_t events);
  void Flush();
  void Close();
  void Fail();

  Poller& poller_;
  RunFence& fence_;  // of its run
  int fd_ = -1;
  Poller::Watch watch_ = 0;
  std::string out_;
  FrameReader in_;
  std::string masks_;
  bool masks_read_ = false;
  std::deque<Answered> waiting_;
};

}  // namespace zkexec
