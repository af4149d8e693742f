# SPDX-License-Identifier: Apache-2.0
"""
Which versions of Airflow the native supervisor was verified with, and what each speaks.

A new version is a line of ``VERIFIED``, once the conformance tests pass with it: the digest
of its schema of messages, and its *dialect*. Versions of one minor share a dialect. A new
one gets a number here and in ``worker/supervise/dialect.h``; what it adds or changes among
the messages is a table in ``route_table.cc``.
"""

from __future__ import annotations

import functools
import hashlib
import os
from typing import NamedTuple

AIRFLOW_3_3 = 33
AIRFLOW_3_4 = 34
NEWEST = AIRFLOW_3_4


class Version(NamedTuple):
    """What is known of an Airflow. One that was not verified is taken to speak like the newest."""

    name: str
    dialect: int = NEWEST
    verified: bool = False


# By the SHA-256 of airflow.sdk.execution_time's schema.json: the messages between a task and
# its supervisor. With another one, some message may mean something else.
VERIFIED: dict[str, Version] = {
    "eca2f7122a9b3998158847f226896ba7ce2e14113071272f4890dcd85470e004": Version(
        "3.3.2", AIRFLOW_3_3, True
    ),
    "0e0d678b206ddf20fc87fc959e00912f3a8c53cbc826a638a06cbed0c069d7cf": Version(
        "3.4.0b2", AIRFLOW_3_4, True
    ),
}


def schema_digest() -> str:
    """SHA-256 of the schema of messages; empty if this Airflow has none."""
    from airflow.sdk import execution_time

    path = os.path.join(os.path.dirname(execution_time.__file__), "schema", "schema.json")
    try:
        with open(path, "rb") as schema:
            return hashlib.sha256(schema.read()).hexdigest()
    except OSError:
        return ""


@functools.cache
def installed() -> Version:
    """The version that is installed. Imports Airflow's SDK."""
    return VERIFIED.get(schema_digest(), Version("unknown"))
