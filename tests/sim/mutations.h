// SPDX-License-Identifier: Apache-2.0
// Mutations: each breaks one rule on purpose, at the seam to ZooKeeper, so that
// the simulation can be seen to notice. A test of the tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "common/layout.h"
#include "tests/fakes/fake_coordinator.h"

namespace zkexec::sim {

struct NamedMutation {
  const char* name;
  const char* rule;  // that is broken
  bool calm = false;
  std::shared_ptr<FakeCoordinator::Mutator> mutator;
};

inline bool IsIn(const Op& op, const char* directory) {
  return op.path.find(std::string("/") + directory + "/") != std::string::npos;
}

// A finish that forgets the result.
struct ForgetsResults : FakeCoordinator::Mutator {
  void Ask(std::vector<Op>& ops) override {
    if (ops.size() < 2) return;
    std::erase_if(ops, [](const Op& op) {
      return op.kind == Op::Kind::kCreate && IsIn(op, "results") &&
             op.path.find('=') != std::string::npos;
    });
  }
};

// A claim that leaves the entry where it was: another worker claims it after us.
struct LeavesEntries : FakeCoordinator::Mutator {
  void Ask(std::vector<Op>& ops) override {
    for (auto& op : ops) {
      if (op.kind == Op::Kind::kRemove && IsIn(op, "queues")) op = Op::Check(op.path);
    }
  }
};

// A worker that believes in its session for ever.
struct BelievesForEver : FakeCoordinator::Mutator {
  bool LeaseForEver() override { return true; }
};

// An executor that does not see its results.
struct HidesResults : FakeCoordinator::Mutator {
  void Names(const std::string& path, std::vector<std::string>& names) override {
    if (path.find("/results/") != std::string::npos) names.clear();
  }
};

// Claims that outlive their worker: nobody ever notices its death.
struct ClaimsForEver : FakeCoordinator::Mutator {
  void Ask(std::vector<Op>& ops) override {
    for (auto& op : ops) {
      if (op.mode == NodeMode::kEphemeralSequential) op.mode = NodeMode::kPersistentSequential;
    }
  }
};

// A client that says "not there" when it means "no connection".
struct TakesSilenceForAbsence : FakeCoordinator::Mutator {
  ErrorCode WhenCutOff() override { return ErrorCode::kNotFound; }
};

// A producer that turns priorities around.
struct TurnsPriorities : FakeCoordinator::Mutator {
  void Ask(std::vector<Op>& ops) override {
    for (auto& op : ops) {
      if (op.kind != Op::Kind::kCreate || !IsIn(op, "queues")) continue;
      const auto at = op.path.rfind('/') + 1;
      auto name = EntryName::Decode(op.path.substr(at));
      if (!name) continue;
      name->priority = -name->priority;
      op.path = op.path.substr(0, at) + name->Encode();
    }
  }
};

// A producer whose counter accepts everything: an adopter can't fence it.
struct IgnoresTheFence : FakeCoordinator::Mutator {
  void Ask(std::vector<Op>& ops) override {
    for (auto& op : ops) {
      if (op.kind == Op::Kind::kSet && IsIn(op, "producers")) op.version = -1;
    }
  }
};

inline std::vector<NamedMutation> AllMutations() {
  return {
      {"forgets_results", "R1", false, std::make_shared<ForgetsResults>()},
      {"leaves_entries", "R2", false, std::make_shared<LeavesEntries>()},
      {"believes_for_ever", "R2", false, std::make_shared<BelievesForEver>()},
      {"ignores_the_fence", "R2", false, std::make_shared<IgnoresTheFence>()},
      {"hides_results", "R3", false, std::make_shared<HidesResults>()},
      {"claims_for_ever", "R4", false, std::make_shared<ClaimsForEver>()},
      {"takes_silence_for_absence", "R5", false, std::make_shared<TakesSilenceForAbsence>()},
      {"turns_priorities", "R8", true, std::make_shared<TurnsPriorities>()},
  };
}

}  // namespace zkexec::sim
