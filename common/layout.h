// SPDX-License-Identifier: Apache-2.0
// Layout: every znode path in the project, and every name that carries meaning.
//
// <root>/<team>/
//   meta                                    protocol version, partitions per queue
//   workers/<worker>                        ephemeral; one per incarnation of a worker
//   schedulers/<scheduler>                  ephemeral; one per executor instance
//   producers/<scheduler>                   counter; every placing multi moves it by one
//   queues/<queue>/<partition>/<band>-<enqueued>-<dispatch>   the workload, waiting
//   running/<queue>/<partition>/<dispatch>                    the workload, held
//     claim-<guid>-<seq>                    ephemeral sequential; its holder is alive
//   results/<scheduler>/<dispatch>=<outcome>                  the name is the result
//   control/<worker>                        persistent; gone means that this incarnation is over
//     kill-<dispatch>                       end a run
//     command-<seq>                         persistent sequential; see proto::Command
//
// Pure; immutable; safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"

namespace zkexec {

inline constexpr std::uint32_t kProtocolVersion = 1;

class Layout {
 public:
  // `root` starts with '/', without a slash at the end; `team` is one path component.
  // Errors: kInvalid.
  static Result<Layout> Make(const std::string& root, const std::string& team);

  const std::string& base() const { return base_; }
  std::string Meta() const { return base_ + "/meta"; }
  std::string Workers() const { return base_ + "/workers"; }
  std::string Worker(const std::string& worker) const { return Workers() + "/" + worker; }
  std::string Schedulers() const { return base_ + "/schedulers"; }
  std::string Scheduler(const std::string& name) const { return Schedulers() + "/" + name; }
  std::string Producers() const { return base_ + "/producers"; }
  std::string Producer(const std::string& scheduler) const { return Producers() + "/" + scheduler; }
  std::string Queues() const { return base_ + "/queues"; }
  std::string Queue(const std::string& queue) const;
  std::string Partition(const std::string& queue, int partition) const;
  std::string Running() const { return base_ + "/running"; }
  std::string RunningQueue(const std::string& queue) const;
  std::string RunningPartition(const std::string& queue, int partition) const;
  std::string RunningNode(const std::string& queue, int partition,
                          const std::string& dispatch) const;
  std::string ClaimPrefix(const std::string& queue, int partition, const std::string& dispatch,
                          const std::string& guid) const;
  std::string Results() const { return base_ + "/results"; }
  std::string ResultDir(const std::string& scheduler) const { return Results() + "/" + scheduler; }
  std::string ResultNode(const std::string& scheduler, const std::string& dispatch,
                         const std::string& outcome) const;
  std::string Controls() const { return base_ + "/control"; }
  std::string Control(const std::string& worker) const { return Controls() + "/" + worker; }
  std::string KillNode(const std::string& worker, const std::string& dispatch) const;
  std::string CommandPrefix(const std::string& worker) const;

 private:
  explicit Layout(std::string base) : base_(std::move(base)) {}
  std::string base_;
};

// The name of a waiting entry. Sorting names sorts by priority (high first),
// then by age (old first).
struct EntryName {
  int priority = 0;
  std::int64_t enqueued_unix_ms = 0;
  std::string dispatch;

  std::string Encode() const;
  static std::optional<EntryName> Decode(const std::string& name);
};

// The name of a result: "<dispatch>=<outcome>".
struct ResultName {
  std::string dispatch;
  std::string outcome;

  static std::optional<ResultName> Decode(const std::string& name);
};

// What a child of control/<worker> is named: "kill-<dispatch>" or "command-<seq>".
inline constexpr char kKillPrefix[] = "kill-";
inline constexpr char kCommandPrefix[] = "command-";
// The prefix of the claims that one incarnation of a worker makes.
std::string ClaimNamePrefix(const std::string& guid);

// Names that people choose (queues, workers, teams) as one path component:
// everything but [A-Za-z0-9_.-] is written %xx, and so are "." and "..".
std::string EncodeComponent(const std::string& name);
std::string DecodeComponent(const std::string& component);

// A dispatch id that can stand in a path: 1 to 128 of [A-Za-z0-9_-].
bool IsDispatchId(const std::string& id);

}  // namespace zkexec
