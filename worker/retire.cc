// SPDX-License-Identifier: Apache-2.0
#include "worker/retire.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace zkexec {
namespace {

constexpr std::size_t kBatch = 50;
constexpr Duration kPause{100};

// Outlives RemoveControl() in callbacks that come late.
struct Removal {
  Coordinator& zk;
  const Clock& clock;
  const std::string control;
  bool busy = false;
  bool done = false;
  TimePoint again_at{};
  std::string problem = "no ZooKeeper server was reached";
};

void Settle(Removal& removal, const Error* error) {
  removal.busy = false;
  if (error == nullptr) return;
  removal.problem = error->message;
  // Commands come and go meanwhile: list again at once. Anything else needs time.
  if (error->code == ErrorCode::kNotFound || error->code == ErrorCode::kConflict) return;
  removal.again_at = removal.clock.Now() + kPause;
}

void Remove(const std::shared_ptr<Removal>& removal, const std::vector<std::string>& commands) {
  std::vector<Op> ops;
  const auto count = std::min(kBatch, commands.size());
  for (std::size_t i = 0; i < count; ++i) {
    ops.push_back(Op::Remove(removal->control + "/" + commands[i]));
  }
  const bool last = count == commands.size();
  if (last) ops.push_back(Op::Remove(removal->control));
  removal->zk.Multi(std::move(ops), [removal, last](Result<std::vector<OpResult>> removed) {
    Settle(*removal, removed ? nullptr : &removed.error());
    removal->done = removed && last;
  });
}

void List(const std::shared_ptr<Removal>& removal) {
  removal->busy = true;
  removal->zk.Children(removal->control, Watch::kNo,
                       [removal](Result<std::vector<std::string>> commands) {
                         if (commands) return Remove(removal, *commands);
                         Settle(*removal, &commands.error());
                         removal->done = commands.error().code == ErrorCode::kNotFound;
                       });
}

}  // namespace

Status RemoveControl(EventLoop& loop, Coordinator& zk, const std::string& control,
                     const Clock& clock, Duration limit, const std::function<bool()>& given_up) {
  auto removal = std::make_shared<Removal>(Removal{zk, clock, control});
  for (const auto until = clock.Now() + limit; !removal->done;) {
    if (clock.Now() >= until || (given_up && given_up())) {
      return Error{ErrorCode::kUnavailable, removal->problem};
    }
    // An operation sent without a connection would wait for its deadline.
    const bool connected = zk.state() == SessionState::kConnected;
    if (connected && !removal->busy && clock.Now() >= removal->again_at) List(removal);
    loop.Turn(kPause);
  }
  return Done{};
}

}  // namespace zkexec
