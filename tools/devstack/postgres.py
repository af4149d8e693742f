# SPDX-License-Identifier: Apache-2.0
"""A throw-away PostgreSQL server from Debian's package, without fsync.

Threads: main thread only. Errors: DevStackError.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from devstack.processes import Child, DevStackError, free_port, wait_until

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "400",
    "shared_buffers": "128MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "autovacuum_naptime": "10s",
}


class PostgresServer:
    """One server on a free port; everyone on this machine may log in as postgres.

    PostgreSQL refuses to run as root, so for root it runs as the user postgres, and its data is
    in a temporary folder that this user can reach.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.user = "postgres" if os.geteuid() == 0 else None
        self._folder: Path | None = None
        self._process: Child | None = None

    def start(self) -> None:
        """Make a new cluster and start it."""
        programs = _programs()
        self._folder = Path(tempfile.mkdtemp(prefix="zkexec-postgres-"))
        if self.user:
            shutil.chown(self._folder, self.user, self.user)
        data = self._folder / "data"
        initdb = Child(
            "initdb",
            [
                programs / "initdb",
                *("-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"),
                *("--no-sync", "--locale=C.UTF-8"),
            ],
            log=self._folder / "postgres.log",
            cwd=self._folder,
            user=self.user,
        )
        initdb.start()
        if initdb.wait(60):
            raise DevStackError(f"initdb failed\n{initdb.tail()}")
        options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        self._process = Child(
            "postgres",
            [programs / "postgres", "-D", data, "-p", str(self.port), *options],
            log=self._folder / "postgres.log",
            cwd=self._folder,
            user=self.user,
        )
        self._process.start()
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(
            lambda: subprocess.run(ready, check=False).returncode == 0,
            f"PostgreSQL on port {self.port}",
            timeout=60,
            needs=[self._process],
        )

    def url(self, database: str) -> str:
        """SQLAlchemy address of a database."""
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Create a database, perhaps a copy of one that nobody is connected to; return its url."""
        _check_name(name, template)
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def has_database(self, name: str) -> bool:
        _check_name(name)
        return bool(self.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)))

    def execute(
        self, statement: str, arguments: tuple[object, ...] = (), *, database: str = "postgres"
    ) -> list[tuple[object, ...]]:
        """Run one statement outside a transaction, return its rows."""
        import psycopg2

        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=database
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def stop(self) -> None:
        """Stop at once and remove the data."""
        if self._process:
            # SIGQUIT: no checkpoint, nobody needs the data any more.
            self._process.stop(10, signal.SIGQUIT)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _programs() -> Path:
    """Folder of the newest PostgreSQL installed."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])
    )
    if not found:
        raise DevStackError("PostgreSQL is missing; on Debian: apt-get install postgresql")
    return found[-1].parent


def _check_name(*names: str) -> None:
    for name in names:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise DevStackError(f"not a name for a database: {name!r}")
