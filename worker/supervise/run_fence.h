// SPDX-License-Identifier: Apache-2.0
// RunFence: where calls on behalf of one run end if they throw. An exception that left a callback
// of the loop would end the worker, and every other task with it; here it ends the run.
//
// Threads:  the owner's loop.
// Lifetime: of the run. What is called through it may destroy neither.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "worker/supervise/execution_api.h"

namespace zkexec {

class RunFence {
 public:
  // `failed` is called once, after the first exception, with its words. It must not throw.
  explicit RunFence(std::function<void(const std::string& why)> failed)
      : failed_(std::move(failed)) {}

  // Nothing is called any more once the run has failed: its state is not to be trusted.
  template <typename Call>
  void Run(Call&& call) {
    if (down_) return;
    std::string why;
    try {
      return std::forward<Call>(call)();
    } catch (const std::exception& error) {
      why = error.what();
    } catch (...) {
      why = "an exception that is none of the standard library's";
    }
    down_ = true;
    failed_(why);
  }
  bool down() const { return down_; }

 private:
  const std::function<void(const std::string&)> failed_;
  bool down_ = false;
};

// The API of one run: its answers come through the run's fence, and not at all after its end.
class FencedApi : public ExecutionApi {
 public:
  FencedApi(ExecutionApi& api, RunFence& fence) : api_(api), fence_(fence) {}
  ~FencedApi() override { *alive_ = false; }

  void Send(ApiRequest request, const std::string& token, Callback done) override {
    api_.Send(std::move(request), token,
              [alive = alive_, fence = &fence_, done = std::move(done)](ApiAnswer answer) {
                if (!*alive) return;
                fence->Run([&] { done(std::move(answer)); });
              });
  }

 private:
  ExecutionApi& api_;
  RunFence& fence_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace zkexec
