# SPDX-License-Identifier: Apache-2.0
"""What imports register for the exit is there in a task, once Airflow has forgotten it."""

from __future__ import annotations

import subprocess
import sys

START = """
import atexit, sys
from zk_executor.worker import exit_handlers
"""


def said(code: str) -> list[str]:
    """What a process of that code says until it has ended."""
    done = subprocess.run(
        [sys.executable, "-c", START + code], stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout.split()


def test_what_was_registered_within_is_there_again_in_its_order_and_nothing_else_is() -> None:
    code = """
atexit.register(print, "before")
with exit_handlers.kept():
    atexit.register(print, "first", end=" ")
    @atexit.register
    def second():
        print("second")
atexit.register(print, "after")
atexit._clear()  # as Airflow does
exit_handlers.register_again()
"""
    assert said(code) == ["second", "first"]


def test_what_was_unregistered_within_is_not_there() -> None:
    code = """
def one(): print("one")
def two(): print("two")
with exit_handlers.kept():
    atexit.register(one)
    atexit.register(two)
    atexit.unregister(one)
atexit._clear()
exit_handlers.register_again()
"""
    assert said(code) == ["two"]


def test_function_that_a_module_took_within_works_afterwards_and_keeps_nothing() -> None:
    code = """
with exit_handlers.kept():
    from atexit import register, unregister
assert atexit.register is not register
register(print, "later")
atexit._clear()
exit_handlers.register_again()
print(len(exit_handlers._kept))
register(print, "at", "exit")
"""
    assert said(code) == ["0", "at", "exit"]


def test_without_error_or_with_one_atexit_is_itself_afterwards() -> None:
    code = """
before = atexit.register, atexit.unregister
try:
    with exit_handlers.kept():
        raise ValueError
except ValueError:
    pass
print(before == (atexit.register, atexit.unregister))
"""
    assert said(code) == ["True"]
