// SPDX-License-Identifier: Apache-2.0
#include "worker/supervise/task_spec.h"

#include <nlohmann/json.hpp>

namespace zkexec {
namespace {

using Json = nlohmann::ordered_json;

// A string of the object; empty if it is null or absent.
std::string Text(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Result<TaskSpec> TaskSpec::Parse(const std::string& dispatch_id, const std::string& workload) {
  const auto parsed = Json::parse(workload, nullptr, false);
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

SuperviseSettings SuperviseSettings::Make(const nlohmann::json& handshake) {
  SuperviseSettings settings;
  const auto found = handshake.find("supervise");
  const auto told =
      found != handshake.end() && found->is_object() ? *found : nlohmann::json::object();
  const auto milliseconds = [&told](const char* key, Duration fallback) {
    const double seconds = told.value(key, static_cast<double>(fallback.count()) / 1000.0);
    return Duration{static_cast<Duration::rep>(seconds * 1000.0)};
  };
  settings.dialect =
      static_cast<Dialect>(told.value("dialect", static_cast<int>(Dialect::kNewest)));
  settings.api_url = handshake.value("execution_api_server_url", "");
  settings.hostname = handshake.value("hostname", "");
  settings.base_log_folder = handshake.value("base_log_folder", "");
  settings.unixname = told.value("unixname", "");
  settings.log_file_mode = told.value("log_file_mode", settings.log_file_mode);
  settings.log_folder_mode = told.value("log_folder_mode", settings.log_folder_mode);
  settings.log_level = told.value("log_level", settings.log_level);
  settings.masking.hide_sensitive_names = told.value("hide_sensitive_names", true);
  settings.masking.sensitive_names = told.value("sensitive_names", std::vector<std::string>{});
  settings.masking.thorough = settings.dialect >= Dialect::k34;
  settings.masking.min_length = told.value("min_length_masked_secret", std::size_t{5});
  settings.retries.attempts = told.value("api_retries", settings.retries.attempts);
  settings.retries.wait_min = milliseconds("api_retry_wait_min_s", settings.retries.wait_min);
  settings.retries.wait_max = milliseconds("api_retry_wait_max_s", settings.retries.wait_max);
  settings.heartbeat_interval = milliseconds("heartbeat_interval_s", settings.heartbeat_interval);
  settings.failed_heartbeats_max =
      told.value("failed_heartbeats_max", settings.failed_heartbeats_max);
  settings.success_overtime = milliseconds("success_overtime_s", settings.success_overtime);
  settings.socket_cleanup = milliseconds("socket_cleanup_s", settings.socket_cleanup);
  settings.killed_cleanup = milliseconds("killed_cleanup_s", settings.killed_cleanup);
  settings.remote_logs = told.value("remote_logs", false);
  settings.segfault_message = told.value("segfault_message", settings.segfault_message);
  return settings;
}

}  // namespace zkexec
