# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns of this provider: executor, commands, configuration, connection type.

``OPTIONS`` is the one list of our options and their defaults, ``CONNECTION_TYPE`` that of the
fields of a connection. Imports nothing: it is read by every
``airflow`` command.
"""

from __future__ import annotations

from typing import Any

SECTION = "zk_executor"
INTEGRATION = "Apache ZooKeeper"
# For the start of a worker and for the command that changes its slots: each slot in use is an
# ephemeral node, and a session with many more of them endangers the ensemble.
WORKER_SLOTS_MAX = 2048


def _option(
    kind: str,
    default: str,
    example: str | None,
    description: str,
    *,
    sensitive: bool = False,
) -> dict[str, Any]:
    option: dict[str, Any] = {
        "description": description,
        "version_added": "0.1.0",
        "type": kind,
        "example": example,
        "default": default,
    }
    if sensitive:
        option["sensitive"] = True
    return option


OPTIONS: dict[str, dict[str, Any]] = {
    "hosts": _option(
        "string",
        "localhost:2181",
        "zk1:2181,zk2:2181,zk3:2181",
        "The servers of the ZooKeeper ensemble, host:port, separated by commas; without a port "
        "2181. IPv6 addresses are written in brackets: [2001:db8::7]:2181. The same for schedulers "
        "and workers.",
    ),
    "root": _option(
        "string",
        "/zk-executor",
        "/production/zk-executor",
        "The znode under which everything is kept. Deployments that share an ensemble need "
        "different ones.",
    ),
    "digest_auth": _option(
        "string",
        "",
        "airflow:a-password",
        "user:password with which schedulers and workers sign in to ZooKeeper. Nobody else can "
        "then read or change what is there. Empty: no signing in, and whoever reaches ZooKeeper "
        "can do all that schedulers and workers do, but for reading workloads, which stay "
        "encrypted: kill tasks, drain workers, forge results, remove what waits, shut schedulers "
        "out. Schedulers and workers say so at each start.",
        sensitive=True,
    ),
    "session_timeout": _option(
        "float",
        "15",
        "30",
        "Seconds without a word from a scheduler's or worker's host until ZooKeeper calls it gone. "
        "A process that dies is noticed sooner. ZooKeeper keeps it within 2 and 20 of its ticks.",
    ),
    "partitions": _option(
        "integer",
        "64",
        "128",
        "Into how many parts each queue is split, so that workers share the watching. Fixed when "
        "the root is first used; every process must name the same number. At least twice the "
        "number of workers is good.",
    ),
    "encryption_key": _option(
        "string",
        "",
        "a-long-random-text",
        "Secret that encrypts workloads, tokens included, in ZooKeeper; at least 8 characters, the "
        "same for schedulers and workers. Empty: derived from [api] secret_key, which must then "
        "be set, and be the same, on all of them.",
        sensitive=True,
    ),
    "max_workload_bytes": _option(
        "integer",
        "524288",
        "262144",
        "A workload larger than this fails at once, with its size in the message, instead of "
        "straining ZooKeeper. Stay well below the jute.maxbuffer of the ensemble.",
    ),
    "worker_slots": _option(
        "integer",
        "16",
        "32",
        f"How many tasks a worker runs at the same time, 1 to {WORKER_SLOTS_MAX}.",
    ),
    "worker_queues": _option(
        "string",
        "",
        "default,heavy",
        "The queues a worker serves, separated by commas. Empty: [operators] default_queue.",
    ),
    "worker_host": _option(
        "string",
        "",
        "worker-1.example.org",
        "The name under which the API server reaches this worker's logs. Empty: what [core] "
        "hostname_callable says.",
    ),
    "worker_http_port": _option(
        "integer",
        "0",
        "8793",
        "Port of a worker's logs, metrics and health. 0: [logging] worker_log_server_port, which "
        "is where the API server looks for logs.",
    ),
    "worker_http_host": _option(
        "string",
        "0.0.0.0",
        "::",
        "Address on which a worker serves HTTP. 0.0.0.0: every IPv4 address; ::, every address.",
    ),
    "drain_timeout": _option(
        "float",
        "600",
        "3600",
        "Seconds after SIGTERM during which a worker takes nothing new and lets its tasks finish. "
        "What still runs then is ended. 0: end them at once.",
    ),
    "kill_grace": _option(
        "float",
        "10",
        "30",
        "Seconds between SIGTERM and SIGKILL for tasks that are ended.",
    ),
    "relist_interval": _option(
        "float",
        "5",
        "2",
        "Seconds after which a worker lists its queues again even if no watch fired.",
    ),
    "worker_journal_dir": _option(
        "string",
        "",
        "/var/lib/zk-worker",
        "Folder on a worker's host where results wait while ZooKeeper is away, so that the "
        "worker's own end loses none; workers may share it. It has to outlive the worker: in a "
        "container, put it on a volume. Empty: the folder zk-worker in AIRFLOW_HOME.",
    ),
    "worker_log_level": _option(
        "string", "info", "debug", "One of trace, debug, info, warning, error."
    ),
    "preload": _option(
        "string",
        "",
        "pandas,numpy",
        "Python modules, separated by commas, that a worker imports once for all its tasks, on top "
        "of Airflow's own. They must not start threads or open connections when imported.",
    ),
    "supervisor": _option(
        "string",
        "auto",
        "airflow",
        "Who supervises tasks. native: the worker itself, without a second Python process per "
        "task. airflow: Airflow's own supervisor. auto: native with versions of Airflow that it "
        "was verified with, else airflow. What the native one can't run (callbacks, connection "
        "tests, queues of other languages) always goes to Airflow's; a metric counts it by reason.",
    ),
    "warm": _option(
        "string",
        "imports",
        "off",
        "imports: tasks are forked from processes that have imported, ahead, the installed modules "
        "which their DAG file imports at its top. No line of a DAG file runs there; each task "
        "parses its file itself. off: each task imports all that Airflow itself does not need.",
    ),
    "warm_memory_mb": _option(
        "integer",
        "1024",
        "4096",
        "Memory that the warm processes of a worker may use together, in MB of proportional set "
        "size. The least recently used go first.",
    ),
    "warm_idle_children": _option(
        "integer",
        "1",
        "4",
        "How many processes each warm process in use forks ahead, so that a start has not to wait "
        "for a fork.",
    ),
}

DEFAULTS: dict[str, str] = {name: option["default"] for name, option in OPTIONS.items()}


def _modules(*names: str) -> dict[str, Any]:
    return {"integration-name": INTEGRATION, "python-modules": list(names)}


def _field(
    label: str, kind: str, description: str, default: Any = None, **schema: Any
) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": [kind, "null"], "default": default, **schema},
    }


CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "zookeeper",
    "hook-class-name": "zk_executor.hooks.zookeeper.ZookeeperHook",
    "hook-name": "Apache ZooKeeper",
    "ui-field-behaviour": {
        "hidden-fields": [],
        "relabeling": {"host": "Hosts", "schema": "Chroot", "port": "Port of hosts without one"},
        "placeholders": {
            "host": "zk1:2181,zk2:2181,zk3:2181",
            "port": "2181",
            "schema": "/production",
        },
    },
    "conn-fields": {
        "acl": _field(
            "ACL of new znodes",
            "string",
            "creator: only this login. creator-and-readers: all may read. open: everybody may do "
            "everything. Empty: creator with a login, else open.",
            enum=["creator", "creator-and-readers", "open"],
        ),
        "sasl_mechanism": _field(
            "SASL mechanism",
            "string",
            "Sign in with SASL instead of digest; needs the package pure-sasl.",
            enum=["DIGEST-MD5", "GSSAPI"],
        ),
        "sasl_service": _field("SASL service", "string", "The servers' service (zookeeper)."),
        "sasl_principal": _field("SASL principal", "string", "For GSSAPI: who we are."),
        "use_tls": _field("TLS", "boolean", "Encrypt the connection.", False),
        "ca_file": _field("CA file", "string", "PEM file with who signs the servers."),
        "cert_file": _field("Certificate file", "string", "PEM file with our certificate."),
        "key_file": _field("Key file", "string", "PEM file with our key."),
        "key_password": _field(
            "Key password", "string", "Password of the key file.", format="password"
        ),
        "verify": _field("Verify", "boolean", "Check the servers' certificates.", True),
        "check_hostname": _field(
            "Check host names", "boolean", "Compare them with the certificates.", True
        ),
        "session_timeout": _field(
            "Session timeout", "number", "Seconds without a word until the session is gone.", 10
        ),
        "connect_timeout": _field(
            "Connect timeout", "number", "Seconds until connecting fails.", 10
        ),
        "operation_timeout": _field(
            "Operation timeout",
            "number",
            "Seconds until an operation fails; it is repeated on connection loss until then.",
            15,
        ),
    },
}


def get_provider_info() -> dict[str, Any]:
    """Called by Airflow through the ``apache_airflow_provider`` entry point."""
    return {
        "package-name": "zk-executor",
        "name": "ZkExecutor",
        "description": "Executor that hands tasks to workers through Apache ZooKeeper; "
        "configuration, cluster and locks for DAGs through it, too.",
        "executors": ["zk_executor.ZkExecutor"],
        "connection-types": [CONNECTION_TYPE],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://zookeeper.apache.org/",
                "tags": ["apache"],
            }
        ],
        "hooks": [_modules("zk_executor.hooks.zookeeper")],
        "operators": [
            _modules(
                "zk_executor.operators.config",
                "zk_executor.operators.atomic",
                "zk_executor.operators.cluster",
            )
        ],
        "sensors": [_modules("zk_executor.sensors.config", "zk_executor.sensors.cluster")],
        "triggers": [
            _modules(
                "zk_executor.triggers.zookeeper",
                "zk_executor.triggers.locks",
                "zk_executor.triggers.barrier",
                "zk_executor.triggers.cluster",
            )
        ],
        "secrets-backends": ["zk_executor.secrets.zookeeper.ZookeeperSecretsBackend"],
        "cli": ["zk_executor.cli.definition.get_zk_cli_commands"],
        "config": {
            SECTION: {
                "description": "ZkExecutor and its workers. For a team, set an option as "
                "AIRFLOW__TEAM___ZK_EXECUTOR__OPTION or in section [team=zk_executor]; as "
                "everywhere in Airflow, what a team leaves out has the default, not the global "
                "value.",
                "options": OPTIONS,
            }
        },
    }
