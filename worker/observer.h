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
  // Of one that we claimed: for how long it had waited in its queue, by the clocks of two hosts.
  virtual void OnWaited(double /*seconds*/) {}
  virtual void OnStarted(const std::string& /*kind*/) {}
  // From the claim until it was handed to a process.
  virtual void OnStartDelay(double /*seconds*/) {}
  // A run that we end: revoked (its scheduler or an operator asked), drain (the drain's time is
  // over), abandoned (it was lost to us while ZooKeeper was away).
  virtual void OnKilled(const std::string& /*cause*/) {}
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
