// SPDX-License-Identifier: Apache-2.0
#include "worker/http/file_threads.h"

#include <condition_variable>
#include <csignal>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace zkexec {

struct FileThreads::State {
  std::size_t waiting_max = 0;  // constant

  std::mutex mutex;
  std::condition_variable changed;
  // All guarded by mutex.
  std::deque<Job> waiting;
  std::size_t threads = 0;  // those that have not ended
  bool closed = false;
};

FileThreads::FileThreads(std::size_t threads, std::size_t waiting_max)
    : state_(std::make_shared<State>()) {
  state_->waiting_max = waiting_max;
  state_->threads = threads;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    // Detached, because one that hangs can't be joined.
    for (std::size_t i = 0; i < threads; ++i) std::thread(Work, state_).detach();
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    Close(std::chrono::milliseconds(0));
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

FileThreads::~FileThreads() { Close(std::chrono::milliseconds(0)); }

bool FileThreads::Post(Job job) {
  const std::lock_guard lock(state_->mutex);
  if (state_->closed || state_->waiting.size() >= state_->waiting_max) return false;
  state_->waiting.push_back(std::move(job));
  state_->changed.notify_one();
  return true;
}

void FileThreads::Close(std::chrono::milliseconds patience) {
  std::deque<Job> dropped;  // destroyed without the lock: a job's end may run anything
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  dropped.swap(state_->waiting);
  state_->changed.notify_all();
  state_->changed.wait_for(lock, patience, [this] { return state_->threads == 0; });
  lock.unlock();
}

void FileThreads::Work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    state->changed.wait(lock, [&] { return state->closed || !state->waiting.empty(); });
    if (state->closed) break;
    Job job = std::move(state->waiting.front());
    state->waiting.pop_front();
    lock.unlock();
    try {
      job();
    } catch (const std::exception&) {
      // The job's owner sees that no result comes.
    }
    job = nullptr;
    lock.lock();
  }
  --state->threads;
  state->changed.notify_all();
}

}  // namespace zkexec
