# SPDX-License-Identifier: Apache-2.0
"""What a task finds that it did not make: of the process, of Python, of libraries."""

import locale
import logging
import os
import signal
import sys
import threading
import warnings

import pandas
import pyarrow
from airflow.sdk import DAG, task
from seen import see

WARNINGS_AT_TOP = [str(one[:1] + one[2:3]) for one in warnings.filters]

with DAG("surroundings"):

    @task
    def look(i):
        handled = {
            signal.Signals(number).name: str(signal.getsignal(number)).split(" at ")[0]
            for number in signal.valid_signals()
            # LocalExecutor's tasks have the scheduler's handler of SIGQUIT.
            if number in signal.Signals.__members__.values()
            and number != signal.SIGQUIT
            and signal.getsignal(number) not in (signal.SIG_DFL, None)
        }
        see(
            "surroundings",
            loaded=[pandas.__name__, pyarrow.__name__],
            handled=handled,
            blocked=[int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
            locale=locale.setlocale(locale.LC_ALL),
            threads=[threading.active_count(), threading.current_thread().name],
            native_id=threading.get_native_id() == os.getpid(),
            recursion=sys.getrecursionlimit(),
            umask=os.umask(0o022),
            root=[logging.root.level, [type(one).__name__ for one in logging.root.handlers]],
            levels={
                name: logging.getLogger(name).level
                for name in ("airflow", "pandas", "pyarrow", "httpx", "sqlalchemy")
            },
            warnings=WARNINGS_AT_TOP,
            hooks=[sys.excepthook is sys.__excepthook__, sys.gettrace() is None],
            streams=[sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()],
            line_buffering=[sys.stdout.line_buffering, sys.stderr.line_buffering],
            memory_pool=pyarrow.default_memory_pool().backend_name,
        )

    look.expand(i=[0, 1])
