// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/import_scan.h"

#include <poll.h>
#include <unistd.h>

#include <utility>

#include "worker/json_fields.h"

namespace zkexec {

ImportScan::ImportScan(Zygote& zygote, EventLoop& loop, const nlohmann::json& what, Done done)
    : loop_(loop), done_(std::move(done)) {
  loop_.Add(this);
  const auto theirs = channel_.OpenPair();
  if (!theirs) return;  // told at the next turn: the channel is closed
  auto message = what;
  message["op"] = "scan";
  zygote.Attend(message, *theirs);
}

ImportScan::~ImportScan() { loop_.Remove(this); }

PollSource::Request ImportScan::Prepare() {
  if (!done_) return {-1, 0, Duration{60000}};
  if (channel_.fd() < 0) return {-1, 0, Duration{0}};
  return {channel_.fd(), POLLIN, Duration{60000}};
}

void ImportScan::Ready(short revents) {
  if (!done_ || (channel_.fd() >= 0 && (revents & (POLLIN | POLLHUP | POLLERR)) == 0)) return;
  const bool open = channel_.fd() >= 0 && channel_.Receive();
  nlohmann::json message;
  std::vector<int> fds;
  Answer answer;
  if (channel_.Pop(&message, &fds)) {
    answer = Read(message);
  } else if (open && !channel_.broken()) {
    return;
  } else {
    answer.reason = "died";
    answer.detail = "the process that read the file ended";
  }
  for (const int fd : fds) close(fd);
  std::exchange(done_, {})(std::move(answer));
}

ImportScan::Answer ImportScan::Read(const nlohmann::json& message) {
  Answer answer;
  JsonFields fields(message, "the answer of a scan");
  answer.reason = fields.Text("reason");
  answer.detail = fields.Text("detail");
  const auto* imports = fields.Array("imports");
  auto paths = PathState::ReadAll(fields);
  if (!paths) return {"[]", {}, "message", paths.error().message};
  if (imports != nullptr) answer.imports = imports->dump();
  answer.paths = std::move(*paths);
  return answer;
}

}  // namespace zkexec
