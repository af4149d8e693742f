# SPDX-License-Identifier: Apache-2.0
"""Airflow's connections, variables and configuration options out of ZooKeeper.

    [secrets]
    backend = zk_executor.secrets.zookeeper.ZookeeperSecretsBackend
    backend_kwargs = {"hosts": "zk1:2181,zk2:2181", "login": "airflow", "password": "…"}

Loaded while Airflow reads its configuration: imports nothing of it but the base class.
Threads: any. See cache.py for forks, lost connections and sessions.
Errors: ZookeeperError for a value that was never known; Airflow logs it and asks its next backend.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from airflow.secrets import BaseSecretsBackend

from zk_executor import names
from zk_executor.zk import waits

CONN_ID = "[secrets] backend_kwargs"


class ZookeeperSecretsBackend(BaseSecretsBackend):
    """Reads ``<path>/<name>``; of a team first ``<path>/<team>/<name>``.

    :param hosts: the servers, host:port,host:port.
    :param chroot: below which all paths are.
    :param login: for digest authentication, with ``password``.
    :param connections_path: its znodes hold a URI or JSON, as AIRFLOW_CONN_… does. None: no
        connections from here.
    :param variables_path: None: no variables from here.
    :param config_path: for options such as sql_alchemy_conn_secret. None: none from here.
    :param patience: seconds that a question waits for ZooKeeper at most.
    :param extra: the fields of a connection of type zookeeper: use_tls, ca_file, sasl_mechanism …

    A slash in a name is written %2F in ZooKeeper, a percent sign %25.
    """

    def __init__(
        self,
        hosts: str = "localhost:2181",
        chroot: str = "",
        login: str = "",
        password: str = "",
        connections_path: str | None = "/airflow/connections",
        variables_path: str | None = "/airflow/variables",
        config_path: str | None = "/airflow/config",
        patience: float = 5.0,
        **extra: Any,
    ) -> None:
        super().__init__()
        self._fields = SimpleNamespace(
            conn_type="zookeeper",
            host=hosts,
            schema=chroot,
            login=login,
            password=password,
            port=None,
            extra_dejson=extra,
        )
        self._paths = {
            "connections_path": connections_path,
            "variables_path": variables_path,
            "config_path": config_path,
        }
        for name, path in self._paths.items():
            problem = names.path_problem(path) if path is not None else ""
            if problem or path == "/":
                raise ValueError(
                    f"{CONN_ID}: {name} = {names.quoted(path)} is no path of a folder: "
                    f"{problem or 'it is the root'}. Write it as /airflow/connections"
                )
        self._patience = float(patience)
        self._cache: Any = None

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        return self._get("connections_path", conn_id, team_name)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:
        return self._get("variables_path", key, team_name)

    def get_config(self, key: str) -> str | None:
        return self._get("config_path", key)

    def close(self) -> None:
        """Ends the session; the next question makes another."""
        if self._cache is not None:
            self._cache.close()

    def _get(self, kind: str, name: str, team: str | None = None) -> str | None:
        base = self._paths[kind]
        if base is None:
            return None
        with waits.within(self._patience):
            for path in candidates(base, name, team):
                value = self._read(path)
                if value is not None:
                    return value
        return None

    def _read(self, path: str) -> str | None:
        from zk_executor.secrets.cache import ZnodeUnavailable

        data = None
        try:
            data = self._started().get(path)
            # A znode that is there only for what is below it has no value.
            return data.decode() if data else None
        except ZnodeUnavailable as error:
            from zk_executor.exceptions import ZookeeperConnectionError

            raise ZookeeperConnectionError(
                f"{self._where}: {path}: {error}. Is the ensemble up, and may this login read it?"
            ) from error
        except UnicodeDecodeError:
            from zk_executor.exceptions import ZookeeperInvalidValue

            raise ZookeeperInvalidValue(
                f"{self._where}: {path}: its value is no UTF-8 text, but {len(data or b'')} other "
                "bytes. Write it anew, as a text"
            ) from None

    @property
    def _where(self) -> str:
        return f"ZooKeeper of {CONN_ID} (hosts {self._fields.host})"

    def _started(self) -> Any:
        from zk_executor.secrets.cache import ZnodeCache

        if self._cache is None:
            # No lock, which a fork could leave locked: of two that are made one is used.
            cache = ZnodeCache(self._make_client, patience=self._patience)
            self._cache = vars(self).setdefault("_made", cache)
        return self._cache

    def _make_client(self) -> Any:
        from zk_executor.hooks.login import read_login
        from zk_executor.zk.client import Client

        login = read_login(self._fields, CONN_ID)
        return Client(answer_timeout=self._patience, **login.client_arguments())


def candidates(base: str, name: str, team: str | None) -> list[str]:
    """The paths to look at, in this order; none for a name that no znode can have."""
    quoted = name.replace("%", "%25").replace("/", "%2F")
    teams = [f"{base}/{team}/{quoted}"] if team and not names.part_problem(team) else []
    return [path for path in (*teams, f"{base}/{quoted}") if not names.path_problem(path)]
