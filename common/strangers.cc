// SPDX-License-Identifier: Apache-2.0
#include "common/strangers.h"

#include "common/log.h"

namespace zkexec {
namespace {

constexpr std::size_t kKnownMax = 10000;

}  // namespace

void Strangers::Met(const std::string& path, const std::string& why) {
  if (known_.size() >= kKnownMax) known_.clear();
  if (!known_.insert(path).second) return;
  ++count_;
  spdlog::warn("a node that is not ours was left alone path={} reason=\"{}\"", path, why);
}

}  // namespace zkexec
