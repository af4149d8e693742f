// SPDX-License-Identifier: Apache-2.0
// The agent's operators: what arrives in control/<worker>, obeyed in the order of
// its sequence. See proto::Command.
//
// From the listing of a command to the end of the last one nothing is claimed, so
// that whoever sees a "drain" confirmed sees no later claim.
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "common/log.h"
#include "common/tree.h"
#include "worker/agent.h"

namespace zkexec {
namespace {

constexpr int kQueuesMax = 256;
constexpr std::size_t kQueueBytesMax = 256;
constexpr std::size_t kCommentBytesMax = 1000;
// After an operation on our commands failed.
constexpr Duration kLookAgain{500};

bool IsCommandName(const std::string& name) {
  const std::string prefix = kCommandPrefix;
  return name.size() > prefix.size() && name.starts_with(prefix) &&
         std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()), name.end(),
                     [](char c) { return c >= '0' && c <= '9'; });
}

// For a line of the log: what others wrote must not look like a line of ours.
std::string Printable(std::string text) {
  if (text.size() > 200) text.resize(200);
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == 0x7f) c = '?';
  }
  return text;
}

std::optional<std::string> WhyBad(const proto::Command& command, int slots_max) {
  const auto& verb = command.verb();
  if (command.comment().size() > kCommentBytesMax) return "its comment is too long";
  if (verb == "drain" || verb == "maintenance" || verb == "resume") return {};
  if (verb == "concurrency") {
    if (command.slots() >= 1 && command.slots() <= static_cast<std::uint32_t>(slots_max)) return {};
    return "slots must be 1 to " + std::to_string(slots_max) + ", not " +
           std::to_string(command.slots());
  }
  if (verb != "queues_add" && verb != "queues_remove") {
    return "unknown verb '" + Printable(verb) + "'";
  }
  if (command.queues().empty()) return "it names no queue";
  if (command.queues_size() > kQueuesMax) return "it names too many queues";
  for (const auto& queue : command.queues()) {
    if (queue.empty() || queue.size() > kQueueBytesMax || queue != Printable(queue)) {
      return "no queue can have the name '" + Printable(queue) + "'";
    }
  }
  return {};
}

std::string Joined(const std::vector<std::string>& names) {
  std::string all;
  for (const auto& name : names) all += (all.empty() ? "" : ",") + name;
  return all;
}

bool OutcomeUnknown(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kSessionExpired;
}

}  // namespace

void Agent::ListControl() {
  if (obeying_) {
    list_again_ = true;
    return;
  }
  const auto dir = layout_.Control(options_.worker);
  zk_.Children(dir, Watch::kYes, [this, dir](Result<std::vector<std::string>> names) {
    if (!names || !ready_) return;  // the next look around, or the next session, asks again
    if (obeying_) {
      list_again_ = true;
      return;
    }
    std::sort(names->begin(), names->end());
    for (const auto& name : *names) {
      const auto path = dir + "/" + name;
      if (name.starts_with(kKillPrefix)) {
        Revoke(name.substr(sizeof kKillPrefix - 1));
        zk_.Multi({Op::Remove(path)}, [](Result<std::vector<OpResult>>) {});
      } else if (IsCommandName(name)) {
        commands_.push_back(name);
      } else if (refused_.insert(path).second) {
        spdlog::error("not a command, left where it is path={}", Printable(path));
        observer_.OnRefused("bad_command");
      }
    }
    // Withdrawn while its reply was lost, perhaps: the node then says what was before.
    if (std::exchange(in_doubt_, false)) UpdateNode();
    if (commands_.empty()) return;
    obeying_ = true;
    ObeyNext();
  });
}

void Agent::StopObeying() {
  obeying_ = false;
  list_again_ = false;
  commands_.clear();
  next_refresh_ = std::min(next_refresh_, clock_.Now() + kLookAgain);
}

void Agent::ObeyNext() {
  if (commands_.empty()) {
    obeying_ = false;
    if (std::exchange(list_again_, false)) ListControl();
    return Claim();
  }
  const auto path = layout_.Control(options_.worker) + "/" + commands_.front();
  commands_.pop_front();
  zk_.Get(path, Watch::kNo, [this, path](Result<NodeData> node) {
    if (!obeying_) return;
    if (!node) {
      if (node.error().code == ErrorCode::kNotFound) return ObeyNext();  // withdrawn
      return StopObeying();
    }
    proto::Command command;
    if (!command.ParseFromString(node->data)) return Reject(path, "its content is not a command");
    if (const auto why = WhyBad(command, options_.slots_max)) return Reject(path, *why);
    Obey(path, command);
  });
}

// Obeying a command a second time changes nothing: its first reply may be lost.
void Agent::Obey(const std::string& path, const proto::Command& command) {
  auto next = controls_;
  const auto& verb = command.verb();
  if (verb == "drain" || verb == "maintenance") {
    next.pause = verb == "drain" ? "draining" : verb;
    next.comment = command.comment();
  } else if (verb == "resume" && draining_) {
    spdlog::warn("resume ignored: this process ends after SIGTERM path={} by=\"{}\"", path,
                 Printable(command.by()));
  } else if (verb == "resume") {
    next.pause.clear();
    next.comment.clear();
  } else if (verb == "concurrency") {
    next.slots = static_cast<int>(command.slots());
  } else if (verb == "queues_remove") {
    for (const auto& queue : command.queues()) std::erase(next.queues, queue);
  } else {
    for (const auto& queue : command.queues()) {
      if (std::find(next.queues.begin(), next.queues.end(), queue) == next.queues.end()) {
        next.queues.push_back(queue);
      }
    }
    if (next.queues.size() > static_cast<std::size_t>(kQueuesMax)) {
      return Reject(path, "a worker serves 256 queues at most");
    }
    // The partitions exist before anyone is told to put something there.
    const auto left = std::make_shared<int>(command.queues_size());
    const auto failed = std::make_shared<std::optional<Error>>();
    for (const auto& queue : command.queues()) {
      EnsureQueue(zk_, layout_, queue, fleet_.partitions(),
                  [this, path, command, next, left, failed](Status made) {
                    if (!made && !*failed) *failed = made.error();
                    if (--*left > 0 || !obeying_) return;
                    if (!*failed) return Confirm(path, command, next);
                    if (OutcomeUnknown(**failed)) return StopObeying();
                    Reject(path, (*failed)->message);
                  });
    }
    return;
  }
  Confirm(path, command, next);
}

void Agent::Confirm(const std::string& path, const proto::Command& command, const Controls& next) {
  zk_.Multi(
      {Op::Set(layout_.Worker(options_.worker), Self(next).SerializeAsString()), Op::Remove(path)},
      [this, path, command, next](Result<std::vector<OpResult>> written) {
        if (written) {
          spdlog::info("command obeyed path={} verb={} by=\"{}\" state={} slots={} queues=\"{}\"",
                       path, command.verb(), Printable(command.by()), Self(next).state(),
                       next.slots, Joined(next.queues));
          Adopt(next);
          return ObeyNext();
        }
        const auto& error = written.error();
        if (OutcomeUnknown(error)) {
          // Whoever sent it may have been told that it is done. If it is not, it is
          // still there, and is obeyed again.
          Adopt(next);
          in_doubt_ = true;
          return StopObeying();
        }
        const bool withdrawn = error.code == ErrorCode::kNotFound && error.failed_op == 1;
        if (!withdrawn && refused_.insert(path).second) {
          spdlog::error("command cannot be confirmed, not obeyed path={} error=\"{}\"", path,
                        error.message);
          observer_.OnRefused("bad_command");
        }
        if (obeying_) ObeyNext();
      });
}

void Agent::Adopt(const Controls& next) {
  const bool look =
      !next.pause.empty() || !controls_.pause.empty() || next.queues != controls_.queues;
  controls_ = next;
  if (look && ready_) lookout_.Start(fleet_.partitions(), controls_.queues);
}

// Taken away, so that it isn't met again.
void Agent::Reject(const std::string& path, const std::string& why) {
  if (refused_.insert(path).second) {
    spdlog::error("command refused path={} error=\"{}\"", path, why);
    observer_.OnRefused("bad_command");
  }
  zk_.Multi({Op::Remove(path)}, [this](Result<std::vector<OpResult>>) {
    if (obeying_) ObeyNext();
  });
}

}  // namespace zkexec
