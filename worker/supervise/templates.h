// SPDX-License-Identifier: Apache-2.0
// Templates: which process a task is forked from: a template of its DAG file if there can
// be one, else the zygote. Starts, renews and retires templates, and bounds their memory.
//
// Threads:  the owner's loop. Lifetime: borrows its seams.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "worker/observer.h"
#include "worker/supervise/memory.h"
#include "worker/supervise/template.h"

namespace zkexec {

class Templates {
 public:
  struct Options {
    bool on = true;
    Duration max_age{30000};
    std::int64_t memory_bytes = std::int64_t{1} << 30;
  };
  // `how` is a fixed word: template, or why not.
  using Chosen = std::function<void(ForkServer& server, const std::string& how)>;

  Templates(Options options, Zygote& zygote, EventLoop& loop, const Clock& clock,
            ForkServer::Listener& listener, Observer& observer);

  // `chosen` is called at once, or when a parse that is under way is over.
  void Choose(const Template::Key& key, Chosen chosen);
  // One child of the server has ended or failed to come, or one more was asked for.
  void CountChild(const ForkServer& server, int change);
  // A server that is no longer chosen; nothing new is forked from it.
  bool Retired(const ForkServer& server) const;
  // The zygote died, and every template with it.
  void LoseAll();
  void Tick();

  std::size_t size() const { return entries_.size(); }
  std::int64_t memory_bytes() const { return memory_; }

 private:
  struct Entry {
    std::unique_ptr<Template> current;
    std::vector<Chosen> waiting;
    TimePoint used{};
    std::vector<std::string> modules;
    bool learns = true;
    pid_t measured = 0;       // the process that `memory` is of
    std::int64_t memory = 0;  // when it was looked at last
  };
  // What a task of this file had to import itself: a next template of it does so before.
  void Learn(const Template::Key& key, const std::vector<std::string>& modules);
  void Start(Entry& entry, const Template::Key& key);
  void OnParsed(const Template::Key& key);
  void Retire(Entry& entry);
  void MeasureMemory();
  void BoundMemory();
  bool Usable(const Entry& entry) const;

  const Options options_;
  Zygote& zygote_;
  EventLoop& loop_;
  const Clock& clock_;
  ForkServer::Listener& listener_;
  Observer& observer_;
  std::map<Template::Key, Entry> entries_;
  std::vector<std::unique_ptr<Template>> retired_;
  std::map<const ForkServer*, int> children_;
  MeasuringPace pace_;
  Template::Key last_measured_;
  std::int64_t memory_ = 0;
  TimePoint next_look_{};
};

}  // namespace zkexec
