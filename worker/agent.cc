// SPDX-License-Identifier: Apache-2.0
// The agent's life: sessions, runs, results, drain. Claiming is in claiming.cc.
#include "worker/agent.h"

#include <algorithm>
#include <utility>

#include "common/ids.h"
#include "common/log.h"
#include "common/tree.h"

namespace zkexec {
namespace {

constexpr Duration kBeginAgain{1000};
constexpr std::size_t kInfoBytesMax = 2000;

}  // namespace

Agent::Agent(Options options, Coordinator& zk, const Layout& layout, Launcher& launcher,
             const Clock& clock, const Sealer& sealer, Observer& observer)
    : options_(std::move(options)),
      zk_(zk),
      layout_(layout),
      launcher_(launcher),
      clock_(clock),
      sealer_(sealer),
      observer_(observer),
      fleet_(zk, layout, {}),
      guid_(RandomHex()),
      started_unix_ms_(clock.UnixMs()),
      controls_{options_.slots, options_.queues, "", ""} {
  zk_.SetListener(this);
}

Agent::~Agent() { zk_.SetListener(nullptr); }

int Agent::slots_used() const {
  int used = 0;
  for (const auto& [id, run] : runs_) {
    if (run.state != State::kFinishing) used += run.slots;
  }
  return used;
}

proto::Worker Agent::Self(const Controls& controls) const {
  proto::Worker self;
  self.set_name(options_.worker);
  self.set_host(options_.host);
  self.set_pid(options_.pid);
  self.set_state(draining_ ? "draining" : controls.pause.empty() ? "active" : controls.pause);
  self.set_comment(controls.comment);
  for (const auto& queue : controls.queues) self.add_queues(queue);
  self.set_slots(static_cast<std::uint32_t>(controls.slots));
  self.set_version(options_.version);
  self.set_http_port(static_cast<std::uint32_t>(options_.http_port));
  self.set_started_unix_ms(started_unix_ms_);
  self.set_protocol_version(kProtocolVersion);
  return self;
}

void Agent::OnSession(SessionState state) {
  if (state == SessionState::kConnected) {
    if (!ready_) Begin();
    return;
  }
  if (state != SessionState::kExpired && state != SessionState::kAuthFailed) return;
  spdlog::warn("session ended; runs go on state={} runs={}", ToString(state), runs_.size());
  ready_ = false;
  claiming_ = false;
  StopObeying();
  backlog_.Clear();
  for (auto& [id, run] : runs_) {
    run.claim.clear();
    run.busy = false;
  }
}

void Agent::Fail(const Error& error) {
  beginning_ = false;
  begin_again_at_ = clock_.Now() + kBeginAgain;
  if (last_error_ != error.message) {
    spdlog::error("worker cannot use ZooKeeper error=\"{}\"", error.message);
  }
  last_error_ = error.message;
}

void Agent::Begin() {
  if (beginning_) return;
  beginning_ = true;
  EnsureTree(zk_, layout_, options_.partitions, [this](Result<int> tree) {
    if (!tree) return Fail(tree.error());
    const int partitions = *tree;
    EnsureNodes(zk_, {layout_.Control(options_.worker)}, [this, partitions](Status made) {
      if (!made) return Fail(made.error());
      const auto queues = controls_.queues;
      if (queues.empty()) return Register(partitions);
      // Queues one after the other on one session: the last answer covers all.
      for (std::size_t i = 0; i < queues.size(); ++i) {
        const bool last = i + 1 == queues.size();
        EnsureQueue(zk_, layout_, queues[i], partitions, [this, partitions, last](Status queue) {
          if (!queue) return Fail(queue.error());
          if (last) Register(partitions);
        });
      }
    });
  });
}

void Agent::Register(int partitions) {
  zk_.Multi({Op::Create(layout_.Worker(options_.worker), Self().SerializeAsString(),
                        NodeMode::kEphemeral)},
            [this, partitions](Result<std::vector<OpResult>> created) {
              // Ours of a moment ago, whose reply was lost: names are unique to an incarnation.
              if (!created && created.error().code != ErrorCode::kAlreadyExists) {
                return Fail(created.error());
              }
              beginning_ = false;
              ready_ = true;
              last_error_.clear();
              partitions_ = partitions;
              spdlog::info("registered worker={} root={} slots={} queues={}", options_.worker,
                           layout_.base(), controls_.slots, controls_.queues.size());
              // It may hold what we were before a drain that began meanwhile.
              if (!created || draining_) UpdateNode();
              std::vector<std::string> held;
              for (const auto& [id, run] : runs_) held.push_back(id);
              for (const auto& id : held) ClaimAgain(id);
              fleet_.Start(partitions);
              ListControl();
              Relist();
            });
}

void Agent::OnChanged(const std::string& path) {
  if (!ready_) return;
  if (path == layout_.Workers() || path.starts_with(layout_.Workers() + "/")) {
    fleet_.Refresh();
    return;
  }
  if (path == layout_.Control(options_.worker)) return ListControl();
  for (const auto& queue : controls_.queues) {
    const auto parent = layout_.Queue(queue) + "/";
    if (path.starts_with(parent)) {
      return ListPartition(queue, std::atoi(path.c_str() + parent.size()));
    }
  }
}

void Agent::Tick() {
  const auto now = clock_.Now();
  EscalateKills();
  if (draining_ && !ending_ && now >= drain_until_) {
    ending_ = true;
    if (!runs_.empty()) {
      spdlog::warn("drain time is over; ending tasks runs={}", runs_.size());
    }
    std::vector<std::string> ids;
    for (const auto& [id, run] : runs_) ids.push_back(id);
    for (const auto& id : ids) Kill(id, Launcher::Signal::kTerminate);
  }
  if (!ready_) {
    if (zk_.state() == SessionState::kConnected && now >= begin_again_at_) Begin();
    return;
  }
  if (now >= next_relist_) {
    ListControl();
    Relist();
  }
  std::vector<std::string> due;
  for (const auto& [id, run] : runs_) {
    const bool held = run.state == State::kRunning && (!run.claim.empty() || run.abandoned);
    if (!run.busy && !held) due.push_back(id);
  }
  for (const auto& id : due) {
    const auto& run = runs_.at(id);
    if (run.state == State::kFinishing) {
      Finish(id);
    } else if (run.state == State::kInDoubt) {
      Settle(id);
    } else if (run.claim.empty()) {
      ClaimAgain(id);
    }
  }
  StartDue();
  Claim();
}

void Agent::StartDue() {
  if (zk_.state() != SessionState::kConnected || clock_.Now() >= zk_.lease_until()) return;
  for (auto& [id, run] : runs_) {
    if (run.state != State::kClaimed || run.claim.empty()) continue;
    run.started = clock_.Now();
    if (run.kill_asked) {
      run.state = State::kFinishing;
      // What a drain hands back unstarted is placed again, and costs no try.
      run.report = run.revoked ? ExitReport{id, "killed", "killed before it started"}
                               : ExitReport{id, "token", "handed back by a draining worker"};
      continue;
    }
    run.state = State::kRunning;
    spdlog::info("start dispatch={} label=\"{}\" queue={} kind={}", id, run.entry.label(),
                 run.queue, run.entry.kind());
    observer_.OnStarted(run.entry.kind());
    launcher_.Start(id, run.workload);
    run.workload.clear();
  }
}

void Agent::OnExit(const ExitReport& report) {
  const auto found = runs_.find(report.dispatch_id);
  if (found == runs_.end()) return;
  auto& run = found->second;
  run.report = report;
  if (run.report.info.size() > kInfoBytesMax) run.report.info.resize(kInfoBytesMax);
  if (run.revoked && report.outcome == "failed") run.report.outcome = "killed";
  const double seconds = std::chrono::duration<double>(clock_.Now() - run.started).count();
  spdlog::info("end dispatch={} label=\"{}\" outcome={} seconds={:.3f} info=\"{}\"",
               report.dispatch_id, run.entry.label(), run.report.outcome, seconds, run.report.info);
  observer_.OnFinished(run.entry.kind(), run.report.outcome, seconds);
  if (run.abandoned) return Drop(report.dispatch_id);
  run.state = State::kFinishing;
  if (ready_ && !run.busy) Finish(report.dispatch_id);
}

void Agent::Finish(const std::string& dispatch) {
  auto& run = runs_.at(dispatch);
  run.busy = true;
  std::vector<Op> ops;
  if (!run.claim.empty()) ops.push_back(Op::Remove(run.claim));
  ops.push_back(Op::Remove(layout_.RunningNode(run.queue, run.partition, dispatch)));
  proto::ResultInfo info;
  if (run.report.outcome != "success") {
    info.set_info(run.report.info);
    info.set_worker(options_.worker);
  }
  ops.push_back(Op::Create(layout_.ResultNode(run.entry.scheduler(), dispatch, run.report.outcome),
                           info.SerializeAsString()));
  zk_.Multi(std::move(ops), [this, dispatch](Result<std::vector<OpResult>> result) {
    OnFinished(dispatch, result);
  });
}

void Agent::OnFinished(const std::string& dispatch, const Result<std::vector<OpResult>>& result) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end()) return;
  if (result) return Drop(dispatch);
  auto& run = found->second;
  run.busy = false;
  const auto& error = result.error();
  // Whatever the answer was, ZooKeeper decides: no running node, no result due.
  run.busy = true;
  zk_.Sync([this, dispatch, error](Status) {
    const auto again = runs_.find(dispatch);
    if (again == runs_.end()) return;
    const auto path = layout_.RunningNode(again->second.queue, again->second.partition, dispatch);
    zk_.Children(
        path, Watch::kNo, [this, dispatch, path, error](Result<std::vector<std::string>> held) {
          const auto run_now = runs_.find(dispatch);
          if (run_now == runs_.end()) return;
          run_now->second.busy = false;
          if (!held) {
            // Applied, although its reply was lost; or declared lost by its scheduler.
            if (held.error().code == ErrorCode::kNotFound) Drop(dispatch);
            return;
          }
          run_now->second.claim = OurClaim(path, *held);
          if (error.code != ErrorCode::kNotFound) return;
          // The scheduler's directory of results is missing: make it, then try again.
          run_now->second.busy = true;
          EnsureNodes(zk_, {layout_.ResultDir(run_now->second.entry.scheduler())},
                      [this, dispatch](Status) {
                        if (const auto later = runs_.find(dispatch); later != runs_.end()) {
                          later->second.busy = false;
                        }
                      });
        });
  });
}

void Agent::Drop(const std::string& dispatch) { runs_.erase(dispatch); }

void Agent::Revoke(const std::string& dispatch) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end()) return;
  found->second.revoked = true;
  Kill(dispatch, Launcher::Signal::kTerminate);
}

void Agent::Kill(const std::string& dispatch, Launcher::Signal signal) {
  const auto found = runs_.find(dispatch);
  if (found == runs_.end() || found->second.state == State::kFinishing) return;
  auto& run = found->second;
  run.kill_asked = true;
  if (run.state != State::kRunning || run.kill_at != TimePoint{}) return;
  run.kill_at = clock_.Now() + options_.kill_grace;
  spdlog::info("kill dispatch={} label=\"{}\"", dispatch, run.entry.label());
  launcher_.Kill(dispatch, signal);
}

void Agent::EscalateKills() {
  const auto now = clock_.Now();
  for (auto& [id, run] : runs_) {
    if (run.state != State::kRunning || !run.kill_asked || now < run.kill_at) continue;
    run.kill_at = now + options_.kill_grace;
    launcher_.Kill(id, Launcher::Signal::kKill);
  }
}

void Agent::Drain() {
  if (draining_) {
    drain_until_ = clock_.Now();
    return;
  }
  draining_ = true;
  drain_until_ = clock_.Now() + options_.drain_timeout;
  spdlog::info("draining: no more claims runs={} timeout_s={}", runs_.size(),
               options_.drain_timeout.count() / 1000);
  backlog_.Clear();
  UpdateNode();
}

void Agent::UpdateNode() {
  if (!ready_) return;
  zk_.Multi({Op::Set(layout_.Worker(options_.worker), Self().SerializeAsString())},
            [](Result<std::vector<OpResult>> written) {
              // Session lost or closing: the node is gone, and nobody places here any more.
              if (!written && written.error().code == ErrorCode::kInternal) {
                spdlog::warn("cannot tell my state error=\"{}\"", written.error().message);
              }
            });
}

}  // namespace zkexec
