# SPDX-License-Identifier: Apache-2.0
"""What a connection of type ``zookeeper`` says, made into kazoo's arguments. Pure.

Errors: ZookeeperInvalidConnection, which names the connection, the field and what is allowed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from kazoo.security import (
    ACL,
    CREATOR_ALL_ACL,
    OPEN_ACL_UNSAFE,
    READ_ACL_UNSAFE,
    Id,
    Permissions,
)

from zk_executor import names
from zk_executor.exceptions import ZookeeperInvalidConnection
from zk_executor.servers import DEFAULT_PORT, InvalidServers, is_ipv6, parse_servers

ACLS = {
    "creator": CREATOR_ALL_ACL,
    "creator-and-readers": [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE],
    "open": OPEN_ACL_UNSAFE,
}
_SCHEMES = ("digest", "sasl", "x509", "ip", "world", "auth")
_PERMISSIONS = {
    "c": Permissions.CREATE,
    "d": Permissions.DELETE,
    "r": Permissions.READ,
    "w": Permissions.WRITE,
    "a": Permissions.ADMIN,
}
ACL_EXAMPLE = "digest:alice:<hash>:cdrwa,sasl:bob:cdrwa,world:anyone:r"
SASL_MECHANISMS = ("DIGEST-MD5", "GSSAPI")


def read_acls(text: object) -> list[ACL] | None:
    """A name of ACLS, or a list as zkCli's setAcl takes it; None if it is neither."""
    if not isinstance(text, str) or text in ACLS:
        return ACLS.get(text) if isinstance(text, str) else None
    acls = []
    for part in text.split(","):
        scheme, _, rest = part.strip().partition(":")
        who, _, letters = rest.rpartition(":")
        # A digest is user:hash; only auth, which is the login itself, names nobody.
        fits = (":" in who.strip(":")) == (scheme == "digest") and bool(who) == (scheme != "auth")
        if scheme not in _SCHEMES or not fits or not letters or set(letters) - set(_PERMISSIONS):
            return None
        acls.append(ACL(sum(_PERMISSIONS[letter] for letter in set(letters)), Id(scheme, who)))
    return acls


@dataclass(frozen=True)
class Login:
    """How to reach the servers and who we are."""

    conn_id: str
    hosts: str
    chroot: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    sasl: dict[str, Any] | None = field(default=None, repr=False)
    tls: dict[str, Any] = field(default_factory=dict, repr=False)
    acl: str = "open"
    session_timeout: float = 10.0
    connect_timeout: float = 10.0
    operation_timeout: float = 15.0

    @property
    def address(self) -> str:
        return f"{self.hosts}{self.chroot}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be seen in a log."""
        key_password = self.tls.get("keyfile_password") or ""
        return tuple(text for text in (self.password, key_password) if text)

    def client_arguments(self) -> dict[str, Any]:
        """For KazooClient."""
        arguments: dict[str, Any] = {
            "hosts": self.address,
            "timeout": self.session_timeout,
            "default_acl": read_acls(self.acl),
            # kazoo's own would wait longer after each try, up to an hour.
            "connection_retry": {"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2.0},
            **self.tls,
        }
        if self.sasl:
            arguments["sasl_options"] = self.sasl
        elif self.user:
            arguments["auth_data"] = [("digest", f"{self.user}:{self.password}")]
        return arguments


def read_login(connection: Any, conn_id: str) -> Login:
    """Reads and validates. ``connection`` is an Airflow Connection."""
    extra = connection.extra_dejson or {}

    def refuse(name: str, value: object, allowed: str) -> ZookeeperInvalidConnection:
        return ZookeeperInvalidConnection(
            f"ZooKeeper connection {conn_id!r}: {name} = {names.quoted(value)} is invalid: "
            f"{allowed}"
        )

    def seconds(name: str, default: float) -> float:
        value = extra.get(name)
        if value in (None, ""):
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if not 0.1 <= number <= 3600:
            raise refuse(name, value, "must be a number of seconds from 0.1 to 3600")
        return number

    if connection.conn_type not in ("zookeeper", None):
        raise refuse("connection type", connection.conn_type, "must be zookeeper")
    hosts, slash, rest = (connection.host or "").partition("/")
    chroots = {
        text.strip("/")
        for text in (rest if slash else "", connection.schema or "", extra.get("chroot") or "")
    } - {""}
    if len(chroots) > 1:
        raise refuse("chroot", ", ".join(sorted(chroots)), "the fields name different ones")
    chroot = "".join(f"/{text}" for text in chroots)
    if chroot and (problem := names.path_problem(chroot)):
        raise refuse("chroot", chroot, f"{problem}. It must be a path such as /production")
    user, password = connection.login or "", connection.password or ""
    if password and not user:
        raise refuse("login", user, "there is a password, so there must be a login")
    sasl = _sasl(extra, user, password, refuse)
    if user and not password and not sasl:
        raise refuse("password", "", "digest authentication needs one")
    acl = extra.get("acl") or ("creator" if user or sasl else "open")
    if read_acls(acl) is None:
        allowed = f"must be one of {', '.join(ACLS)}, or a list such as {ACL_EXAMPLE}"
        raise refuse("acl", acl, allowed)
    return Login(
        conn_id=conn_id,
        hosts=_hosts(hosts, connection.port, refuse),
        chroot=chroot,
        user=user,
        password=password,
        sasl=sasl,
        tls=_tls(extra, refuse),
        acl=acl,
        session_timeout=seconds("session_timeout", 10.0),
        connect_timeout=seconds("connect_timeout", 10.0),
        operation_timeout=seconds("operation_timeout", 15.0),
    )


def _hosts(text: str, port: int | None, refuse: Any) -> str:
    if port and is_ipv6(text):
        text = f"[{text}]"  # Airflow takes the brackets away when it reads zookeeper://[::1]:2181
    try:
        return parse_servers(text, port or DEFAULT_PORT)
    except InvalidServers as error:
        raise refuse("host", text, str(error)) from None


def _sasl(extra: dict[str, Any], user: str, password: str, refuse: Any) -> dict[str, Any] | None:
    mechanism = extra.get("sasl_mechanism") or ""
    if not mechanism:
        return None
    if mechanism not in SASL_MECHANISMS:
        raise refuse("sasl_mechanism", mechanism, f"must be one of {', '.join(SASL_MECHANISMS)}")
    options: dict[str, Any] = {"mechanism": mechanism}
    options["service"] = extra.get("sasl_service") or "zookeeper"
    if mechanism == "GSSAPI":
        if principal := extra.get("sasl_principal"):
            options["principal"] = principal
        return options
    if not user or not password:
        raise refuse("login", user, "DIGEST-MD5 needs a login and a password")
    options.update(username=user, password=password, principal="zk-sasl-md5")
    return options


def _tls(extra: dict[str, Any], refuse: Any) -> dict[str, Any]:
    def on(name: str, default: bool) -> bool:
        value = extra.get(name)
        if value in (None, ""):
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "1", "yes", "on"):
            return True
        if str(value).lower() in ("false", "0", "no", "off"):
            return False
        raise refuse(name, value, "must be true or false")

    files = {name: extra.get(name) or "" for name in ("ca_file", "cert_file", "key_file")}
    if not on("use_tls", any(files.values())):
        return {}
    for name, path in files.items():
        if path and not os.access(path, os.R_OK):
            raise refuse(name, path, "there is no such file here, or it cannot be read")
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise refuse("cert_file", files["cert_file"], "cert_file and key_file go together")
    verify = on("verify", True)
    return {
        "use_ssl": True,
        "ca": files["ca_file"] or None,
        "certfile": files["cert_file"] or None,
        "keyfile": files["key_file"] or None,
        "keyfile_password": extra.get("key_password") or None,
        "verify_certs": verify,
        "check_hostname": verify and on("check_hostname", True),
    }
