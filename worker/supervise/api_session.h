// SPDX-License-Identifier: Apache-2.0
// ApiSession: one task's dealings with the API server: its token, which the server renews,
// and Airflow's retries: network failures and 5xx, whatever the method, with pauses that
// grow and are random.
//
// Pure. Threads: the owner's loop. Lifetime: borrows api and clock; answers that come
// after its end go nowhere.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/clock.h"
#include "worker/supervise/execution_api.h"

namespace zkexec {

class ApiSession {
 public:
  struct Retries {
    int attempts = 5;
    Duration wait_min{1000};
    Duration wait_max{90000};
  };
  ApiSession(ExecutionApi& api, const Clock& clock, const Retries& retries, std::string token,
             std::uint64_t seed);
  ~ApiSession() { *alive_ = false; }
  ApiSession(const ApiSession&) = delete;
  ApiSession& operator=(const ApiSession&) = delete;

  // One answer each; the last one if all attempts failed. `attempts`: 0 for the usual number.
  void Send(ApiRequest request, ExecutionApi::Callback done, int attempts = 0);
  // Sends what is due again.
  void Tick();
  // What waits to be sent again is answered with its last answer now, what is under way with
  // the next; for a process that has ended while nobody answered.
  void GiveUp();
  // What is under way gets no answer.
  void Forget();
  // When Tick() has something to do; TimePoint::max() if nothing waits.
  TimePoint due() const;
  const std::string& token() const { return token_; }

 private:
  struct Attempt {
    ApiRequest request;
    ExecutionApi::Callback done;
    int number = 1;
    std::uint64_t hope = 0;  // hopes_ when it was sent first
    int number_max = 1;
    TimePoint at{};
    ApiAnswer answer;  // to the one before
  };
  void Try(Attempt attempt);

  ExecutionApi& api_;
  const Clock& clock_;
  const Retries retries_;
  std::string token_;
  std::mt19937_64 random_;
  std::vector<Attempt> waiting_;
  std::uint64_t hopes_ = 0;  // how often they were given up
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace zkexec
