// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/warm_processes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"

namespace zkexec {
namespace {

// The list of the process that has imported nothing but what Airflow needs.
const std::string kNoImports = "[]";
// What one task wants alone, it imports itself.
constexpr int kWantedMin = 2;
// Imports that take no longer are not worth a process.
constexpr Duration kWorthMin{15};
constexpr Duration kLookInterval{2'000};
constexpr Duration kUnusedMax{600'000};
// What could not be imported ahead may have been upgraded.
constexpr Duration kUnfitMax{600'000};
// One that was ready and then died, or did not do its work.
constexpr Duration kDistrust{60'000};
constexpr Duration kBaseAgain{5'000};

}  // namespace

WarmProcesses::WarmProcesses(Options options, Parts parts, ForkServer& zygote, const Clock& clock,
                             Observer& observer)
    : options_(options),
      parts_(std::move(parts)),
      zygote_(zygote),
      clock_(clock),
      observer_(observer),
      lists_(parts_.scan, clock, [this](const std::string& list, int asked) { Want(list, asked); }),
      pace_(clock) {}

WarmProcesses::Choice WarmProcesses::Choose(const DagFile& file) {
  if (!options_.on) return {zygote_, "off"};
  std::string how = "unknown";
  if (const auto* found = lists_.Find(file)) {
    const auto& list = Resolve(*found);
    if (auto* process = Usable(list)) return {*process, "warm"};
    how = "preparing";
    Want(list, 1);
  }
  if (auto* base = Usable(kNoImports)) return {*base, how};
  return {zygote_, "starting"};
}

const std::string& WarmProcesses::Resolve(const std::string& list) {
  const std::string* now = &list;
  for (;;) {
    const auto found = entries_.find(*now);
    if (found == entries_.end()) return *now;
    auto& [name, entry] = *found;
    entry.used = clock_.Now();
    if (entry.unfit && clock_.Now() > entry.unfit_until) entry.unfit = false;
    if (!entry.same_as.empty()) {
      now = &entry.same_as;
    } else if (entry.unfit && name != kNoImports) {
      auto shorter = nlohmann::json::parse(name);
      shorter.erase(
          shorter.begin() + static_cast<std::ptrdiff_t>(std::min(entry.fits, shorter.size() - 1)),
          shorter.end());
      now = &entries_.try_emplace(shorter.dump()).first->first;
    } else {
      return name;
    }
  }
}

WarmProcess* WarmProcesses::Usable(const std::string& list) {
  const auto found = entries_.find(list);
  if (found == entries_.end() || found->second.current == nullptr) return nullptr;
  auto& entry = found->second;
  if (entry.Is(WarmProcess::State::kImporting)) return nullptr;
  if (entry.Is(WarmProcess::State::kFailed)) {
    OnDeath(list, entry);
    return nullptr;
  }
  if (!entry.current->Fresh()) {
    Retire(entry);
    return nullptr;
  }
  entry.used = clock_.Now();
  return entry.current.get();
}

void WarmProcesses::OnDeath(const std::string& list, Entry& entry) {
  const bool young = clock_.Now() - entry.ready_at < kDistrust;
  // Once may be the kernel's want of memory; twice is its own.
  if (young && std::exchange(entry.died, true)) return Distrust(list, entry, "died");
  observer_.OnWarmProcess("died");
  Retire(entry);
}

void WarmProcesses::Distrust(const std::string& list, Entry& entry, const std::string& reason) {
  spdlog::warn("a warm process is given up reason={} pid={} imports={}", reason,
               entry.current->facts().pid, list);
  observer_.OnWarmProcess(reason);
  Retire(entry);
  if (list == kNoImports) {
    base_again_ = clock_.Now() + kBaseAgain;
    return;
  }
  entry.unfit = true;
  entry.died = false;
  entry.fits = 0;
  entry.unfit_until = clock_.Now() + kDistrust;
}

void WarmProcesses::GiveUp(const ForkServer& server) {
  for (auto& [list, entry] : entries_)
    if (entry.current.get() == &server) return Distrust(list, entry, "silent");
}

void WarmProcesses::Want(const std::string& list, int times) {
  const auto resolved = Resolve(list);
  auto& entry = entries_[resolved];
  entry.used = clock_.Now();
  entry.wanted += times;
  if (entry.current == nullptr && entry.wanted >= kWantedMin && resolved != kNoImports)
    Start(resolved);
}

void WarmProcesses::Start(const std::string& list) {
  auto& entry = entries_[list];
  entry.wanted = 0;
  entry.current =
      parts_.start(list, {[this, list] { OnSettled(list); },
                          [this](const nlohmann::json& message) { lists_.Locate(message); }});
}

void WarmProcesses::OnSettled(const std::string& list) {
  auto& entry = entries_[list];
  // It was retired meanwhile, and this is about its predecessor.
  if (entry.current == nullptr || entry.Is(WarmProcess::State::kImporting)) return;
  if (entry.Is(WarmProcess::State::kFailed)) return OnUnfit(list, entry);
  if (list != kNoImports) {
    ShareWith(list, entry);
    if (!entry.same_as.empty()) return;
  }
  const auto& facts = entry.current->facts();
  spdlog::info("warm process ready pid={} ms={} imports={}", facts.pid, facts.took.count(), list);
  observer_.OnWarmProcess("ready");
  entry.ready_at = clock_.Now();
  parts_.ready(*entry.current);
}

void WarmProcesses::OnUnfit(const std::string& list, Entry& entry) {
  const auto facts = entry.current->facts();
  const auto imports = nlohmann::json::parse(list);
  const auto module = facts.index < imports.size() ? imports[facts.index][0].get<std::string>()
                                                   : std::string("none");
  spdlog::info("a module is not imported ahead module={} reason={} detail=\"{}\"", module,
               facts.reason, facts.detail);
  observer_.OnWarmProcess(facts.reason);
  entry.unfit = true;
  entry.unfit_until = clock_.Now() + kUnfitMax;
  entry.fits = facts.index;
  if (list == kNoImports) base_again_ = clock_.Now() + kBaseAgain;
  Retire(entry);
  // Those before it are worth as much as they were.
  if (entry.fits > 0) Want(list, kWantedMin);
}

void WarmProcesses::ShareWith(const std::string& list, Entry& entry) {
  for (const auto& [other, known] : entries_) {
    if (other == list || !known.same_as.empty()) continue;
    if (!known.Is(WarmProcess::State::kReady)) continue;
    const bool cheap = other == kNoImports && entry.current->facts().took < kWorthMin;
    if (!cheap && known.current->facts().modules != entry.current->facts().modules) continue;
    entry.same_as = other;
    observer_.OnWarmProcess(cheap ? "cheap" : "same");
    Retire(entry);
    return;
  }
}

void WarmProcesses::CountChild(const ForkServer& server, int change) {
  children_[&server] += change;
}

bool WarmProcesses::Retired(const ForkServer& server) const {
  return std::any_of(retired_.begin(), retired_.end(),
                     [&](const auto& one) { return one.get() == &server; });
}

void WarmProcesses::Retire(Entry& entry) {
  if (entry.current != nullptr) retired_.push_back(std::move(entry.current));
}

void WarmProcesses::LoseAll() {
  for (auto& [list, entry] : entries_) {
    Retire(entry);
    // Perhaps it only died with the zygote.
    entry.unfit = false;
  }
}

bool WarmProcesses::Incomplete() const {
  if (!options_.on) return false;
  const auto base = entries_.find(kNoImports);
  return base == entries_.end() || base->second.current == nullptr;
}

void WarmProcesses::Tick() {
  if (!options_.on) return;
  lists_.Tick();
  // Not in Retire(): whoever retires may stand on the process's own call.
  std::erase_if(retired_, [this](const auto& one) {
    const auto children = children_.find(one.get());
    if (children != children_.end() && children->second > 0) return false;
    if (children != children_.end()) children_.erase(children);
    return true;
  });
  if (Incomplete() && parts_.can_start() && clock_.Now() >= base_again_) Start(kNoImports);
  pace_.Try([this] { MeasureMemory(); });
  if (clock_.Now() < next_look_) return;
  next_look_ = clock_.Now() + kLookInterval;
  for (auto it = entries_.begin(); it != entries_.end();) {
    auto& entry = it->second;
    const bool importing = entry.Is(WarmProcess::State::kImporting);
    if (importing || it->first == kNoImports || clock_.Now() - entry.used <= kUnusedMax) {
      ++it;
      continue;
    }
    Retire(entry);
    it = entries_.erase(it);
  }
  BoundMemory();
}

std::size_t WarmProcesses::size() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const auto& one) { return one.second.Is(WarmProcess::State::kReady); }));
}

void WarmProcesses::MeasureMemory() {
  std::vector<std::pair<const std::string, Entry>*> ready;
  for (auto& one : entries_) {
    if (one.second.Is(WarmProcess::State::kReady)) ready.push_back(&one);
  }
  if (ready.empty()) return;
  // One that was never looked at, else the next in turn.
  auto next = std::find_if(ready.begin(), ready.end(), [](const auto* one) {
    return one->second.measured != one->second.current->facts().pid;
  });
  if (next == ready.end()) {
    next = std::find_if(ready.begin(), ready.end(),
                        [this](const auto* one) { return last_measured_ < one->first; });
  }
  auto& [list, entry] = next == ready.end() ? *ready.front() : **next;
  last_measured_ = list;
  entry.measured = entry.current->facts().pid;
  entry.memory = parts_.memory(entry.measured);
}

void WarmProcesses::BoundMemory() {
  std::vector<std::pair<const std::string, Entry>*> by_use;
  memory_ = 0;
  for (auto& one : entries_) {
    if (!one.second.Is(WarmProcess::State::kReady)) continue;
    memory_ += one.second.memory;  // of its predecessor, until it is looked at itself
    if (one.first != kNoImports) by_use.push_back(&one);
  }
  std::sort(by_use.begin(), by_use.end(),
            [](const auto* a, const auto* b) { return a->second.used < b->second.used; });
  for (auto* one : by_use) {
    if (memory_ <= options_.memory_bytes) break;
    memory_ -= one->second.memory;
    spdlog::info("warm process retired for memory bytes={} imports={}", one->second.memory,
                 one->first);
    observer_.OnWarmProcess("memory");
    Retire(one->second);
  }
}

}  // namespace zkexec
