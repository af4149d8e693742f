// SPDX-License-Identifier: Apache-2.0
#include "worker/settings.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "common/layout.h"
#include "common/server_list.h"
#include "worker/http/listener.h"
#include "worker/version.h"

namespace zkexec {
namespace {

constexpr char kAbout[] =
    "Runs Airflow tasks that a ZkExecutor placed in ZooKeeper.\n\n"
    "All settings come from Airflow's configuration, section [zk_executor], as the Python\n"
    "interpreter given by --python sees it; what is given here, or in the environment\n"
    "variable named beside a flag, is used instead.\n\n"
    "Example: zk-worker --slots 32 --queues default,gpu\n\n"
    "SIGTERM drains: no more claims, running tasks may end within --drain-timeout, then they\n"
    "are ended. A second SIGTERM ends them at once.\n\n"
    "Exit codes: 0 drained; 2 invalid configuration or option; 3 the HTTP port is taken;\n"
    "4 the Python side did not start; 128+n signal n killed the worker process.";

// Beside the binary first: both are installed into one environment.
std::string DefaultPython() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto sibling = self.parent_path() / "python3";
    if (access(sibling.c_str(), X_OK) == 0) return sibling.string();
  }
  return "python3";
}

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> words;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    const auto first = word.find_first_not_of(" \t");
    if (first == std::string::npos) continue;
    word = word.substr(first, word.find_last_not_of(" \t") - first + 1);
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  }
  return words;
}

// What zk_executor/settings.py allows for the options.
constexpr int kKillGraceMaxS = 24 * 3600;
constexpr int kDrainTimeoutMaxS = 30 * kKillGraceMaxS;

// Errors: kInvalid, also for what is no number.
Result<Duration> Seconds(double seconds, int max) {
  if (!(seconds >= 0 && seconds <= max)) {
    return Error{ErrorCode::kInvalid, "must be 0 to " + std::to_string(max) + " seconds"};
  }
  return Duration(static_cast<std::int64_t>(seconds * 1000));
}

Error Invalid(const std::string& option, const std::string& why) {
  return Error{ErrorCode::kInvalid, option + ": " + why};
}

}  // namespace

Flags Flags::Parse(int argc, char** argv) {
  Flags flags;
  flags.python = DefaultPython();
  CLI::App app(kAbout, "zk-worker");
  app.set_version_flag("--version", kVersion);
  app.add_option("--python", flags.python, "Python interpreter that has Airflow and zk-executor")
      ->envname("ZK_WORKER_PYTHON")
      ->capture_default_str();
  app.add_option("--slots", flags.slots, "Pool slots' worth of tasks at once [worker_slots]")
      ->envname("ZK_WORKER_SLOTS");
  app.add_option("--queues", flags.queues, "Queues to serve, comma-separated [worker_queues]")
      ->envname("ZK_WORKER_QUEUES");
  app.add_option("--name", flags.name, "Name in `airflow zk workers`; default: the host name")
      ->envname("ZK_WORKER_NAME");
  app.add_option("--http-port", flags.http_port,
                 "Port for logs, metrics and health; 0: any free one [worker_http_port]")
      ->envname("ZK_WORKER_HTTP_PORT");
  app.add_option("--http-host", flags.http_host, "Address to listen on [worker_http_host]")
      ->envname("ZK_WORKER_HTTP_HOST");
  app.add_option("--hosts", flags.hosts,
                 "ZooKeeper servers, host:port, separated by commas [hosts]")
      ->envname("ZK_WORKER_HOSTS");
  app.add_option("--root", flags.root, "Path of our tree in ZooKeeper [root]")
      ->envname("ZK_WORKER_ROOT");
  app.add_option("--team", flags.team, "Team whose tasks to run")
      ->envname("ZK_WORKER_TEAM")
      ->capture_default_str();
  app.add_option("--drain-timeout", flags.drain_timeout_s,
                 "Seconds that running tasks get after SIGTERM [drain_timeout]")
      ->envname("ZK_WORKER_DRAIN_TIMEOUT");
  app.add_option("--kill-grace", flags.kill_grace_s,
                 "Seconds from SIGTERM to SIGKILL of a task [kill_grace]")
      ->envname("ZK_WORKER_KILL_GRACE");
  app.add_option("--journal-dir", flags.journal_dir,
                 "Folder where results wait while ZooKeeper is away [worker_journal_dir]")
      ->envname("ZK_WORKER_JOURNAL_DIR");
  app.add_option("--log-level", flags.log_level,
                 "trace, debug, info, warning or error [worker_log_level]")
      ->envname("ZK_WORKER_LOG_LEVEL");
  app.add_flag("--check-config", flags.check_config,
               "Print what would be used, secrets left out, and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {  // --help, --version
    std::exit(app.exit(done));
  } catch (const CLI::ParseError& wrong) {
    app.exit(wrong);
    std::exit(2);
  }
  return flags;
}

Result<Settings> Settings::Make(const nlohmann::json& handshake, const Flags& flags) {
  Settings s;
  try {
    s.hosts = flags.hosts.value_or(handshake.at("hosts"));
    s.root = flags.root.value_or(handshake.at("root"));
    s.team = flags.team;
    s.digest_auth = handshake.at("digest_auth");
    s.secret = handshake.at("secret");
    s.session_timeout = Duration(handshake.at("session_timeout_ms").get<int>());
    s.partitions = handshake.at("partitions");
    s.slots = flags.slots.value_or(handshake.at("slots"));
    s.slots_max = handshake.at("slots_max");
    s.queues = flags.queues ? Split(*flags.queues)
                            : handshake.at("queues").get<std::vector<std::string>>();
    s.hostname = handshake.at("hostname");
    s.name = flags.name.value_or(s.hostname);
    s.http_host = flags.http_host.value_or(handshake.at("http_host"));
    s.http_port = flags.http_port.value_or(handshake.at("http_port"));
    s.drain_timeout = Duration(handshake.at("drain_timeout_ms").get<std::int64_t>());
    s.kill_grace = Duration(handshake.at("kill_grace_ms").get<std::int64_t>());
    s.relist_interval = Duration(handshake.at("relist_interval_ms").get<std::int64_t>());
    s.journal_dir = flags.journal_dir.value_or(handshake.at("journal_dir"));
    s.log_level = flags.log_level.value_or(handshake.at("log_level"));
    s.api_secret_key = handshake.at("api_secret_key");
    s.base_log_folder = handshake.at("base_log_folder");
    s.log_clock_grace_s = handshake.at("log_clock_grace_s");
    s.airflow_version = handshake.at("airflow_version");
    for (const auto& one : handshake.value("exposed_secrets", nlohmann::json::array())) {
      s.exposed_secrets.push_back({one.at("option"), one.at("risk")});
    }
  } catch (const nlohmann::json::exception& error) {
    return Error{ErrorCode::kInternal, std::string("the zygote's handshake: ") + error.what() +
                                           ": are zk-worker and zk_executor of one version?"};
  }
  if (flags.drain_timeout_s) {
    const auto time = Seconds(*flags.drain_timeout_s, kDrainTimeoutMaxS);
    if (!time) {
      return Invalid("--drain-timeout / [zk_executor] drain_timeout", time.error().message);
    }
    s.drain_timeout = *time;
  }
  if (flags.kill_grace_s) {
    const auto time = Seconds(*flags.kill_grace_s, kKillGraceMaxS);
    if (!time) return Invalid("--kill-grace / [zk_executor] kill_grace", time.error().message);
    s.kill_grace = *time;
  }
  const auto servers = ServerList::Parse(s.hosts);
  if (!servers) {
    return Invalid("--hosts / [zk_executor] hosts",
                   "'" + s.hosts + "' is invalid: " + servers.error().message);
  }
  s.hosts = servers->ToString();
  if (const auto layout = Layout::Make(s.root, s.team); !layout) {
    return Invalid("--root / [zk_executor] root", layout.error().message);
  }
  if (s.slots < 1 || s.slots > s.slots_max) {
    return Invalid(
        "--slots / [zk_executor] worker_slots",
        "must be 1 to " + std::to_string(s.slots_max) + ", it is " + std::to_string(s.slots));
  }
  if (s.queues.empty()) {
    return Invalid("--queues / [zk_executor] worker_queues", "names no queue");
  }
  if (s.name.empty()) return Invalid("--name", "must not be empty");
  if (s.http_port < 0 || s.http_port > 65535) {
    return Invalid("--http-port / [zk_executor] worker_http_port",
                   "must be 0 to 65535, it is " + std::to_string(s.http_port));
  }
  if (!std::filesystem::path(s.journal_dir).is_absolute()) {
    return Invalid("--journal-dir / [zk_executor] worker_journal_dir",
                   "must be an absolute path, it is '" + s.journal_dir + "'");
  }
  static const std::vector<std::string> kLevels{"trace", "debug", "info", "warning", "error"};
  if (std::find(kLevels.begin(), kLevels.end(), s.log_level) == kLevels.end()) {
    return Invalid("--log-level / [zk_executor] worker_log_level",
                   "must be trace, debug, info, warning or error, it is '" + s.log_level + "'");
  }
  return s;
}

std::string Settings::Describe() const {
  std::ostringstream out;
  std::string all_queues;
  for (const auto& queue : queues) all_queues += (all_queues.empty() ? "" : ",") + queue;
  out << "hosts=" << hosts << "\nroot=" << root << "\nteam=" << team
      << "\ndigest_auth=" << (digest_auth.empty() ? "not set" : "set")
      << "\nencryption_secret=" << (secret.empty() ? "not set" : "set")
      << "\nsession_timeout_ms=" << session_timeout.count() << "\npartitions=" << partitions
      << "\nslots=" << slots << "\nqueues=" << all_queues << "\nhostname=" << hostname
      << "\nname=" << name << "\nhttp=" << HostAndPort(http_host, http_port)
      << "\ndrain_timeout_ms=" << drain_timeout.count() << "\nkill_grace_ms=" << kill_grace.count()
      << "\nrelist_interval_ms=" << relist_interval.count() << "\njournal_dir=" << journal_dir
      << "\nlog_level=" << log_level << "\nbase_log_folder=" << base_log_folder
      << "\nairflow=" << airflow_version << "\n";
  return out.str();
}

}  // namespace zkexec
