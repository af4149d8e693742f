// SPDX-License-Identifier: Apache-2.0
// ImportScan: a process that reads a DAG file's source and tells which installed modules the
// file imports at its top (python/zk_executor/worker/import_scan.py).
//
// Threads:  the owner's loop. Lifetime: borrows the loop. The destructor closes the channel.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/event_loop.h"
#include "worker/channel.h"
#include "worker/supervise/path_state.h"
#include "worker/zygote.h"

namespace zkexec {

class ImportScan : public PollSource {
 public:
  struct Answer {
    std::string imports = "[]";    // JSON text, as warm processes take it
    std::vector<PathState> paths;  // as long as they are unchanged, so is the answer
    std::string reason;            // why there is no answer: a fixed word, and the same for people
    std::string detail;
  };
  using Done = std::function<void(Answer answer)>;

  // `done` is called once, never from within; it may delete this.
  ImportScan(Zygote& zygote, EventLoop& loop, const nlohmann::json& what, Done done);
  ~ImportScan() override;
  ImportScan(const ImportScan&) = delete;
  ImportScan& operator=(const ImportScan&) = delete;

  Request Prepare() override;
  void Ready(short revents) override;

 private:
  static Answer Read(const nlohmann::json& message);

  EventLoop& loop_;
  Channel channel_;
  Done done_;
};

}  // namespace zkexec
