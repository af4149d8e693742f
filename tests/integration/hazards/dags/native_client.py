# SPDX-License-Identifier: Apache-2.0
"""A connection that native code makes, of which neither Python nor an audit hook hears."""

import ctypes
import os

from airflow.sdk import DAG, task
from seen import data, see

CLIENT = ctypes.CDLL(data("client.so"))
FD = CLIENT.hazards_connect(os.environ["HAZARDS_SOCKETS"].encode() + b"/numbers")

with DAG("native_client"):

    @task
    def look(i):
        wrong, connection = 0, ctypes.c_longlong()
        for k in range(100):
            token = os.getpid() * 100 + k
            wrong += CLIENT.hazards_ask(FD, ctypes.c_longlong(token), ctypes.byref(connection))
        see("native_client", wrong=wrong, connection=connection.value)

    look.expand(i=[0, 1])
