# SPDX-License-Identifier: Apache-2.0
"""Signal handlers of the module."""

import os
import signal

from airflow.sdk import DAG, task
from seen import see

CAUGHT = []
signal.signal(signal.SIGUSR1, lambda number, _: CAUGHT.append(number))
signal.signal(signal.SIGHUP, signal.SIG_IGN)

with DAG("signal_at_top"):

    @task
    def look(i):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGHUP)
        see("signal_at_top", caught=CAUGHT)

    look.expand(i=[0, 1])
