// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/api_session.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/log.h"

namespace zkexec {

ApiSession::ApiSession(ExecutionApi& api, const Clock& clock, const Retries& retries,
                       std::string token, std::uint64_t seed)
    : api_(api), clock_(clock), retries_(retries), token_(std::move(token)), random_(seed) {}

void ApiSession::Send(ApiRequest request, ExecutionApi::Callback done, int attempts) {
  if (attempts == 0) attempts = retries_.attempts;
  Try({std::move(request), std::move(done), 1, hopes_, attempts, {}, {}});
}

void ApiSession::Try(Attempt attempt) {
  auto request = attempt.request;
  api_.Send(std::move(request), token_,
            [this, alive = alive_, attempt = std::move(attempt)](ApiAnswer answer) mutable {
              if (!*alive) return;
              if (!answer.refreshed_token.empty()) token_ = answer.refreshed_token;
              const bool again = answer.status == 0 || answer.status >= 500;
              if (!again || attempt.number >= attempt.number_max || attempt.hope != hopes_)
                return attempt.done(std::move(answer));
              // min ≤ pause ≤ max(min, min(2^(n-1), max)), as Airflow's client has it.
              const double low = static_cast<double>(retries_.wait_min.count());
              const double high =
                  std::max(low, std::min(1000.0 * std::pow(2.0, attempt.number - 1),
                                         static_cast<double>(retries_.wait_max.count())));
              const double pause = std::uniform_real_distribution<double>(low, high)(random_);
              spdlog::warn(
                  "API request failed, will try again method={} status={} attempt={} "
                  "pause_ms={:.0f} error=\"{}\"",
                  attempt.request.method, answer.status, attempt.number, pause, answer.failure);
              ++attempt.number;
              attempt.at = clock_.Now() + Duration{static_cast<Duration::rep>(pause)};
              attempt.answer = std::move(answer);
              waiting_.push_back(std::move(attempt));
            });
}

void ApiSession::GiveUp() {
  ++hopes_;
  for (auto& attempt : std::exchange(waiting_, {})) attempt.done(std::move(attempt.answer));
}

void ApiSession::Forget() {
  *alive_ = false;
  alive_ = std::make_shared<bool>(true);
  waiting_.clear();
}

void ApiSession::Tick() {
  const auto now = clock_.Now();
  for (std::size_t i = 0; i < waiting_.size();) {
    if (waiting_[i].at > now) {
      ++i;
      continue;
    }
    auto attempt = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    Try(std::move(attempt));
  }
}

TimePoint ApiSession::due() const {
  auto first = TimePoint::max();
  for (const auto& attempt : waiting_) first = std::min(first, attempt.at);
  return first;
}

}  // namespace zkexec
