// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/native_run.h"

#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"

namespace zkexec {
namespace {

// Of log lines, in one turn: beyond, they are written before it is over.
constexpr std::size_t kUnwrittenMax = 1u << 20;

}  // namespace

NativeRun::NativeRun(TaskSpec spec, const SuperviseSettings& settings, ExecutionApi& api,
                     Zygote& zygote, Poller& poller, const Clock& clock, Observer& observer,
                     std::uint64_t seed, Over over)
    : settings_(settings),
      zygote_(zygote),
      poller_(poller),
      observer_(observer),
      over_(std::move(over)),
      fence_([this](const std::string& why) { OnFault(why); }),
      api_(api, fence_),
      task_(std::move(spec), settings, api_, clock, *this, seed) {}

NativeRun::~NativeRun() {
  *alive_ = false;
  if (process_ != nullptr) process_->SetListener(nullptr);
}

void NativeRun::Begin(TaskProcess* process) {
  process_ = process;
  fence_.Run([this] {
    process_->SetListener(this);
    task_.Begin(process_->pid());
    // Asked for before there was a process.
    if (kill_asked_) task_.Kill(Launcher::Signal::kTerminate);
  });
}

void NativeRun::OnExit(const ProcessEnd& end) {
  exited_ = true;
  if (fence_.down()) return TellFault();
  fence_.Run([&] { task_.OnExit(end); });
}

void NativeRun::Kill(Launcher::Signal signal) {
  kill_asked_ = true;
  if (process_ != nullptr) fence_.Run([&] { task_.Kill(signal); });
}

void NativeRun::Tick() {
  fence_.Run([this] { task_.Tick(); });
}

void NativeRun::OnFault(const std::string& why) {
  const auto& dispatch = task_.spec().dispatch_id;
  fault_ = "the worker failed while it supervised the task: " + why;
  spdlog::critical("a fault of the worker ends a run dispatch={} error=\"{}\"", dispatch, why);
  observer_.OnRunFault();
  if (process_ != nullptr) {
    process_->SetListener(nullptr);  // what it still says is read and dropped
    process_->Signal(SIGKILL, true);
  }
  try {
    task_.LogFault(fault_);
    log_.Write(std::exchange(unwritten_, {}));
    log_.Close();
  } catch (const std::exception& error) {
    spdlog::error("its log does not say so dispatch={} error=\"{}\"", dispatch, error.what());
  }
  if (process_ == nullptr || exited_) TellFault();
}

void NativeRun::TellFault() {
  if (std::exchange(over_told_, true)) return;
  over_({task_.spec().dispatch_id, "failed", fault_});
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
  fence_.Run([this] {
    log_.Write(unwritten_);
    unwritten_.clear();
  });
}

void NativeRun::AskHelper(const std::string& payload, std::function<void(std::string frame)> done) {
  if (helper_ == nullptr) {
    helper_ = std::make_unique<Helper>(poller_, fence_);
    const int theirs = helper_->Open();
    if (theirs >= 0) {
      zygote_.Attend({{"op", "helper"}, {"ti_id", task_.spec().ti_id}, {"pid", process_->pid()}},
                     theirs);
    }
  }
  helper_->Ask(task_.token(), payload,
               [this, done = std::move(done)](const std::string& frame, const std::string& masks) {
                 fence_.Run([&] {
                   // What the answer holds of secrets is masked before the task can log it.
                   task_.masker().Add(ParseTree(masks, SIZE_MAX));
                   done(frame);
                 });
               });
}

void NativeRun::UploadLog(std::function<void()> done) {
  Flush();
  log_.Close();
  const auto ti = nlohmann::json::parse(task_.spec().ti_json, nullptr, false);
  zygote_.Upload({{"path", task_.spec().log_path}, {"ti", ti}, {"token", task_.token()}},
                 [this, alive = alive_, done = std::move(done)] {
                   if (*alive) fence_.Run(done);
                 });
}

void NativeRun::CloseStreams() { process_->CloseStreams(); }

void NativeRun::Done(const ExitReport& report) {
  Flush();
  log_.Close();
  if (!std::exchange(over_told_, true)) over_(report);
}

}  // namespace zkexec
