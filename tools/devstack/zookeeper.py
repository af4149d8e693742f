# SPDX-License-Identifier: Apache-2.0
"""A standalone ZooKeeper from Debian's jars.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from devstack.processes import Child, DevStackError, free_port, wait_until

JARS = (Path("/usr/share/java/zookeeper.jar"), Path("/usr/share/java/slf4j-simple.jar"))

CONFIG = """\
tickTime=1000
dataDir={data}
clientPort={port}
clientPortAddress={address}
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=ruok,srvr,mntr,stat,dump
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
"""

JVM_OPTIONS = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # On few cores the worker threads of the server cost more than they bring.
    "-Dzookeeper.nio.numWorkerThreads=0",
    "-Dzookeeper.snapSizeLimitInKb=262144",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
)


def require_jars() -> None:
    """Raises DevStackError if ZooKeeper is not installed."""
    missing = [str(jar) for jar in JARS if not jar.exists()]
    if missing:
        raise DevStackError(
            f"missing {', '.join(missing)}; on Debian: apt-get install zookeeper libslf4j-java"
        )


def ask(address: str, port: int, command: str) -> str:
    """Send a four letter command, return the answer; empty when nobody answers."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(command.encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
            return answer.decode(errors="replace")
    except OSError:
        return ""


class ZooKeeperServer:
    """One server; its data and port stay the same over stop, kill and start.

    jvm: options for Java that come after JVM_OPTIONS. jars: more. config: lines for zoo.cfg.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        address: str = "127.0.0.1",
        jvm: tuple[str, ...] = (),
        jars: Sequence[Path] = (),
        config: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.port = port or free_port()
        self._config = config
        self.process = Child(
            "zookeeper",
            [
                shutil.which("java") or "java",
                *JVM_OPTIONS,
                *jvm,
                "-cp",
                ":".join(map(str, (*JARS, *jars))),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                folder / "zoo.cfg",
            ],
            log=folder / "zookeeper.log",
        )

    @property
    def hosts(self) -> str:
        """Connect string."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    def start(self) -> None:
        """Start and wait until it serves."""
        require_jars()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = CONFIG.format(data=data.resolve(), port=self.port, address=self.address)
        (self.folder / "zoo.cfg").write_text("\n".join((config, *self._config, "")))
        self.process.start()
        wait_until(
            lambda: "Mode:" in self.ask("srvr"),
            f"ZooKeeper on port {self.port}",
            timeout=60,
            needs=[self.process],
        )

    def ask(self, command: str) -> str:
        """Send a four letter command, return the answer; empty when nobody answers."""
        return ask(self.address, self.port, command)

    def stop(self) -> None:
        """SIGTERM; the data stays."""
        self.process.stop(10)

    def kill(self) -> None:
        """SIGKILL; the data stays."""
        self.process.kill()

    def __enter__(self) -> ZooKeeperServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
