# SPDX-License-Identifier: Apache-2.0
"""A gRPC channel of the module, with its threads and its connection."""

import os

import grpc
from airflow.sdk import DAG, task
from seen import see

CHANNEL = grpc.insecure_channel("unix:" + os.environ["HAZARDS_SOCKETS"] + "/grpc")
ASK = CHANNEL.unary_unary("/hazards.Echo/Echo")
AT_TOP = ASK(b"top", timeout=30).decode()

with DAG("grpc_channel"):

    @task
    def look(i):
        wrong = 0
        for k in range(20):
            token = f"{os.getpid()} {k}".encode()
            wrong += ASK(token, timeout=30) != token
        see("grpc_channel", at_top=AT_TOP, wrong=wrong)

    look.expand(i=[0, 1])
