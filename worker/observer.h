// SPDX-License-Identifier: Apache-2.0
// Observer: what the agent tells the outside (metrics, and a test's record).
// Called on the agent's loop thread; must return at once.
#pragma once

#include <string>

namespace zkexec {

class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnClaimed(int /*count*/) {}
  virtual void OnClaimLost() {}  // another worker was faster
  virtual void OnStarted(const std::string& /*kind*/) {}
  virtual void OnFinished(const std::string& /*kind*/, const std::string& /*outcome*/,
                          double /*seconds*/) {}
  // An entry that this worker can't use: unreadable, newer_protocol, other_secret.
  // Or something in control/ that it can't obey: bad_command.
  virtual void OnRefused(const std::string& /*reason*/) {}
  // Who supervises a run, native or airflow, and for airflow why: a fixed word.
  virtual void OnSupervised(const std::string& /*by*/, const std::string& /*reason*/) {}
  // From what a native task was forked: warm, or a fixed word for why not.
  virtual void OnForked(const std::string& /*how*/) {}
  // A run ended for a fault of the worker's own.
  virtual void OnRunFault() {}
  // What became of a warm process: ready, or a fixed word for why not.
  virtual void OnWarmProcess(const std::string& /*result*/) {}
};

}  // namespace zkexec
