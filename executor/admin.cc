// SPDX-License-Identifier: Apache-2.0
#include "executor/admin.h"

#include <algorithm>
#include <functional>
#include <map>

#include "common/layout.h"

namespace zkexec {
namespace {

// What the tree holds, read once.
struct Snapshot {
  std::map<std::string, proto::Worker> workers;
  std::map<std::string, QueueView> queues;
  std::map<std::string, int> running_by_worker;
};

// Reads the tree. Each read counts itself in and out; at zero all is read.
class Reader : public OneShot {
 public:
  Reader(const Layout& layout, std::int64_t now_unix_ms)
      : layout_(layout), now_unix_ms_(now_unix_ms) {}

  void Begin(Coordinator& zk) override {
    zk_ = &zk;
    ++pending_;
    zk_->Sync([this](Status synced) {
      if (!synced) Fail(synced.error());
      ReadWorkers();
      ReadQueues(layout_.Queues(), false);
      ReadQueues(layout_.Running(), true);
      --pending_;
    });
  }
  bool done() const override { return pending_ == 0; }
  const std::optional<Error>& error() const { return error_; }
  const Snapshot& snapshot() const { return snapshot_; }

 private:
  void Fail(const Error& error) {
    if (error.code != ErrorCode::kNotFound && !error_) error_ = error;
  }
  void List(const std::string& path, std::function<void(const std::string&)> each) {
    ++pending_;
    zk_->Children(path, Watch::kNo, [this, each](Result<std::vector<std::string>> names) {
      if (!names) Fail(names.error());
      if (names) std::for_each(names->begin(), names->end(), each);
      --pending_;
    });
  }
  void Read(const std::string& path, std::function<void(const std::string&)> use) {
    ++pending_;
    zk_->Get(path, Watch::kNo, [this, use](Result<NodeData> node) {
      if (!node) Fail(node.error());
      if (node) use(node->data);
      --pending_;
    });
  }
  void ReadWorkers() {
    List(layout_.Workers(), [this](const std::string& name) {
      Read(layout_.Worker(name), [this, name](const std::string& data) {
        proto::Worker worker;
        if (worker.ParseFromString(data)) snapshot_.workers[name] = worker;
      });
    });
  }
  void ReadQueues(const std::string& parent, bool running) {
    List(parent, [this, parent, running](const std::string& component) {
      const auto queue = DecodeComponent(component);
      snapshot_.queues[queue].queue = queue;
      const auto dir = parent + "/" + component;
      List(dir, [this, dir, queue, running](const std::string& partition) {
        const auto inner = dir + "/" + partition;
        List(inner, [this, inner, queue, running](const std::string& name) {
          auto& view = snapshot_.queues[queue];
          if (running) {
            ++view.running;
            Read(inner + "/" + name, [this](const std::string& data) {
              proto::Entry entry;
              if (entry.ParseFromString(data)) ++snapshot_.running_by_worker[entry.worker()];
            });
          } else {
            ++view.depth;
            Age(name, view);
          }
        });
      });
    });
  }
  void Age(const std::string& name, QueueView& view) const {
    const auto entry = EntryName::Decode(name);
    if (!entry) return;
    const double age = static_cast<double>(now_unix_ms_ - entry->enqueued_unix_ms) / 1000.0;
    view.oldest_age_s = std::max({0.0, age, view.oldest_age_s.value_or(0.0)});
  }

  Coordinator* zk_ = nullptr;
  const Layout& layout_;
  const std::int64_t now_unix_ms_;
  int pending_ = 0;
  std::optional<Error> error_;
  Snapshot snapshot_;
};

Result<Snapshot> ReadTree(const AdminOptions& options) {
  const auto layout = Layout::Make(options.root, options.team);
  if (!layout) return layout.error();
  const SystemClock clock;
  Reader reader(*layout, clock.UnixMs());
  if (const auto ran = RunOneShot(options, clock, reader); !ran) return ran.error();
  if (reader.error()) return *reader.error();
  return reader.snapshot();
}

}  // namespace

Result<std::vector<WorkerView>> InspectWorkers(const AdminOptions& options) {
  const auto tree = ReadTree(options);
  if (!tree) return tree.error();
  std::vector<WorkerView> views;
  for (const auto& [name, worker] : tree->workers) {
    const auto running = tree->running_by_worker.find(name);
    views.push_back({worker, running == tree->running_by_worker.end() ? 0 : running->second});
  }
  return views;
}

Result<std::vector<QueueView>> InspectQueues(const AdminOptions& options) {
  const auto tree = ReadTree(options);
  if (!tree) return tree.error();
  std::vector<QueueView> views;
  for (auto [queue, view] : tree->queues) {
    for (const auto& [name, worker] : tree->workers) {
      const auto& served = worker.queues();
      if (worker.state() == "active" &&
          std::find(served.begin(), served.end(), queue) != served.end()) {
        ++view.workers;
      }
    }
    views.push_back(view);
  }
  return views;
}

}  // namespace zkexec
