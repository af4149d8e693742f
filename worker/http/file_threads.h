// SPDX-License-Identifier: Apache-2.0
// FileThreads: threads for what waits for a file system.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

namespace zkexec {

// A fixed number of threads that take jobs in their order. A file system that hangs (a dead NFS
// server, say) takes its jobs' threads with it; nobody waits for them for ever.
//
// Threads:  every method from the owner's thread, but Post() from any. The threads block all
//           signals.
// Lifetime: a job may run, and end, after Close() and after this object is gone. It must own what
//           it uses.
// Errors:   what a job throws is dropped.
class FileThreads {
 public:
  using Job = std::function<void()>;

  // At most `waiting_max` jobs wait at a time. Throws std::system_error if the threads can't start.
  FileThreads(std::size_t threads, std::size_t waiting_max);
  ~FileThreads();  // closes, with no patience
  FileThreads(const FileThreads&) = delete;
  FileThreads& operator=(const FileThreads&) = delete;

  // False if too many wait already, or after Close(): then the job is not run.
  bool Post(Job job);

  // Drops what waits, and lets what runs end; after `patience` it is left alone. Idempotent.
  void Close(std::chrono::milliseconds patience);

 private:
  struct State;
  static void Work(const std::shared_ptr<State>& state);
  const std::shared_ptr<State> state_;
};

}  // namespace zkexec
