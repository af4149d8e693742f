// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task_spec.h"

#include <nlohmann/json.hpp>

#include "worker/json_fields.h"
#include "worker/supervise/wire.h"

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

// A text of the object; empty if it is null, absent or something else.
std::string Text(const Json& object, const char* key) { return JsonFields(object, "").Text(key); }

}  // namespace

Result<TaskSpec> TaskSpec::Parse(const std::string& dispatch_id, const std::string& workload) {
  const auto parsed = ParseTree(workload);
  if (!parsed.is_object()) return Error{ErrorCode::kInvalid, "unreadable workload"};
  if (Text(parsed, "type") != "ExecuteTask") {
    return Error{ErrorCode::kNotFound, "not a task"};
  }
  const auto ti = parsed.find("ti");
  const auto bundle = parsed.find("bundle_info");
  if (ti == parsed.end() || !ti->is_object() || bundle == parsed.end() || !bundle->is_object()) {
    return Error{ErrorCode::kInvalid, "a workload without task instance or bundle"};
  }
  TaskSpec spec;
  spec.dispatch_id = dispatch_id;
  spec.ti_id = Text(*ti, "id");
  spec.dag_id = Text(*ti, "dag_id");
  spec.queue = Text(*ti, "queue");
  spec.token = Text(parsed, "token");
  spec.dag_rel_path = Text(parsed, "dag_rel_path");
  spec.bundle_name = Text(*bundle, "name");
  spec.bundle_version = Text(*bundle, "version");
  if (const auto data = bundle->find("version_data"); data != bundle->end() && !data->is_null())
    spec.bundle_data = data->dump();
  spec.log_path = Text(parsed, "log_path");
  spec.sentry_integration = Text(parsed, "sentry_integration");
  spec.bundle_json = bundle->dump();
  // Not part of what a task is told.
  auto told = *ti;
  told.erase("pool_slots");
  told.erase("priority_weight");
  spec.ti_json = told.dump();
  if (spec.ti_id.empty() || spec.dag_rel_path.empty() || spec.bundle_name.empty()) {
    return Error{ErrorCode::kInvalid, "a workload without task instance id, DAG file or bundle"};
  }
  return spec;
}

Result<SuperviseSettings> SuperviseSettings::Make(const nlohmann::json& handshake) {
  SuperviseSettings settings;
  JsonFields all(handshake, "the zygote's handshake");
  settings.api_url = all.Text("execution_api_server_url");
  settings.hostname = all.Text("hostname");
  settings.base_log_folder = all.Text("base_log_folder");
  const auto* found = all.Object("supervise");
  if (!all.status()) return all.status().error();
  if (found == nullptr) return settings;
  JsonFields told(*found, "\"supervise\" of the zygote's handshake");
  settings.dialect = static_cast<Dialect>(told.Int("dialect", static_cast<int>(Dialect::kNewest)));
  settings.masking.thorough = settings.dialect >= Dialect::k34;
  settings.killed_cleanup = told.Seconds("killed_cleanup_s", settings.killed_cleanup);
  settings.unixname = told.Text("unixname");
  settings.log_file_mode = told.Int("log_file_mode", settings.log_file_mode);
  settings.log_folder_mode = told.Int("log_folder_mode", settings.log_folder_mode);
  settings.log_level = told.Int("log_level", settings.log_level);
  settings.masking.hide_sensitive_names = told.Flag("hide_sensitive_names", true);
  settings.masking.sensitive_names = told.Texts("sensitive_names");
  settings.masking.min_length =
      static_cast<std::size_t>(told.Integer("min_length_masked_secret", 5, 0));
  settings.retries.attempts = told.Int("api_retries", settings.retries.attempts);
  settings.retries.wait_min = told.Seconds("api_retry_wait_min_s", settings.retries.wait_min);
  settings.retries.wait_max = told.Seconds("api_retry_wait_max_s", settings.retries.wait_max);
  settings.heartbeat_interval = told.Seconds("heartbeat_interval_s", settings.heartbeat_interval);
  settings.failed_heartbeats_max =
      told.Int("failed_heartbeats_max", settings.failed_heartbeats_max);
  settings.success_overtime = told.Seconds("success_overtime_s", settings.success_overtime);
  settings.socket_cleanup = told.Seconds("socket_cleanup_s", settings.socket_cleanup);
  settings.remote_logs = told.Flag("remote_logs");
  settings.segfault_message = told.Text("segfault_message", settings.segfault_message);
  if (!told.status()) return told.status().error();
  return settings;
}

}  // namespace zkexec
