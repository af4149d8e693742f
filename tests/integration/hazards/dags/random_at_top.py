# SPDX-License-Identifier: Apache-2.0
"""What is drawn, counted and measured at module level."""

import datetime
import os
import random
import secrets
import time
import uuid

import numpy
from airflow.sdk import DAG, task
from seen import see

GENERATOR = numpy.random.default_rng()
LEGACY = numpy.random.RandomState()
RANDOM = random.Random()
AT_TOP = {
    "numpy": float(numpy.random.rand()),
    "default_rng": float(GENERATOR.random()),
    "random": random.random(),
    "uuid4": uuid.uuid4().hex,
    "uuid1": uuid.uuid1().hex,
    "secrets": secrets.token_hex(8),
    "now": datetime.datetime.now().isoformat(),
    "monotonic": time.monotonic_ns(),
    "getpid": os.getpid(),
}

with DAG("random_at_top"):

    @task
    def look(i):
        see(
            "random_at_top",
            **AT_TOP,
            own_pid=AT_TOP["getpid"] == os.getpid(),
            generator=float(GENERATOR.random()),
            legacy=float(LEGACY.rand()),
            random_object=RANDOM.random(),
        )

    look.expand(i=[0, 1])
