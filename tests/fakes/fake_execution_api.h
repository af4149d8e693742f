// SPDX-License-Identifier: Apache-2.0
// An ExecutionApi that records what it is asked and answers when the test says so.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "worker/supervise/execution_api.h"

namespace zkexec {

class FakeExecutionApi : public ExecutionApi {
 public:
  void Send(ApiRequest request, const std::string& token, Callback done) override {
    tokens.push_back(token);
    requests.push_back(request);
    waiting_.push_back(std::move(done));
  }
  bool waits() const { return !waiting_.empty(); }
  // Answers the oldest request that has no answer.
  void Answer(ApiAnswer answer) {
    const auto done = std::move(waiting_.front());
    waiting_.pop_front();
    done(std::move(answer));
  }
  void Answer(int status, const std::string& json = "") {
    ApiAnswer answer;
    answer.status = status;
    answer.body = json;
    answer.content_type = json.empty() ? "" : "application/json";
    Answer(std::move(answer));
  }
  void FailToConnect() {
    ApiAnswer answer;
    answer.failure = "connection refused";
    Answer(std::move(answer));
  }

  std::vector<ApiRequest> requests;
  std::vector<std::string> tokens;

 private:
  std::deque<Callback> waiting_;
};

}  // namespace zkexec
