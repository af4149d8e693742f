# SPDX-License-Identifier: Apache-2.0
"""The same DAGs in a file that imports pandas."""

import pandas  # noqa: F401
from airflow.sdk import dag  # noqa: F401  Airflow looks for these two words
from bench_flows import make

make("_pandas")
