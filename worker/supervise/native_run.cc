// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/native_run.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace zkexec {
namespace {

// Of log lines, in one turn: beyond, they are written before it is over.
constexpr std::size_t kUnwrittenMax = 1u << 20;

}  // namespace

NativeRun::NativeRun(TaskSpec spec, const SuperviseSettings& settings, ExecutionApi& api,
                     Zygote& zygote, Poller& poller, const Clock& clock, std::uint64_t seed,
                     Over over)
    : settings_(settings),
      zygote_(zygote),
      poller_(poller),
      over_(std::move(over)),
      task_(std::move(spec), settings, api, clock, *this, seed) {}

NativeRun::~NativeRun() {
  *alive_ = false;
  if (process_ != nullptr) process_->SetListener(nullptr);
}

void NativeRun::Begin(TaskProcess* process) {
  process_ = process;
  process_->SetListener(this);
  task_.Begin(process_->pid());
  // Asked for before there was a process.
  if (kill_asked_) task_.Kill(Launcher::Signal::kTerminate);
}

void NativeRun::OnExit(const ProcessEnd& end) { task_.OnExit(end); }

void NativeRun::Kill(Launcher::Signal signal) {
  kill_asked_ = true;
  if (process_ != nullptr) task_.Kill(signal);
}

void NativeRun::Write(const std::string& frame) { process_->Write(frame); }

void NativeRun::SendLoggingChannel(std::int64_t id) { process_->SendLoggingChannel(id); }

void NativeRun::Signal(int number, bool whole_group) { process_->Signal(number, whole_group); }

void NativeRun::Log(const std::string& lines) {
  unwritten_ += lines;
  if (unwritten_.size() > kUnwrittenMax) Flush();
}

void NativeRun::Flush() {
  if (unwritten_.empty()) return;
  log_.Write(unwritten_);
  unwritten_.clear();
}

void NativeRun::AskHelper(const std::string& payload, std::function<void(std::string frame)> done) {
  if (helper_ == nullptr) {
    helper_ = std::make_unique<Helper>(poller_);
    const int theirs = helper_->Open();
    if (theirs >= 0) {
      zygote_.Attend({{"op", "helper"}, {"ti_id", task_.spec().ti_id}, {"pid", process_->pid()}},
                     theirs);
    }
  }
  helper_->Ask(task_.token(), payload,
               [this, done = std::move(done)](const std::string& frame, const std::string& masks) {
                 // What the answer holds of secrets is masked before the task can log it.
                 const auto secrets = nlohmann::ordered_json::parse(masks, nullptr, false);
                 if (!secrets.is_discarded()) task_.masker().Add(secrets);
                 done(frame);
               });
}

void NativeRun::UploadLog(std::function<void()> done) {
  Flush();
  log_.Close();
  const auto ti = nlohmann::json::parse(task_.spec().ti_json, nullptr, false);
  zygote_.Upload({{"path", task_.spec().log_path}, {"ti", ti}, {"token", task_.token()}},
                 [alive = alive_, done = std::move(done)] {
                   if (*alive) done();
                 });
}

void NativeRun::CloseStreams() { process_->CloseStreams(); }

void NativeRun::Done(const ExitReport& report) {
  over_told_ = true;
  Flush();
  log_.Close();
  over_(report);
}

}  // namespace zkexec
