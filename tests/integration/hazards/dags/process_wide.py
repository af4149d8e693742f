# SPDX-License-Identifier: Apache-2.0
"""What belongs to the whole process and the module sets."""

import decimal
import locale
import logging
import os
import sys
import warnings

import pandas
from airflow.sdk import DAG, task
from seen import see

locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")
warnings.filterwarnings("error", category=UserWarning)
logging.getLogger("hazards").setLevel(7)
decimal.getcontext().prec = 5
os.umask(0o027)
sys.setrecursionlimit(1234)
pandas.set_option("display.max_rows", 17)

with DAG("process_wide"):

    @task
    def look(i):
        raised = False
        try:
            warnings.warn("a warning", UserWarning, stacklevel=1)
        except UserWarning:
            raised = True
        see(
            "process_wide",
            locale=locale.setlocale(locale.LC_NUMERIC),
            warning_raised=raised,
            level=logging.getLogger("hazards").level,
            precision=decimal.getcontext().prec,
            umask=os.umask(0o027),
            recursion=sys.getrecursionlimit(),
            rows=pandas.get_option("display.max_rows"),
        )

    look.expand(i=[0, 1])
