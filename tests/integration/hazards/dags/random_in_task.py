# SPDX-License-Identifier: Apache-2.0
"""Generators of libraries that are only imported at the top."""

import random

import pandas
from airflow.sdk import DAG, task
from seen import see

with DAG("random_in_task"):

    @task
    def look(i):
        import tempfile
        import uuid

        import numpy

        see(
            "random_in_task",
            numpy=int(numpy.random.randint(10**9)),
            default_rng=float(numpy.random.default_rng().random()),
            pandas=int(pandas.Series(range(10**6)).sample(1).iloc[0]),
            random=random.random(),
            uuid4=uuid.uuid4().hex,
            name=next(tempfile._get_candidate_names()),
        )

    look.expand(i=[0, 1])
