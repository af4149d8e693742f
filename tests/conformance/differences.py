# SPDX-License-Identifier: Apache-2.0
"""The differences between Airflow's supervisor and ours that are meant to be, each with its reason.

An entry is as narrow as it can be. What is not here is a fault of ours, or has to be argued for.
"""

from __future__ import annotations

from compare import Allowed, without

ALLOWED: tuple[Allowed, ...] = (
    Allowed(
        "first line of a task that is refused",
        "The process of the task is there before the server is asked, and logs a line before it "
        "learns what to do. Whether it gets so far before it is killed is chance, with Airflow's "
        "supervisor too.",
        without(r'.*"::group::Pre Execute".*'),
        sections="log: logs channel",
        cases="start-.*",
        sometimes=True,
    ),
)
