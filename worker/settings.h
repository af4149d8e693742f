// SPDX-License-Identifier: Apache-2.0
// Settings: everything that zk-worker is told. Airflow's configuration comes
// with the zygote's handshake; command line and ZK_WORKER_… variables override.
// Validated once, immutable afterwards.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/result.h"

namespace zkexec {

// The command line, with what was left out absent.
struct Flags {
  std::string python;
  std::optional<int> slots;
  std::optional<std::string> queues;
  std::optional<std::string> name;
  std::optional<int> http_port;
  std::optional<std::string> http_host;
  std::optional<std::string> hosts;
  std::optional<std::string> root;
  std::string team = "default";
  std::optional<double> drain_timeout_s;
  std::optional<double> kill_grace_s;
  std::optional<std::string> journal_dir;
  std::optional<std::string> log_level;
  bool check_config = false;

  // Exits the process itself for --help and --version (0) and for wrong usage (2).
  static Flags Parse(int argc, char** argv);
};

// A secret that the host can read although no worker needs it.
struct ExposedSecret {
  std::string option;
  std::string risk;
};

struct Settings {
  std::string hosts;  // as ServerList writes it
  std::string root;
  std::string team;
  std::string digest_auth;  // secret
  std::string secret;       // secret; seals workloads
  Duration session_timeout{};
  int partitions = 0;
  int slots = 0;
  int slots_max = 0;  // what slots may be at most, at the start and by command
  std::vector<std::string> queues;
  std::string hostname;
  std::string name;  // for people and znodes; an incarnation's suffix follows
  std::string http_host;
  int http_port = 0;
  Duration drain_timeout{};
  Duration kill_grace{};
  Duration relist_interval{};
  std::string journal_dir;  // absolute
  std::string log_level;
  std::string api_secret_key;  // secret; signs requests for logs
  std::string base_log_folder;
  int log_clock_grace_s = 0;
  std::string airflow_version;
  std::vector<ExposedSecret> exposed_secrets;

  // Errors: kInvalid, with the name of the option and what it may be.
  static Result<Settings> Make(const nlohmann::json& handshake, const Flags& flags);
  // One line per setting; secrets only as set or not set.
  std::string Describe() const;
};

}  // namespace zkexec
