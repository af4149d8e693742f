// SPDX-License-Identifier: Apache-2.0
#include "executor/admin_control.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "common/layout.h"

namespace zkexec {
namespace {

constexpr Duration kLookEvery{50};
constexpr Duration kClosing{2000};

bool AllDigits(const std::string& text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string Seconds(Duration time) { return std::to_string(time.count() / 1000) + " s"; }

class CommandJob : public OneShot {
 public:
  CommandJob(const AdminOptions& options, const Layout& layout, const Clock& clock,
             const std::vector<std::string>& workers, const proto::Command& command)
      : options_(options), layout_(layout), clock_(clock), data_(command.SerializeAsString()) {
    for (const auto& name : workers) {
      sent_.emplace_back();
      sent_.back().outcome.worker.set_name(name);
    }
  }

  void Begin(Coordinator& zk) override {
    for (auto& one : sent_) {
      const auto& name = one.outcome.worker.name();
      zk.Multi({Op::Check(layout_.Worker(name)),
                Op::Create(layout_.CommandPrefix(name), data_, NodeMode::kPersistentSequential)},
               [this, &one](Result<std::vector<OpResult>> created) {
                 if (created) {
                   one.path = (*created)[1].path;
                   return;
                 }
                 const bool gone = created.error().code == ErrorCode::kNotFound;
                 End(one, gone ? "it is not there any more: airflow zk workers"
                               : "it may not have got the command: " + created.error().message);
               });
    }
  }

  void Turn(Coordinator& zk, bool time_is_over) override {
    if (clock_.Now() < look_at_ && !time_is_over) return;
    look_at_ = clock_.Now() + kLookEvery;
    for (auto& one : sent_) {
      if (one.ended || one.busy || one.path.empty()) continue;
      one.busy = true;
      if (time_is_over) {
        Withdraw(zk, one);
      } else {
        Look(zk, one);
      }
    }
  }
  bool done() const override {
    return std::all_of(sent_.begin(), sent_.end(), [](const Sent& one) { return one.ended; });
  }
  std::vector<CommandOutcome> outcomes() const {
    std::vector<CommandOutcome> all;
    for (const auto& one : sent_) all.push_back(one.outcome);
    return all;
  }

 private:
  struct Sent {
    std::string path;  // of the command; empty until it is there
    bool busy = false;
    bool ended = false;
    CommandOutcome outcome;
  };

  static void End(Sent& one, const std::string& problem) {
    one.outcome.problem = problem;
    one.ended = true;
  }
  // The worker takes the command away when it has obeyed.
  void Look(Coordinator& zk, Sent& one) {
    zk.Exists(one.path, Watch::kNo, [this, &zk, &one](Result<NodeStat> there) {
      one.busy = false;
      if (!there && there.error().code == ErrorCode::kNotFound) Read(zk, one);
    });
  }
  void Withdraw(Coordinator& zk, Sent& one) {
    zk.Multi({Op::Remove(one.path)}, [this, &zk, &one](Result<std::vector<OpResult>> removed) {
      if (!removed && removed.error().code == ErrorCode::kNotFound) return Read(zk, one);
      End(one, removed ? "it did not obey within " + Seconds(options_.timeout) +
                             "; the command was taken back, nothing has changed"
                       : "it did not obey within " + Seconds(options_.timeout) +
                             ", and may do so later: " + removed.error().message);
    });
  }
  void Read(Coordinator& zk, Sent& one) {
    one.busy = true;
    zk.Get(layout_.Worker(one.outcome.worker.name()), Watch::kNo, [&one](Result<NodeData> node) {
      proto::Worker worker;
      if (node && worker.ParseFromString(node->data)) {
        one.outcome.worker = worker;
        return End(one, "");
      }
      End(one, node || node.error().code == ErrorCode::kNotFound
                   ? "it took the command, and is not there any more"
                   : "it took the command; what is true now is not known: " + node.error().message);
    });
  }

  const AdminOptions& options_;
  const Layout& layout_;
  const Clock& clock_;
  const std::string data_;
  TimePoint look_at_{};
  std::vector<Sent> sent_;  // fixed after the constructor: callbacks refer to its elements
};

// Looks among what runs, then among what waits, then again among what runs: it
// may have been claimed between the two.
class KillJob : public OneShot {
 public:
  KillJob(const Layout& layout, const Clock& clock, const KillTarget& target)
      : layout_(layout), clock_(clock), target_(target) {}

  void Begin(Coordinator& zk) override {
    zk_ = &zk;
    zk_->Sync([this](Status synced) {
      if (!synced) return Fail(synced.error());
      Find(layout_.Running(), [this] {
        if (!found_.empty()) return Decide();
        Find(layout_.Queues(), [this] {
          auto queued = std::exchange(found_, {});
          Find(layout_.Running(), [this, queued] {
            if (!found_.empty()) return Decide();
            for (const auto& [path, entry] : queued) outcome_.entries.push_back(entry);
            if (!queued.empty()) outcome_.kind = KillOutcome::Kind::kQueued;
            done_ = true;
          });
        });
      });
    });
  }
  void Turn(Coordinator& zk, bool time_is_over) override {
    if (waiting_for_.empty() || busy_ || done_) return;
    if (time_is_over) {
      outcome_.kind = KillOutcome::Kind::kAsked;
      done_ = true;
      return;
    }
    if (clock_.Now() < look_at_) return;
    look_at_ = clock_.Now() + kLookEvery;
    busy_ = true;
    zk.Exists(waiting_for_, Watch::kNo, [this](Result<NodeStat> there) {
      busy_ = false;
      if (there || there.error().code != ErrorCode::kNotFound) return;
      outcome_.kind = KillOutcome::Kind::kEnded;
      done_ = true;
    });
  }
  bool done() const override { return done_; }
  const std::optional<Error>& error() const { return error_; }
  const KillOutcome& outcome() const { return outcome_; }

 private:
  using Then = std::function<void()>;

  void Fail(const Error& error) {
    if (!error_) error_ = error;
    done_ = true;
  }
  // Every read counts itself in and out; at zero the walk is over.
  template <typename T>
  std::function<void(Result<T>)> Counted(const Then& then, std::function<void(const T&)> use) {
    ++pending_;
    return [this, then, use](Result<T> answer) {
      if (done_) return;
      if (!answer && answer.error().code != ErrorCode::kNotFound) return Fail(answer.error());
      if (answer) use(*answer);
      if (--pending_ == 0) then();
    };
  }
  void Find(const std::string& parent, const Then& then) {
    using Names = std::vector<std::string>;
    zk_->Children(
        parent, Watch::kNo, Counted<Names>(then, [this, parent, then](const Names& queues) {
          for (const auto& queue : queues) {
            const auto dir = parent + "/" + queue;
            zk_->Children(
                dir, Watch::kNo, Counted<Names>(then, [this, dir, then](const Names& partitions) {
                  for (const auto& partition : partitions) {
                    const auto inner = dir + "/" + partition;
                    zk_->Children(inner, Watch::kNo,
                                  Counted<Names>(then, [this, inner, then](const Names& names) {
                                    for (const auto& name : names) Consider(inner, name, then);
                                  }));
                  }
                }));
          }
        }));
  }
  void Consider(const std::string& dir, const std::string& name, const Then& then) {
    const auto waiting = EntryName::Decode(name);
    const auto dispatch = waiting ? waiting->dispatch : name;
    if (!target_.dispatch.empty() && dispatch != target_.dispatch) return;
    const auto path = dir + "/" + name;
    zk_->Get(path, Watch::kNo,
             Counted<NodeData>(then, [this, path, dispatch](const NodeData& node) {
               proto::Entry entry;
               if (!entry.ParseFromString(node.data)) return;
               entry.clear_sealed();
               if (target_.Matches(dispatch, entry.label())) found_[path] = entry;
             }));
  }
  void Decide() {
    for (const auto& [path, entry] : found_) outcome_.entries.push_back(entry);
    if (found_.size() > 1) {
      outcome_.kind = KillOutcome::Kind::kAmbiguous;
      done_ = true;
      return;
    }
    const auto& [path, entry] = *found_.begin();
    zk_->Multi({Op::Create(layout_.KillNode(entry.worker(), entry.dispatch_id()), "")},
               [this, running = path](Result<std::vector<OpResult>> created) {
                 if (created || created.error().code == ErrorCode::kAlreadyExists) {
                   waiting_for_ = running;
                 } else if (created.error().code == ErrorCode::kNotFound) {
                   outcome_.kind = KillOutcome::Kind::kWorkerGone;
                   done_ = true;
                 } else {
                   Fail(created.error());
                 }
               });
  }

  const Layout& layout_;
  const Clock& clock_;
  const KillTarget& target_;
  Coordinator* zk_ = nullptr;
  int pending_ = 0;
  std::map<std::string, proto::Entry> found_;  // by path
  std::string waiting_for_;
  TimePoint look_at_{};
  bool busy_ = false;
  bool done_ = false;
  std::optional<Error> error_;
  KillOutcome outcome_;
};

}  // namespace

bool KillTarget::Matches(const std::string& dispatch_id, const std::string& label) const {
  if (!dispatch.empty()) return dispatch_id == dispatch;
  const auto fixed = label_head.size() + label_tail.size();
  return label.size() > fixed && label.starts_with(label_head) && label.ends_with(label_tail) &&
         AllDigits(label.substr(label_head.size(), label.size() - fixed));
}

Result<std::vector<CommandOutcome>> SendCommand(const AdminOptions& options,
                                                const std::vector<std::string>& workers,
                                                const proto::Command& command) {
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  const SystemClock clock;
  CommandJob job(options, *layout, clock, workers, command);
  if (const auto ran = RunOneShot(options, clock, job, kClosing); !ran) return ran.error();
  return job.outcomes();
}

Result<KillOutcome> KillDispatch(const AdminOptions& options, const KillTarget& target) {
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  if (!target.dispatch.empty() && !IsDispatchId(target.dispatch)) {
    return Error{ErrorCode::kInvalid, "'" + target.dispatch + "' is not a dispatch id"};
  }
  const SystemClock clock;
  KillJob job(*layout, clock, target);
  if (const auto ran = RunOneShot(options, clock, job, kClosing); !ran) return ran.error();
  if (job.error()) return *job.error();
  return job.outcome();
}

}  // namespace zkexec
