# SPDX-License-Identifier: Apache-2.0
"""Tasks that end in every way that there is."""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Asset, BaseOperator, Variable
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferred,
)

from conformance_tasks import plan


def succeed() -> int:
    print("all is well")
    return 42


def succeed_silently() -> None:
    pass


def fail() -> None:
    """With a cause, a note and a traceback through two frames."""
    try:
        _divide(1, 0)
    except ZeroDivisionError as error:
        failure = ValueError("could not divide: é\nsecond line")
        failure.add_note("a note")
        raise failure from error


def _divide(one: int, other: int) -> float:
    return one / other


def fail_for_good() -> None:
    raise AirflowFailException("no retry helps")


def fail_in_group() -> None:
    raise ExceptionGroup("several", [ValueError("first"), KeyError("second")])  # noqa: F821


def skip() -> None:
    raise AirflowSkipException("not today")


def defer() -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=timezone.utc)
    raise TaskDeferred(
        trigger=DateTimeTrigger(moment=moment),
        method_name="resume",
        kwargs={"z": 1, "a": [1.0, None, "é"]},
        timeout=timedelta(days=1, seconds=2, microseconds=3),
    )


def reschedule() -> None:
    raise AirflowRescheduleException(datetime(2030, 1, 1, tzinfo=timezone.utc))


def signal_itself(ti: Any) -> None:
    number = signal.Signals[plan.read(ti)["signal"]]
    if number == signal.SIGSEGV:
        signal.signal(number, signal.SIG_DFL)  # Airflow leaves a handler behind for it
    os.kill(os.getpid(), number)
    print("lived on")


def leave(ti: Any) -> None:
    """sys.exit with whatever the plan says: a number, a text or nothing."""
    print("leaving")
    sys.exit(plan.read(ti).get("code"))


def leave_at_once(ti: Any) -> None:
    sys.stdout.write("this is lost or not, as Python has it")
    sys.stdout.flush()
    os._exit(plan.read(ti)["code"])


def wait_for_end() -> None:
    """Asks for a variable, which tells the test that it is there, then never ends by itself."""
    print("waiting", flush=True)
    Variable.get("here", default=None)
    while True:
        threading.Event().wait()


def wait_and_give_in() -> None:
    """As wait_for_end, but SIGTERM ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    wait_for_end()


def emit_assets(ti: Any, outlet_events: Any) -> None:
    asset = Asset(name="an asset", uri="s3://bucket/an asset")
    ti.task.outlets.append(asset)
    outlet_events[asset].extra = {"z": 1, "a": 1.0}


class OnKill(BaseOperator):
    """Ends when it is killed, by its on_kill."""

    def execute(self, context: Any) -> None:
        self.asked = threading.Event()
        Variable.get("here", default=None)
        while not self.asked.is_set():
            self.asked.wait()
        print("was asked to end")

    def on_kill(self) -> None:
        print("on_kill runs")
        self.asked.set()


class Overtime(BaseOperator):
    """Succeeds, and then has a callback that does not end."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(on_success_callback=self._hang, **arguments)

    def execute(self, context: Any) -> None:
        print("done")

    @staticmethod
    def _hang(context: Any) -> None:
        print("the callback hangs", flush=True)
        while True:
            threading.Event().wait()
