// SPDX-License-Identifier: Apache-2.0
// TaskLog: the log file of one task, where the worker's log server and Airflow look for it.
//
// Threads: the owner's loop. Lifetime: owns its descriptor.
#pragma once

#include <string>

#include "common/result.h"
#include "worker/supervise/task_spec.h"

namespace zkexec {

class TaskLog {
 public:
  // Makes missing folders with Airflow's modes, and appends: a task that resumes after a
  // deferral goes on in its file. Without a path there is no file, and Write() does nothing.
  // Errors: kUnavailable.
  Status Open(const SuperviseSettings& settings, const std::string& relative_path);
  TaskLog() = default;
  ~TaskLog();
  TaskLog(const TaskLog&) = delete;
  TaskLog& operator=(const TaskLog&) = delete;

  void Write(const std::string& lines);
  void Close();

 private:
  int fd_ = -1;
  std::string path_;
  bool failing_ = false;  // told once
};

}  // namespace zkexec
