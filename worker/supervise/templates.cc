// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/templates.h"

#include <algorithm>

#include "common/log.h"
#include "worker/supervise/memory.h"

namespace zkexec {
namespace {

constexpr Duration kLookInterval{2000};
constexpr std::size_t kEntriesMax = 2000;
constexpr std::size_t kModulesMax = 200;

// A file that changed while it was parsed may be still by the next task.
bool WorthAnotherTry(const std::string& reason) { return reason == "changing" || reason == "died"; }

}  // namespace

Templates::Templates(Options options, Zygote& zygote, EventLoop& loop, const Clock& clock,
                     ForkServer::Listener& listener, Observer& observer)
    : options_(options),
      zygote_(zygote),
      loop_(loop),
      clock_(clock),
      listener_(listener),
      observer_(observer),
      pace_(clock) {}

bool Templates::Usable(const Entry& entry) const {
  return entry.current != nullptr && entry.current->age() < options_.max_age &&
         entry.current->Fresh();
}

void Templates::Choose(const Template::Key& key, Chosen chosen) {
  if (!options_.on) return chosen(zygote_, "off");
  auto& entry = entries_[key];
  entry.used = clock_.Now();
  if (Usable(entry)) return chosen(*entry.current, "template");
  if (entry.current != nullptr && entry.current->state() == Template::State::kFailed &&
      !WorthAnotherTry(entry.current->reason()) && entry.current->Unchanged() &&
      entry.current->age() < options_.max_age * 10) {
    return chosen(zygote_, entry.current->reason());
  }
  entry.waiting.push_back(std::move(chosen));
  if (entry.current != nullptr && entry.current->state() == Template::State::kParsing) return;
  Start(entry, key);
}

void Templates::Start(Entry& entry, const Template::Key& key) {
  Retire(entry);
  entry.current = std::make_unique<Template>(key, loop_, clock_, listener_);
  entry.current->Begin(
      zygote_, entry.modules, [this, key](Template&) { OnParsed(key); },
      [this, key](const std::vector<std::string>& modules) { Learn(key, modules); });
}

void Templates::OnParsed(const Template::Key& key) {
  auto& entry = entries_[key];
  if (entry.current->state() == Template::State::kFailed && entry.current->reason() == "modules") {
    // A module that tasks import is no good to share: the file is parsed without them.
    spdlog::info("learnt modules can't be shared path={} detail=\"{}\"", key.path,
                 entry.current->detail());
    entry.modules.clear();
    entry.learns = false;
    return Start(entry, key);
  }
  const auto waiting = std::exchange(entry.waiting, {});
  const bool ready = entry.current->state() == Template::State::kReady;
  const auto how = ready ? "template" : entry.current->reason();
  if (ready) {
    spdlog::info("template ready bundle={} path={} pid={} ms={}", key.bundle, key.path,
                 entry.current->pid(), entry.current->age().count());
  } else {
    spdlog::info("no template bundle={} path={} reason={} detail=\"{}\"", key.bundle, key.path, how,
                 entry.current->detail());
  }
  observer_.OnTemplateParsed(how);
  auto& server = ready ? static_cast<ForkServer&>(*entry.current) : zygote_;
  for (const auto& chosen : waiting) chosen(server, how);
}

void Templates::Learn(const Template::Key& key, const std::vector<std::string>& modules) {
  const auto found = entries_.find(key);
  if (found == entries_.end() || !found->second.learns) return;
  auto& known = found->second.modules;
  for (const auto& module : modules) {
    if (known.size() >= kModulesMax) return;
    if (std::find(known.begin(), known.end(), module) == known.end()) known.push_back(module);
  }
}

void Templates::CountChild(const ForkServer& server, int change) { children_[&server] += change; }

bool Templates::Retired(const ForkServer& server) const {
  return std::any_of(retired_.begin(), retired_.end(),
                     [&](const auto& one) { return one.get() == &server; });
}

void Templates::Retire(Entry& entry) {
  if (entry.current == nullptr) return;
  retired_.push_back(std::move(entry.current));
}

void Templates::LoseAll() {
  for (auto& [key, entry] : entries_)
    if (entry.waiting.empty()) Retire(entry);
}

void Templates::Tick() {
  // Not in Retire(): whoever retires may stand on the template's own call.
  std::erase_if(retired_, [this](const auto& one) {
    const auto children = children_.find(one.get());
    if (children != children_.end() && children->second > 0) return false;
    if (children != children_.end()) children_.erase(children);
    return true;
  });
  pace_.Try([this] { MeasureMemory(); });
  if (clock_.Now() < next_look_) return;
  next_look_ = clock_.Now() + kLookInterval;
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& entry = it->second;
    const bool idle =
        entry.waiting.empty() &&
        (entry.current == nullptr || entry.current->state() != Template::State::kParsing);
    if (!idle) {
      ++it;
      continue;
    }
    // Too old to be chosen again. Why a file has none is remembered for longer.
    if (entry.current != nullptr && entry.current->state() == Template::State::kReady &&
        entry.current->age() >= options_.max_age) {
      Retire(entry);
    }
    const bool forgotten = clock_.Now() - entry.used > options_.max_age * 20;
    if (forgotten || entries_.size() > kEntriesMax) {
      Retire(entry);
      it = entries_.erase(it);
    } else {
      ++it;
    }
  }
  BoundMemory();
}

void Templates::MeasureMemory() {
  std::vector<Entry*> ready;
  for (auto& [key, entry] : entries_) {
    if (entry.current != nullptr && entry.current->state() == Template::State::kReady) {
      ready.push_back(&entry);
    }
  }
  if (ready.empty()) return;
  // One that was never looked at, else the next in turn.
  auto next = std::find_if(ready.begin(), ready.end(), [](const Entry* entry) {
    return entry->measured != entry->current->pid();
  });
  if (next == ready.end()) {
    next = std::find_if(ready.begin(), ready.end(), [this](const Entry* entry) {
      return last_measured_ < entry->current->key();
    });
  }
  auto& entry = next == ready.end() ? *ready.front() : **next;
  last_measured_ = entry.current->key();
  entry.measured = entry.current->pid();
  entry.memory = ProportionalMemory(entry.measured);
}

void Templates::BoundMemory() {
  std::vector<Entry*> by_use;
  memory_ = 0;
  for (auto& [key, entry] : entries_) {
    if (entry.current == nullptr || entry.current->state() != Template::State::kReady) continue;
    by_use.push_back(&entry);
    memory_ += entry.memory;  // of its predecessor, until it is looked at itself
  }
  std::sort(by_use.begin(), by_use.end(),
            [](const Entry* a, const Entry* b) { return a->used < b->used; });
  for (Entry* entry : by_use) {
    if (memory_ <= options_.memory_bytes) break;
    memory_ -= entry->memory;
    spdlog::info("template retired for memory path={} bytes={}", entry->current->key().path,
                 entry->memory);
    observer_.OnTemplateParsed("memory");
    Retire(*entry);
  }
}

}  // namespace zkexec
