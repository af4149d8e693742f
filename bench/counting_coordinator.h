// SPDX-License-Identifier: Apache-2.0
// CountingCoordinator: passes every call on and counts it.
//
// Threads, lifetime: those of the coordinator it borrows.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/coordinator.h"

namespace zkexec::bench {

class CountingCoordinator : public Coordinator {
 public:
  struct Counts {
    std::int64_t multis = 0;
    std::int64_t ops = 0;  // in all multis
    std::int64_t gets = 0;
    std::int64_t lists = 0;
    std::int64_t other_reads = 0;
  };

  // Both are borrowed; several coordinators may share `counts`.
  CountingCoordinator(Coordinator& zk, Counts& counts) : zk_(zk), counts_(counts) {}

  void SetListener(Listener* listener) override { zk_.SetListener(listener); }
  SessionState state() const override { return zk_.state(); }
  SessionId session() const override { return zk_.session(); }
  TimePoint lease_until() const override { return zk_.lease_until(); }
  void Multi(std::vector<Op> ops, MultiCallback done) override {
    ++counts_.multis;
    counts_.ops += static_cast<std::int64_t>(ops.size());
    zk_.Multi(std::move(ops), std::move(done));
  }
  void Get(const std::string& path, Watch watch, DataCallback done) override {
    ++counts_.gets;
    zk_.Get(path, watch, std::move(done));
  }
  void Children(const std::string& path, Watch watch, NamesCallback done) override {
    ++counts_.lists;
    zk_.Children(path, watch, std::move(done));
  }
  void Exists(const std::string& path, Watch watch, StatCallback done) override {
    ++counts_.other_reads;
    zk_.Exists(path, watch, std::move(done));
  }
  void Sync(StatusCallback done) override {
    ++counts_.other_reads;
    zk_.Sync(std::move(done));
  }

 private:
  Coordinator& zk_;
  Counts& counts_;
};

}  // namespace zkexec::bench
