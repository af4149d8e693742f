# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with ZooKeeper in a task, a command or the secrets backend.

Each message names the connection, its hosts, the path and what to do. ``explain`` makes one of
kazoo's exceptions into ours. Threads: any.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowException
from kazoo import exceptions as kazoo
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import RetryFailedError

from zk_executor import names


class ZookeeperError(AirflowException):
    """Of all of them."""


class ZookeeperConnectionError(ZookeeperError):
    """There is no connection to any server, or it was lost. A change may have been made or not."""


class ZookeeperSessionExpired(ZookeeperConnectionError):
    """The servers gave the session up; what was ephemeral in it is gone."""


class ZookeeperAuthError(ZookeeperError):
    """The servers refuse the connection's login."""


class ZookeeperPermissionError(ZookeeperError):
    """The connection's login may not do that on the path, or has a wrong password."""


class ZookeeperInvalidConnection(ZookeeperError):
    """A field of the connection cannot be used."""


class ZookeeperInvalidPath(ZookeeperError):
    """A path that no znode can have."""


class ZookeeperInvalidRequest(ZookeeperError):
    """What no server would do, or what cannot be sent to one. Nothing was done."""


class ZookeeperInvalidValue(ZookeeperError):
    """A value, a tree or a YAML text that cannot be used."""


class ZookeeperValueTooLarge(ZookeeperInvalidValue):
    """A value, or a whole change, is larger than a server takes."""


class ZookeeperNotFound(ZookeeperError):
    """There is no such znode, or no such version."""


class ZookeeperAlreadyExists(ZookeeperError):
    """There is such a znode already."""


class ZookeeperNotEmpty(ZookeeperError):
    """The znode has children."""


class ZookeeperStaleVersion(ZookeeperError):
    """Somebody changed it meanwhile. Nothing was done."""


_AWAY = (
    kazoo.ConnectionLoss,
    kazoo.ConnectionClosedError,
    kazoo.OperationTimeoutError,
    KazooTimeoutError,
    RetryFailedError,
)
_ANSWERS: tuple[tuple[type[Exception], type[ZookeeperError], str], ...] = (
    (
        kazoo.SessionExpiredError,
        ZookeeperSessionExpired,
        "the session has expired. Run it again; if that happens often, raise the connection's "
        "session_timeout",
    ),
    (
        kazoo.AuthFailedError,
        ZookeeperAuthError,
        "the servers refuse the login. Correct login and password of the connection, or its SASL "
        "fields",
    ),
    (
        kazoo.NoAuthError,
        ZookeeperPermissionError,
        "no permission. Either the connection's login or password is wrong (ZooKeeper does not "
        "tell a wrong password apart), or the path's ACL does not let it: getAcl {path} in zkCli "
        "shows who may. What somebody makes is theirs alone (acl=creator): for several logins on "
        "one tree name them all in the option acl of each connection",
    ),
    (
        kazoo.BadVersionError,
        ZookeeperStaleVersion,
        "somebody changed it meanwhile; nothing was done. Read it again, then decide",
    ),
    (kazoo.NodeExistsError, ZookeeperAlreadyExists, "it exists already"),
    (kazoo.NotEmptyError, ZookeeperNotEmpty, "it has children; delete them first, or recursively"),
    (
        kazoo.NoNodeError,
        ZookeeperNotFound,
        "there is no such znode. Check the path, and the chroot of the connection",
    ),
    (
        kazoo.InvalidACLError,
        ZookeeperInvalidConnection,
        "the servers refuse the ACL. acl=creator needs a login",
    ),
    (
        kazoo.BadArgumentsError,
        ZookeeperInvalidRequest,
        "the request cannot be made{why}. A name may have a character that servers do not take, or "
        "a version or an ACL may be none",
    ),
    (
        kazoo.NotReadOnlyCallError,
        ZookeeperConnectionError,
        "the server is read-only: it has lost the others of its ensemble",
    ),
)


def explain(
    error: BaseException, *, conn_id: str | None, hosts: str, path: str, doing: str, login: str = ""
) -> ZookeeperError:
    """Ours for one of kazoo's. ``doing`` is the verb: get, set, apply …

    Without a ``conn_id`` it is about a client that the caller was given.
    """
    named = (
        "ZooKeeper client that was given"
        if conn_id is None
        else f"ZooKeeper connection {conn_id!r}"
    )
    where = f"{named} (hosts {hosts}{f', login {login}' if login else ''})"
    what = f"{doing} {path}"
    if isinstance(error, ZookeeperError):
        return error
    for theirs, ours, text in _ANSWERS:
        if isinstance(error, theirs):
            why = f", {error}" if str(error) else ""
            return ours(f"{where}: {what}: {text.format(path=path, why=why)}")
    if isinstance(error, _AWAY):
        return ZookeeperConnectionError(
            f"{where}: {what}: no server answered in time ({type(error).__name__}). Is the "
            "ensemble up, are the hosts right, and does TLS match? Is there more to do than fits "
            "into the connection's operation_timeout? What changes something may have been done or "
            "not: look before repeating it"
        )
    return ZookeeperError(f"{where}: {what}: {told(error)}")


def told(error: BaseException) -> str:
    """An exception for people: its text if it is one of ours, else its name and what it says."""
    if isinstance(error, ZookeeperError) and str(error):
        return str(error)
    return f"{type(error).__name__}{f': {error}' if str(error) else ''}"


def explain_client(
    error: BaseException, client: Any, *, conn_id: str | None, path: str, doing: str
) -> ZookeeperError:
    """As ``explain``; hosts and login are those of the kazoo client."""
    hosts = ",".join(f"{host}:{port}" for host, port in client.hosts) + (client.chroot or "")
    users = [
        str(given).partition(":")[0] for scheme, given in client.auth_data if scheme == "digest"
    ]
    return explain(
        error, conn_id=conn_id, hosts=hosts, path=path, doing=doing, login=", ".join(users)
    )


def check_path(path: object, *, conn_id: str) -> str:
    """The path, if a znode can have it (see names.py). Errors: ZookeeperInvalidPath."""
    if problem := names.path_problem(path):
        raise ZookeeperInvalidPath(
            f"ZooKeeper connection {conn_id!r}: {names.quoted(path)} is no path of a znode: "
            f"{problem}. Write it as /app/config"
        )
    return str(path)
