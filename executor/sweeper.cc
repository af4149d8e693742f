// SPDX-License-Identifier: Apache-2.0
#include "executor/sweeper.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace zkexec {
namespace {

constexpr int kLooksPerPeriod = 4;
// Each removal wakes who watches the owners.
constexpr int kAtOnce = 20;
constexpr std::size_t kCommandsAtOnce = 100;

bool IsCommand(const std::string& name) {
  return name.starts_with(kKillPrefix) || name.starts_with(kCommandPrefix);
}

}  // namespace

Sweeper::Sweeper(Duration after, Coordinator& zk, const Layout& layout, const Clock& clock)
    : after_(after),
      zk_(zk),
      clock_(clock),
      places_{{layout.Controls(), layout.Workers(), true},
              {layout.Results(), layout.Schedulers(), false}} {}

void Sweeper::Tick() {
  const auto now = clock_.Now();
  if (now < next_look_) return;
  next_look_ = now + after_ / kLooksPerPeriod;
  for (const auto& place : places_) Look(place);
}

void Sweeper::Look(const Place& place) {
  zk_.Children(place.remains, Watch::kNo, [this, &place](Result<std::vector<std::string>> remains) {
    if (!remains || remains->empty()) return;
    zk_.Children(place.owners, Watch::kNo,
                 [this, &place, remains](Result<std::vector<std::string>> owners) {
                   if (!owners) return;
                   Compare(place, *remains, {owners->begin(), owners->end()});
                 });
  });
}

void Sweeper::Compare(const Place& place, const std::vector<std::string>& remains,
                      const std::set<std::string>& owners) {
  const auto now = clock_.Now();
  std::set<std::string> alone;
  int swept = 0;
  for (const auto& name : remains) {
    if (owners.contains(name)) continue;
    const auto path = place.remains + "/" + name;
    alone.insert(path);
    const auto since = alone_since_.try_emplace(path, now).first->second;
    if (now - since < after_ || swept == kAtOnce) continue;
    ++swept;
    if (place.with_commands) {
      SweepCommands(place, name);
    } else {
      Sweep(place, name, {});
    }
  }
  std::erase_if(alone_since_, [&](const auto& known) {
    return known.first.starts_with(place.remains + "/") && !alone.contains(known.first);
  });
}

void Sweeper::SweepCommands(const Place& place, const std::string& name) {
  const auto path = place.remains + "/" + name;
  zk_.Children(path, Watch::kNo,
               [this, &place, name, path](Result<std::vector<std::string>> names) {
                 // What others wrote is not ours to delete.
                 if (!names || !std::all_of(names->begin(), names->end(), IsCommand)) return;
                 if (names->size() > kCommandsAtOnce) names->resize(kCommandsAtOnce);
                 std::vector<Op> commands;
                 for (const auto& command : *names)
                   commands.push_back(Op::Remove(path + "/" + command));
                 Sweep(place, name, std::move(commands));
               });
}

void Sweeper::Sweep(const Place& place, const std::string& name, std::vector<Op> before) {
  const auto path = place.remains + "/" + name;
  const auto owner = place.owners + "/" + name;
  auto ops = std::move(before);
  ops.insert(ops.begin(), Op::Create(owner, ""));
  ops.push_back(Op::Remove(path));
  ops.push_back(Op::Remove(owner));
  zk_.Multi(std::move(ops), [this, path](Result<std::vector<OpResult>> removed) {
    if (!removed) return;  // back again, not empty, gone already, no session: next time
    alone_since_.erase(path);
    spdlog::info("removed what a dead process left path={}", path);
  });
}

}  // namespace zkexec
