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
void EnsureChildren(Coordinator& zk, const std::string& parent,
                    const std::vector<std::string>& children,
                    const Coordinator::StatusCallback& done) {
  zk.Children(parent, Watch::kNo,
              [&zk, parent, children, done](Result<std::vector<std::string>> names) {
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
                for (const auto& name : children) {
                  if (!there.contains(name)) missing.push_back(parent + "/" + name);
                }
                if (missing.empty()) return done(Done{});
                EnsureNodes(zk, missing, done);
              });
}

std::vector<std::string> Directories(const Layout& layout) {
  std::vector<std::string> names;
  for (const auto& path :
       {layout.Workers(), layout.Schedulers(), layout.Producers(), layout.Queues(),
        layout.Running(), layout.Results(), layout.Controls()}) {
    names.push_back(path.substr(layout.base().size() + 1));
  }
  return names;
}

void MakeMeta(Coordinator& zk, const Layout& layout, int partitions,
              const Coordinator::StatusCallback& done) {
  EnsurePath(zk, layout.base(), [&zk, layout, partitions, done](Status made) {
    if (!made) return done(made.error().Within("create the root"));
    proto::Meta meta;
    meta.set_protocol_version(kProtocolVersion);
    meta.set_partitions(static_cast<std::uint32_t>(partitions));
    zk.Multi({Op::Create(layout.Meta(), meta.SerializeAsString())},
             [done](Result<std::vector<OpResult>> created) {
               if (!created && created.error().code != ErrorCode::kAlreadyExists) {
                 return done(created.error().Within("create meta"));
               }
               done(Done{});
             });
  });
}

void ReadTree(Coordinator& zk, const Layout& layout, const Result<NodeData>& meta,
              const std::function<void(Result<int>)>& done) {
  if (!meta) return done(meta.error().Within("read meta"));
  const auto checked = ReadMeta(layout, meta->data);
  if (!checked) return done(checked);
  EnsureChildren(zk, layout.base(), Directories(layout), [done, checked](Status dirs) {
    if (!dirs) return done(dirs.error());
    done(checked);
  });
}

}  // namespace

void EnsureTree(Coordinator& zk, const Layout& layout, int partitions,
                std::function<void(Result<int>)> done) {
  zk.Get(layout.Meta(), Watch::kNo, [&zk, layout, partitions, done](Result<NodeData> meta) {
    if (meta || meta.error().code != ErrorCode::kNotFound) return ReadTree(zk, layout, meta, done);
    MakeMeta(zk, layout, partitions, [&zk, layout, done](Status made) {
      if (!made) return done(made.error());
      zk.Get(layout.Meta(), Watch::kNo, [&zk, layout, done](Result<NodeData> written) {
        ReadTree(zk, layout, written, done);
      });
    });
  });
}

void EnsureQueue(Coordinator& zk, const Layout& layout, const std::string& queue, int partitions,
                 Coordinator::StatusCallback done) {
  std::vector<std::string> names;
  for (int i = 0; i < partitions; ++i) names.push_back(std::to_string(i));
  EnsureChildren(zk, layout.Queue(queue), names,
                 [&zk, running = layout.RunningQueue(queue), names, done](Status made) {
                   if (!made) return done(made);
                   EnsureChildren(zk, running, names, done);
                 });
}

}  // namespace zkexec
