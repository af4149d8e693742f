# SPDX-License-Identifier: Apache-2.0
"""The hook of connection type ``zookeeper``: a started kazoo client, and calls that explain errors.

Threads: any may call, but kazoo's; kazoo has its own. None is started before ``get_conn``, and none
survives a fork: a hook that finds itself in another process makes a client of its own there.
Errors: subclasses of ZookeeperError, which name connection, hosts, path and what to do.
Session: kazoo connects again by itself, with a new session when the old one has expired.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret
from kazoo.exceptions import ConnectionClosedError, ConnectionLoss, KazooException
from kazoo.handlers.threading import KazooTimeoutError

from zk_executor.exceptions import (
    ZookeeperAuthError,
    ZookeeperConnectionError,
    ZookeeperError,
    ZookeeperInvalidConnection,
    ZookeeperNotFound,
    check_path,
    explain,
    told,
)
from zk_executor.hooks.login import Login, read_login
from zk_executor.servers import InvalidServers, parse_servers
from zk_executor.sizes import check_arguments
from zk_executor.zk import waits
from zk_executor.zk.client import Client
from zk_executor.zk.handler import NoAnswer

_PAUSE = 0.1
_hooks: weakref.WeakSet[ZookeeperHook] = weakref.WeakSet()
_exit_watched_by = 0


class ZookeeperHook(BaseHook):
    """Talks to the ensemble of a connection.

    ``with ZookeeperHook("zookeeper_default") as hook: hook.call("get", "/app/config")``. Without
    ``with`` the client is closed by ``close``, or with the process of the task.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "zookeeper_default"
    conn_type = "zookeeper"
    hook_name = "Apache ZooKeeper"

    def __init__(self, conn_id: str = default_conn_name, *, login: Login | None = None) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._login = login
        self._client: Client | None = None
        self._signed_in = False
        self._lock = threading.Lock()
        _hooks.add(self)

    @property
    def login(self) -> Login:
        """What the connection says; read once. Errors: ZookeeperInvalidConnection.

        Nobody has to make a connection to try things: without one of the default's name, it is
        the servers of [zk_executor] hosts, without a login.
        """
        if self._login is None:
            try:
                login = read_login(self.get_connection(self.conn_id), self.conn_id)
            except AirflowNotFoundException:
                if self.conn_id != self.default_conn_name:
                    raise
                login = _executor_servers(self.conn_id)
            for secret in login.secrets:
                mask_secret(secret)
            self._login = login
        return self._login

    def new_client(self) -> Client:
        """A client with the connection's login, not started."""
        login = self.login
        _require_sasl(login)
        try:
            return Client(answer_timeout=login.operation_timeout, **login.client_arguments())
        except KazooException as error:
            raise self.explained(error, "/", "connect to") from error

    def get_conn(self) -> Client:
        """The started client of this hook; the same until it is closed."""
        login = self.login
        with self._lock:
            if self._client is None or self._client._stopped.is_set():
                self._client = self.new_client()
                self._client.start_async()
                self._signed_in = not login.sasl
                _watch_exit()
            client = self._client
        if client.ever_connected and self._signed_in:
            return client
        try:
            # Not under the lock: each caller waits for as long as it says, and not for others.
            if not client.wait_connected(waits.left(login.connect_timeout)):
                raise NoAnswer("time-out")
            if login.sasl:
                # kazoo signs in after it has said that it is connected.
                client.exists("/")
        except Exception as error:
            with self._lock:
                if self._client is client:
                    self._client = None
            client.end(wait=False)
            raise self.explained(error, login.chroot or "/", "connect to") from error
        self._signed_in = True
        return client

    def close(self) -> None:
        """Ends the session, if there is one in this process."""
        with self._lock:
            client, self._client = self._client, None
            if client is not None:
                client.end()

    def __enter__(self) -> ZookeeperHook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def within_timeout(self) -> AbstractContextManager[None]:
        """All calls inside have operation_timeout together, and not each."""
        return waits.within(self.login.operation_timeout)

    def call(self, operation: str, path: str, *args: Any, **kwargs: Any) -> Any:
        """One of kazoo's calls (get, set, create …) on the path; answered in operation_timeout.

        Repeated after a lost connection only. A repeated change can therefore meet its own first
        try: give ``set`` and ``delete`` a version, and expect ZookeeperAlreadyExists of ``create``
        or ZookeeperStaleVersion to mean that.
        """
        check_path(path, conn_id=self.conn_id)
        check_arguments(
            (*args, *kwargs.values()), f"ZooKeeper connection {self.conn_id!r}: {operation} {path}"
        )
        client = self.get_conn()
        method = getattr(client, f"{operation}_async")
        return self.await_result(lambda: method(path, *args, **kwargs), path, operation)

    def await_result(
        self, start: Callable[[], Any], path: str, doing: str, *, repeat: bool = True
    ) -> Any:
        """What the asynchronous call that ``start`` makes returns. ``repeat`` as in ``call``."""
        deadline = time.monotonic() + waits.left(self.login.operation_timeout)
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                with waits.within(left):  # not only the wait: what is given up is not sent later
                    return start().get(timeout=left)
            except (ConnectionLoss, ConnectionClosedError) as error:
                if not repeat or not self._pause_until(deadline):
                    raise self.explained(error, path, doing) from error
                self.log.info("Connection to ZooKeeper lost in %s %s: once more", doing, path)
            except (KazooException, KazooTimeoutError) as error:
                raise self.explained(error, path, doing) from error

    def _pause_until(self, deadline: float) -> bool:
        """Until there is a connection; False if there is none in time."""
        client = self._client
        if client is None or client._stopped.is_set():
            return False
        time.sleep(max(0.0, min(_PAUSE, deadline - time.monotonic())))
        return client.wait_connected(deadline - time.monotonic()) and time.monotonic() < deadline

    def test_connection(self) -> tuple[bool, str]:
        """For Airflow's button: connects, signs in and reads the chroot."""
        try:
            login = self.login
            with ZookeeperHook(self.conn_id, login=login) as hook:
                try:
                    hook.call("get", "/")
                except ZookeeperNotFound:
                    return False, (
                        f"ZooKeeper connection {self.conn_id!r} (hosts {login.hosts}): connected, "
                        f"but there is no chroot {login.chroot}. Create it, or correct the field"
                    )
        except ZookeeperError as error:
            return False, str(error)
        except Exception as error:
            return False, f"{type(error).__name__}: {error}"
        who = f", signed in as {login.user}" if login.user else ""
        return True, f"Connected to ZooKeeper at {login.address}{who}"

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The fields below ``extra``; Airflow 3 reads them from the provider's information."""
        from zk_executor.get_provider_info import CONNECTION_TYPE

        return {
            f"extra__{cls.conn_type}__{name}": dict(field)
            for name, field in CONNECTION_TYPE["conn-fields"].items()
        }

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The fields of every connection; Airflow 3 reads them from the provider's information."""
        from zk_executor.get_provider_info import CONNECTION_TYPE

        behaviour = CONNECTION_TYPE["ui-field-behaviour"]
        return {key.replace("-", "_"): value for key, value in behaviour.items()}

    def explained(self, error: BaseException, path: str, doing: str) -> ZookeeperError:
        """Ours for one of kazoo's exceptions, with this connection's name and hosts."""
        login = self.login
        explained = explain(
            error,
            conn_id=self.conn_id,
            hosts=login.address,
            path=path,
            doing=doing,
            login=login.user,
        )
        if doing == "connect to" and isinstance(explained, ZookeeperConnectionError):
            explained = ZookeeperConnectionError(
                f"ZooKeeper connection {self.conn_id!r}: no server of {login.hosts} let us in "
                f"within {login.connect_timeout:g} s ({told(error)}). Is the "
                "ensemble up, are the hosts right, and do TLS and SASL match the servers?"
            )
        return explained


def _executor_servers(conn_id: str) -> Login:
    from airflow.sdk.configuration import conf

    from zk_executor.get_provider_info import DEFAULTS, SECTION

    text = conf.get(SECTION, "hosts", fallback=DEFAULTS["hosts"])
    try:
        return Login(conn_id=conn_id, hosts=parse_servers(text))
    except InvalidServers as error:
        raise ZookeeperInvalidConnection(
            f"there is no connection {conn_id!r}, and [{SECTION}] hosts = {text!r} is invalid: "
            f"{error}"
        ) from None


def _require_sasl(login: Login) -> None:
    if login.sasl and importlib.util.find_spec("puresasl") is None:
        raise ZookeeperAuthError(
            f"ZooKeeper connection {login.conn_id!r}: SASL needs the package pure-sasl (and gssapi "
            "for Kerberos): pip install 'zk-executor[sasl]'"
        )


def _close_all() -> None:
    for hook in list(_hooks):
        hook.close()


def _after_fork() -> None:
    """In the child: the parent's clients and threads, and whatever lock they held, are not here."""
    for hook in list(_hooks):
        hook._lock = threading.Lock()
        hook._client = None


os.register_at_fork(after_in_child=_after_fork)


def _watch_exit() -> None:
    """Once for each process: Airflow has a task forget what was registered before its fork."""
    global _exit_watched_by
    if _exit_watched_by != os.getpid():
        _exit_watched_by = os.getpid()
        atexit.register(_close_all)
