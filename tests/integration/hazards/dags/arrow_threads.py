# SPDX-License-Identifier: Apache-2.0
"""Arrow's threads for computing and for files."""

import pyarrow
import pyarrow.parquet
from airflow.sdk import DAG, task
from seen import data, see


def compute():
    table = pyarrow.table({"a": [n % 7 for n in range(50_000)], "b": list(range(50_000))})
    summed = table.group_by("a", use_threads=True).aggregate([("b", "sum")])
    return sum(summed["b_sum"].to_pylist())


def read():
    table = pyarrow.parquet.read_table(data("constant.parquet"), use_threads=True)
    return table.num_rows


AT_TOP = [compute(), read()]

with DAG("arrow_threads"):

    @task
    def look(i):
        see("arrow_threads", at_top=AT_TOP, in_task=[compute(), read()])

    look.expand(i=[0, 1])
