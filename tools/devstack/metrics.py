# SPDX-License-Identifier: Apache-2.0
"""What a worker's page of metrics says.

Threads: any. Errors: OSError when it can't be read.
"""

from __future__ import annotations

import urllib.request


def counted(http: str, metric: str, label: str) -> float:
    """The sum of the counters of that name with that label, at a worker's host:port."""
    with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(metric + "{") and label in line
    )
