// SPDX-License-Identifier: Apache-2.0
// TaskSpec: Airflow's ExecuteTask workload, as the native supervisor needs it; and what the
// supervisor is told of Airflow's configuration.
//
// Value types. A TaskSpec holds the task's token: never log it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "common/clock.h"
#include "common/result.h"
#include "worker/supervise/api_session.h"
#include "worker/supervise/dialect.h"
#include "worker/supervise/masker.h"

namespace zkexec {

struct TaskSpec {
  std::string dispatch_id;
  std::string ti_id;
  std::string dag_id;
  std::string queue;
  std::string token;  // secret
  std::string dag_rel_path;
  std::string bundle_name;
  std::string bundle_version;  // empty: none
  std::string bundle_data;     // of that version, JSON text; empty: none
  std::string log_path;        // relative to the folder of logs; empty: no log
  std::string ti_json;         // the task instance as Airflow wrote it
  std::string bundle_json;
  std::string sentry_integration;

  // Errors: kInvalid, never quoting the workload. Other workloads than tasks: kNotFound.
  static Result<TaskSpec> Parse(const std::string& dispatch_id, const std::string& workload);
};

// From the zygote's handshake ("supervise"); constant for the worker's life.
struct SuperviseSettings {
  Dialect dialect = Dialect::kNewest;
  std::string api_url;  // for people
  std::string hostname;
  std::string unixname;
  std::string base_log_folder;
  int log_file_mode = 0664;
  int log_folder_mode = 0775;
  int log_level = 20;
  Masker::Rules masking;
  ApiSession::Retries retries;
  Duration heartbeat_interval{5000};
  int failed_heartbeats_max = 3;
  Duration success_overtime{20000};
  Duration socket_cleanup{60000};
  Duration escalation{5000};
  // The same for a task that the API server stops or that overruns its time, since 3.4.
  Duration killed_cleanup{60000};
  bool remote_logs = false;
  std::string segfault_message = "Process terminated by SIGSEGV.";

  // Errors: kInvalid: a field is not what it should be.
  static Result<SuperviseSettings> Make(const nlohmann::json& handshake);
};

}  // namespace zkexec
