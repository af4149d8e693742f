# SPDX-License-Identifier: Apache-2.0
"""python -m zk_executor.exporter: the process that ``airflow zk exporter`` becomes.

Reads its settings as JSON from standard input, where no other process sees them. Ends at SIGTERM
and SIGINT with 0. Exit codes: 2 an invalid setting, 3 the port is taken.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import Any

from zk_executor import _core
from zk_executor.exporter.server import ExporterServer
from zk_executor.exporter.watch import FleetWatch

log = logging.getLogger("zk_executor.exporter")


def main(settings: dict[str, Any]) -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    try:
        monitor = _core.FleetMonitor(
            hosts=settings["hosts"],
            root=settings["root"],
            team=settings["team"],
            digest_auth=settings["digest_auth"],
            timeout_ms=round(settings["timeout"] * 1000),
        )
    except ValueError as error:
        print(f"invalid [zk_executor] configuration: {error}", file=sys.stderr)
        return 2
    watch = FleetWatch(
        monitor,
        interval=settings["interval"],
        timeout=settings["timeout"],
        failure=_core.ZkError,
    )
    try:
        server = ExporterServer(settings["host"], settings["port"], watch)
    except OSError as error:
        print(f"cannot serve on {settings['host']}:{settings['port']}: {error}", file=sys.stderr)
        return 3
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    watch.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    log.info(
        "exporter ready http=%s:%s hosts=%s root=%s team=%s interval=%s",
        settings["host"],
        server.server_address[1],
        settings["hosts"],
        settings["root"],
        settings["team"],
        settings["interval"],
    )
    ended.wait()
    server.shutdown()
    server.server_close()
    watch.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)))
