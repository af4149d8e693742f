# SPDX-License-Identifier: Apache-2.0
"""The servers of a ZooKeeper ensemble, as people write them: ``zk1:2181,zk2,[2001:db8::7]:2181``.

Pure. ``common/server_list.h`` reads the same; ``tests/data/server_lists.json`` is the table of
cases for both. The result is what kazoo reads, and what ``_core`` and zk-worker are given: they
write IPv6 addresses anew for the C client.
"""

from __future__ import annotations

import re
import socket

DEFAULT_PORT = 2181
_PORT_MAX = 65535
_BLANKS = " \t\r\n\v\f"
_HOST_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_LIKE_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
_DIGITS = re.compile(r"[0-9]{1,5}")


class InvalidServers(ValueError):
    """The message names the part and what is allowed, not the option."""


def parse_servers(text: str, default_port: int = DEFAULT_PORT) -> str:
    """Every server with its port, IPv6 addresses in brackets, separated by commas.

    Blanks around a server and empty parts are ignored, and a server that is named twice counts
    once. Errors: InvalidServers.
    """
    servers: dict[str, str] = {}
    for part in text.split(","):
        if server := part.strip(_BLANKS):
            parsed = _parse_server(server, default_port)
            servers.setdefault(parsed.lower(), parsed)
    if not servers:
        raise InvalidServers("must name at least one server, as host:port")
    return ",".join(servers.values())


def _parse_server(text: str, default_port: int) -> str:
    malformed = InvalidServers(f"'{text}' is not of the form host:port")
    if "/" in text:
        raise InvalidServers(f"'{text}' has a path: put it in front of the root instead")
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or not is_ipv6(address) or rest[:1] not in ("", ":"):
            raise malformed
        host = f"[{address}]"
    else:
        if text.count(":") > 1:
            if not _LIKE_IPV6.fullmatch(text):
                raise malformed
            raise InvalidServers(
                f"'{text}': write an IPv6 address in brackets, as in [::1]:{DEFAULT_PORT}"
            )
        host, colon, port_text = text.partition(":")
        rest = colon + port_text
        if not _HOST_NAME.fullmatch(host):
            raise malformed
    port = default_port
    if rest:
        port = int(rest[1:]) if _DIGITS.fullmatch(rest[1:]) else 0
    if not 0 < port <= _PORT_MAX:
        raise InvalidServers(f"'{text}': the port must be 1 to {_PORT_MAX}")
    return f"{host}:{port}"


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, without brackets and without a zone."""
    if not _LIKE_IPV6.fullmatch(text):
        return False
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return False
    return True
