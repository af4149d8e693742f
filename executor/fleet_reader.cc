// SPDX-License-Identifier: Apache-2.0
#include "executor/fleet_reader.h"

#include <algorithm>
#include <set>
#include <utility>

namespace zkexec {
namespace {

bool IsNumber(const std::string& text) {
  return !text.empty() && text.size() <= 9 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

FleetReader::FleetReader(Coordinator& zk, const Layout& layout, std::int64_t now_unix_ms)
    : zk_(zk), layout_(layout), now_unix_ms_(now_unix_ms) {}

void FleetReader::Begin() {
  ++pending_;
  zk_.Sync([this](Status synced) {
    if (!synced) Fail(synced.error());
    ReadTop();
    ReadWorkers();
    List(layout_.Schedulers(), [this](const std::string&) { ++view_.schedulers; });
    for (const bool running : {false, true}) {
      const auto parent = running ? layout_.Running() : layout_.Queues();
      List(parent, [this, parent, running](const std::string& component) {
        ReadQueue(parent, component, running);
      });
    }
    ReadResults();
    ReadControls();
    CountOut();
  });
}

void FleetReader::CountOut() {
  if (--pending_ == 0) Join();
}

void FleetReader::Fail(const Error& error) {
  if (error.code != ErrorCode::kNotFound && !error_) error_ = error;
}

void FleetReader::List(const std::string& path, Each each) {
  ++pending_;
  zk_.Children(path, Watch::kNo,
               [this, each = std::move(each)](Result<std::vector<std::string>> names) {
                 if (!names) Fail(names.error());
                 if (names) std::for_each(names->begin(), names->end(), each);
                 CountOut();
               });
}

void FleetReader::Read(const std::string& path, std::function<void(const NodeData&)> use) {
  ++pending_;
  zk_.Get(path, Watch::kNo, [this, use = std::move(use)](Result<NodeData> node) {
    if (!node) Fail(node.error());
    if (node) use(*node);
    CountOut();
  });
}

void FleetReader::ReadTop() {
  static const auto* const kOurs = new std::set<std::string>{
      "meta", "workers", "schedulers", "producers", "queues", "running", "results", "control"};
  List(layout_.base(), [this](const std::string& name) {
    if (kOurs->count(name) == 0) ++view_.unrecognized;
  });
}

void FleetReader::ReadWorkers() {
  List(layout_.Workers(), [this](const std::string& name) {
    Read(layout_.Worker(name), [this, name](const NodeData& node) {
      proto::Worker worker;
      if (worker.ParseFromString(node.data)) {
        view_.workers[name].node = worker;
      } else {
        ++view_.unrecognized;
      }
    });
  });
}

void FleetReader::ReadQueue(const std::string& parent, const std::string& component, bool running) {
  auto& queue = view_.queues[DecodeComponent(component)];
  const auto dir = parent + "/" + component;
  List(dir, [this, dir, running, &queue](const std::string& partition) {
    if (!IsNumber(partition)) {
      ++view_.unrecognized;
      return;
    }
    const auto inner = dir + "/" + partition;
    List(inner, [this, inner, running, &queue](const std::string& name) {
      if (running) {
        ReadRunning(queue, inner + "/" + name, name);
      } else {
        ReadWaiting(queue, name);
      }
    });
  });
}

void FleetReader::ReadWaiting(FleetView::Queue& queue, const std::string& name) {
  const auto entry = EntryName::Decode(name);
  if (!entry) {
    ++view_.unrecognized;
    return;
  }
  ++queue.depth;
  queue.oldest_age_s =
      std::max(AgeSeconds(entry->enqueued_unix_ms), queue.oldest_age_s.value_or(0.0));
}

void FleetReader::ReadRunning(FleetView::Queue& queue, const std::string& path,
                              const std::string& name) {
  if (!IsDispatchId(name)) {
    ++view_.unrecognized;
    return;
  }
  Read(path, [this, &queue](const NodeData& node) {
    proto::Entry entry;
    if (!entry.ParseFromString(node.data)) {
      ++view_.unrecognized;
      return;
    }
    const int slots = static_cast<int>(entry.slots());
    ++queue.running;
    queue.reserved_slots += slots;
    auto& worker = runs_[entry.worker()];
    ++worker.running;
    worker.reserved_slots += slots;
    if (node.stat.num_children == 0) ++view_.without_claim;
  });
}

void FleetReader::ReadResults() {
  List(layout_.Results(), [this](const std::string& scheduler) {
    List(layout_.ResultDir(scheduler), [this](const std::string& name) {
      if (ResultName::Decode(name)) {
        ++view_.results_waiting;
      } else {
        ++view_.unrecognized;
      }
    });
  });
}

void FleetReader::ReadControls() {
  List(layout_.Controls(), [this](const std::string& worker) {
    const auto control = layout_.Control(worker);
    List(control, [this, control](const std::string& name) {
      if (!name.starts_with(kKillPrefix) && !name.starts_with(kCommandPrefix)) {
        ++view_.unrecognized;
        return;
      }
      Read(control + "/" + name, [this](const NodeData& node) {
        ++view_.commands;
        view_.command_age_s = std::max(view_.command_age_s, AgeSeconds(node.stat.created_unix_ms));
      });
    });
  });
}

double FleetReader::AgeSeconds(std::int64_t unix_ms) const {
  return std::max(0.0, static_cast<double>(now_unix_ms_ - unix_ms) / 1000.0);
}

void FleetReader::Join() {
  for (auto& [name, worker] : view_.workers) {
    if (const auto found = runs_.find(name); found != runs_.end()) {
      worker.running = found->second.running;
      worker.reserved_slots = found->second.reserved_slots;
    }
    if (worker.node.state() != "active") continue;
    const auto& served = worker.node.queues();
    for (const auto& queue : std::set<std::string>(served.begin(), served.end())) {
      ++view_.queues[queue].workers;
    }
  }
}

}  // namespace zkexec
