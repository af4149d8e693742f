# SPDX-License-Identifier: Apache-2.0
"""
Airflow's traces (``[traces] otel_on``), begun in the processes that have spans to tell.

Airflow begins them when it is imported: with a thread that sends, and with the gRPC library's own.
Forks have neither, so the zygote does without.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator

_VARIABLE = "AIRFLOW__TRACES__OTEL_ON"


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Airflow, imported within, begins no traces."""
    configured = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "False"
    try:
        yield
    finally:
        if configured is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = configured


def start() -> None:
    """In a process of its own: begin them, if they are wanted."""
    with contextlib.suppress(Exception):
        from airflow import settings
        from airflow.configuration import conf

        if not conf.getboolean("traces", "otel_on", fallback=False):
            return
        from opentelemetry import trace

        settings.configure_otel(conf)
        # As under Airflow's supervisor, whose tasks forget the handlers of before their fork: a
        # collector that does not answer must not hold up a task's end.
        atexit.unregister(trace.get_tracer_provider().shutdown)
