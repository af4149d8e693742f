// SPDX-License-Identifier: Apache-2.0
#include "common/tree.h"

#include <set>
#include <utility>
#include <vector>

#include "common/proto/zkexec.pb.h"

namespace zkexec {
namespace {

constexpr int kPartitionsMax = 1024;

Result<int> ReadMeta(const Layout& layout, const std::string& data) {
  proto::Meta meta;
  if (!meta.ParseFromString(data) || meta.partitions() < 1 ||
      meta.partitions() > static_cast<std::uint32_t>(kPartitionsMax)) {
    return Error{ErrorCode::kInvalid,
                 layout.Meta() +
                     " is not ours or is damaged: point [zk_executor] root at a "
                     "path that nothing else uses"};
  }
  if (meta.protocol_version() != kProtocolVersion) {
    return Error{ErrorCode::kInvalid, layout.Meta() + " says protocol version " +
                                          std::to_string(meta.protocol_version()) +
                                          ", this is version " + std::to_string(kProtocolVersion) +
                                          ": upgrade, or use another [zk_executor] root"};
  }
  return static_cast<int>(meta.partitions());
}

// Creating what exists is a write as well, one for each: a thousand workers that start would
// send two million of them.
void EnsurePartitions(Coordinator& zk, const std::string& parent, int partitions,
                      const Coordinator::StatusCallback& done) {
  zk.Children(parent, Watch::kNo,
              [&zk, parent, partitions, done](Result<std::vector<std::string>> names) {
                if (!names && names.error().code != ErrorCode::kNotFound) {
                  return done(names.error().Within("list " + parent));
                }
                std::set<std::string> there;
                std::vector<std::string> missing;
                if (names) {
                  there.insert(names->begin(), names->end());
                } else {
                  missing.push_back(parent);
                }
                for (int i = 0; i < partitions; ++i) {
                  const auto name = std::to_string(i);
                  if (!there.contains(name)) missing.push_back(parent + "/" + name);
                }
                if (missing.empty()) return done(Done{});
                EnsureNodes(zk, missing, done);
              });
}

}  // namespace

void EnsureTree(Coordinator& zk, const Layout& layout, int partitions,
                std::function<void(Result<int>)> done) {
  EnsurePath(zk, layout.base(), [&zk, layout, partitions, done](Status made) {
    if (!made) return done(made.error().Within("create the root"));
    proto::Meta meta;
    meta.set_protocol_version(kProtocolVersion);
    meta.set_partitions(static_cast<std::uint32_t>(partitions));
    zk.Multi({Op::Create(layout.Meta(), meta.SerializeAsString())},
             [&zk, layout, done](Result<std::vector<OpResult>> created) {
               if (!created && created.error().code != ErrorCode::kAlreadyExists) {
                 return done(created.error().Within("create meta"));
               }
               zk.Get(layout.Meta(), Watch::kNo, [&zk, layout, done](Result<NodeData> meta_node) {
                 if (!meta_node) return done(meta_node.error().Within("read meta"));
                 const auto checked = ReadMeta(layout, meta_node->data);
                 if (!checked) return done(checked);
                 EnsureNodes(
                     zk,
                     {layout.Workers(), layout.Schedulers(), layout.Producers(), layout.Queues(),
                      layout.Running(), layout.Results(), layout.Controls()},
                     [done, checked](Status dirs) {
                       if (!dirs) return done(dirs.error());
                       done(checked);
                     });
               });
             });
  });
}

void EnsureQueue(Coordinator& zk, const Layout& layout, const std::string& queue, int partitions,
                 Coordinator::StatusCallback done) {
  EnsurePartitions(zk, layout.Queue(queue), partitions,
                   [&zk, running = layout.RunningQueue(queue), partitions, done](Status made) {
                     if (!made) return done(made);
                     EnsurePartitions(zk, running, partitions, done);
                   });
}

}  // namespace zkexec
