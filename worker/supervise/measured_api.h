// SPDX-License-Identifier: Apache-2.0
// MeasuredApi: an ExecutionApi that tells how long each answer of another one took.
//
// Pure. Threads: the owner's loop. Lifetime: borrows api, clock and what it tells; answers may
// come after its end.
#pragma once

#include <functional>
#include <utility>

#include "common/clock.h"
#include "worker/supervise/execution_api.h"

namespace zkexec {

class MeasuredApi : public ExecutionApi {
 public:
  // `kind`: run (a task's start), heartbeat, state (its end), other. `status`: 2xx, 3xx, 4xx, 5xx,
  // or none where no answer came.
  using Tell = std::function<void(const char* kind, const char* status, double seconds)>;

  MeasuredApi(ExecutionApi& api, const Clock& clock, Tell tell)
      : api_(api), clock_(clock), tell_(std::move(tell)) {}

  void Send(ApiRequest request, const std::string& token, Callback done) override {
    const char* const kind = KindOf(request.path);
    api_.Send(std::move(request), token,
              [kind, &clock = clock_, tell = tell_, sent = clock_.Now(),
               done = std::move(done)](ApiAnswer answer) {
                tell(kind, StatusOf(answer.status),
                     std::chrono::duration<double>(clock.Now() - sent).count());
                done(std::move(answer));
              });
  }

 private:
  static const char* KindOf(const std::string& path) {
    if (!path.starts_with("task-instances/")) return "other";
    if (path.ends_with("/run")) return "run";
    if (path.ends_with("/heartbeat")) return "heartbeat";
    return path.ends_with("/state") ? "state" : "other";
  }
  static const char* StatusOf(int status) {
    switch (status / 100) {
      case 2: return "2xx";
      case 3: return "3xx";
      case 4: return "4xx";
      case 5: return "5xx";
      default: return "none";
    }
  }

  ExecutionApi& api_;
  const Clock& clock_;
  const Tell tell_;
};

}  // namespace zkexec
