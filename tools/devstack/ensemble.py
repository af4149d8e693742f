# SPDX-License-Identifier: Apache-2.0
"""Three ZooKeeper servers that can be killed, stopped, cut off and started again one by one.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from devstack.network import Host, Network
from devstack.processes import Child, free_port, wait_until
from devstack.zookeeper import JARS, JVM_OPTIONS, ask, require_jars

CONFIG = """\
tickTime={tick_ms}
initLimit=20
syncLimit=8
dataDir={data}
clientPort={port}
clientPortAddress={address}
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr,stat,dump
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
standaloneEnabled=false
{servers}
"""


class EnsembleServer:
    """One member; its data, address and ports stay the same over kill and start."""

    def __init__(self, number: int, folder: Path, host: Host | None) -> None:
        self.number = number
        self.folder = folder
        self.host = host
        self.address = host.address if host else "127.0.0.1"
        self.port, self.quorum_port, self.election_port = (free_port() for _ in range(3))
        argv: list[str | Path] = [*(host.command() if host else ())]
        argv += [shutil.which("java") or "java", *JVM_OPTIONS, "-cp", ":".join(map(str, JARS))]
        argv += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", folder / "zoo.cfg"]
        self.process = Child(f"zookeeper-{number}", argv, log=folder / "zookeeper.log")

    def member_line(self) -> str:
        """Its line in everybody's configuration."""
        ports = f"{self.quorum_port}:{self.election_port}"
        return f"server.{self.number}={self.address}:{ports}"

    def mode(self) -> str:
        """leader, follower, or nothing while it does not serve."""
        found = re.search(r"Mode: (\w+)", ask(self.address, self.port, "srvr"))
        return found[1] if found else ""


class ZooKeeperEnsemble:
    """Three servers, each on a host of the network if there is one."""

    def __init__(self, folder: Path, *, network: Network | None = None, tick_ms: int = 500) -> None:
        self.servers = [
            EnsembleServer(
                number,
                folder / f"server-{number}",
                network.host(f"zk{number}") if network else None,
            )
            for number in (1, 2, 3)
        ]
        self._tick_ms = tick_ms

    @property
    def hosts(self) -> str:
        """Connect string."""
        return ",".join(f"{server.address}:{server.port}" for server in self.servers)

    def start(self) -> None:
        """Start those that do not run, and wait until all serve."""
        require_jars()
        members = "\n".join(server.member_line() for server in self.servers)
        for server in self.servers:
            data = server.folder / "data"
            data.mkdir(parents=True, exist_ok=True)
            (data / "myid").write_text(f"{server.number}\n")
            (server.folder / "zoo.cfg").write_text(
                CONFIG.format(
                    tick_ms=self._tick_ms,
                    data=data.resolve(),
                    port=server.port,
                    address=server.address,
                    servers=members,
                )
            )
            if not server.process.alive():
                server.process.start()
        self.wait_serving(self.servers)

    def wait_serving(self, servers: Iterable[EnsembleServer], timeout: float = 90) -> None:
        """Wait until all of these serve."""
        servers = list(servers)
        wait_until(
            lambda: all(server.mode() for server in servers),
            "the ZooKeeper ensemble",
            timeout=timeout,
            needs=[server.process for server in servers],
            interval=0.2,
        )

    def leader(self) -> EnsembleServer | None:
        """The leader now, or nothing during an election."""
        return next((server for server in self.servers if server.mode() == "leader"), None)

    def stop(self) -> None:
        """SIGTERM to all; the data stays."""
        for server in self.servers:
            server.process.ask_to_end()
        for server in self.servers:
            server.process.stop(10)

    def __enter__(self) -> ZooKeeperEnsemble:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
