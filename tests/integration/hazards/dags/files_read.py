# SPDX-License-Identifier: Apache-2.0
"""Files that Python and native code read at module level, and that change."""

import pandas
import polars
import pyarrow.csv
import pyarrow.parquet
from airflow.sdk import DAG, task
from seen import data, see

with open(data("words.txt")) as file:
    WORDS = file.read().strip()
AT_TOP = {
    "words": WORDS,
    "pandas": pandas.read_csv(data("words.csv"))["value"][0],
    "polars": polars.read_csv(data("words.csv"))["value"][0],
    "arrow_csv": pyarrow.csv.read_csv(data("words.csv"))["value"][0].as_py(),
    "parquet": pyarrow.parquet.read_table(data("words.parquet"))["value"][0].as_py(),
}

with DAG("files_read"):

    @task
    def look(i):
        see("files_read", **AT_TOP)

    look.expand(i=[0, 1])
