# SPDX-License-Identifier: Apache-2.0
"""Hosts on one machine: network namespaces on a switch whose cables can be pulled.

Needs root and `ip` (Debian's iproute2); Network.refusal() says what is missing.

Threads: main thread only. Errors: DevStackError. Lifetime: use as a context manager; what a killed
run has left is removed by the next one.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path

from devstack.processes import DevStackError

PREFIX = "zkx"  # of the names of our namespaces; the process id follows
# 198.18.0.0/15 is set aside for tests of networks.
SUBNET = "198.18"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DevStackError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Host:
    """A namespace with an address of its own."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name = name
        self.address = f"{network.subnet}.{number}"
        self.namespace = f"{network.prefix}-{name}"
        self._switch = network.switch
        self._port = f"port{number}"

    def command(self) -> list[str]:
        """What to put before a command to run it on this host; the process id stays the same."""
        return ["ip", "netns", "exec", self.namespace]

    def unplug(self) -> None:
        """Drop whatever it sends or is sent; nobody is told, as when a switch dies."""
        _ip("-n", self._switch, "link", "set", self._port, "nomaster")

    def plug(self) -> None:
        """Undo unplug()."""
        _ip("-n", self._switch, "link", "set", self._port, "master", "switch")


class Network:
    """A switch and hosts. This process is on it too, with the first address."""

    def __init__(self) -> None:
        self.prefix = f"{PREFIX}{os.getpid()}"
        self.subnet = f"{SUBNET}.{os.getpid() % 256}"
        self.switch = f"{self.prefix}-switch"
        self._namespaces: list[str] = []
        self._next = 2

    @staticmethod
    def refusal() -> str:
        """Why there can be no network here, or nothing."""
        probe = f"{PREFIX}{os.getpid()}-probe"
        try:
            _ip("netns", "add", probe)
            _ip("netns", "del", probe)
        except FileNotFoundError:
            return "there is no `ip` (Debian package iproute2)"
        except DevStackError as error:
            return f"network namespaces are not permitted here ({error})"
        return ""

    def __enter__(self) -> Network:
        _remove_leftovers()
        try:
            self._add(self.switch)
            _ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
            _ip("-n", self.switch, "link", "set", "switch", "up")
            self._plug_in(self.prefix, 1, [])
        except DevStackError:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, name: str) -> Host:
        """Add a host."""
        number = self._next
        self._next += 1
        host = Host(self, name, number)
        self._add(host.namespace)
        self._plug_in("eth0", number, ["-n", host.namespace])
        _ip("-n", host.namespace, "link", "set", "lo", "up")
        return host

    def close(self) -> None:
        """Remove everything; interfaces go with their namespaces."""
        for namespace in self._namespaces:
            with contextlib.suppress(DevStackError):
                _ip("netns", "del", namespace)
        self._namespaces = []

    def _add(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)

    def _plug_in(self, interface: str, number: int, where: list[str]) -> None:
        """A cable from an interface (in the namespace that where names) to the switch."""
        port = f"port{number}"
        target = ["netns", where[1]] if where else []
        if target:
            _ip("-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", interface)
            _ip("-n", self.switch, "link", "set", interface, *target)
        else:
            cable = ["type", "veth", "peer", "name", port, "netns", self.switch]
            _ip("link", "add", interface, *cable)
        _ip(*where, "addr", "add", f"{self.subnet}.{number}/24", "dev", interface)
        _ip(*where, "link", "set", interface, "up")
        _ip("-n", self.switch, "link", "set", port, "up", "master", "switch")


def _remove_leftovers() -> None:
    """Remove the namespaces of runs whose process is gone."""
    folder = Path("/run/netns")
    for entry in folder.iterdir() if folder.is_dir() else ():
        owner = re.match(rf"{PREFIX}(\d+)-", entry.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            with contextlib.suppress(DevStackError):
                _ip("netns", "del", entry.name)
