// SPDX-License-Identifier: Apache-2.0
#include "executor/inspector.h"

#include <memory>
#include <optional>
#include <utility>

namespace zkexec {
namespace {

struct Walk {
  Inspector::Listing listing;
  std::optional<Error> error;
  std::size_t left = 0;
  Inspector::Listed done;

  void OneMore(const Result<std::vector<std::string>>& names) {
    // A queue that nobody made yet holds nothing.
    if (!names && names.error().code != ErrorCode::kNotFound && !error) error = names.error();
    if (--left > 0) return;
    if (error) {
      done(*error);
    } else {
      done(std::move(listing));
    }
  }
};

}  // namespace

Inspector::Inspector(Coordinator& zk, const Layout& layout) : zk_(zk), layout_(layout) {}

void Inspector::List(const std::vector<std::string>& queues, int partitions, Listed done) {
  zk_.Sync([this, queues, partitions, done](Status synced) {
    if (!synced) return done(synced.error());
    if (queues.empty() || partitions < 1) return done(Listing{});
    auto walk = std::make_shared<Walk>();
    walk->done = done;
    walk->left = queues.size() * static_cast<std::size_t>(partitions) * 2;
    // One session's reads are answered in order: all of queues before all of running.
    for (const auto& queue : queues) {
      for (int i = 0; i < partitions; ++i) {
        zk_.Children(layout_.Partition(queue, i), Watch::kNo,
                     [walk, queue, i](Result<std::vector<std::string>> names) {
                       if (names) {
                         for (const auto& name : *names) {
                           const auto entry = EntryName::Decode(name);
                           if (entry) walk->listing.queued[entry->dispatch] = {queue, i, name};
                         }
                       }
                       walk->OneMore(names);
                     });
      }
    }
    for (const auto& queue : queues) {
      for (int i = 0; i < partitions; ++i) {
        zk_.Children(layout_.RunningPartition(queue, i), Watch::kNo,
                     [walk, queue, i](Result<std::vector<std::string>> names) {
                       if (names) {
                         for (const auto& name : *names) {
                           walk->listing.running[name] = {queue, i, ""};
                         }
                       }
                       walk->OneMore(names);
                     });
      }
    }
  });
}

}  // namespace zkexec
