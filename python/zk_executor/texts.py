# SPDX-License-Identifier: Apache-2.0
"""Texts from outside, made fit for Airflow's database and for people.

Pure. A reason may hold what an API server, a proxy, or whoever can write to ZooKeeper has said.
PostgreSQL refuses a NUL, and no encoding has lone surrogates: either would end the scheduler.
"""

from __future__ import annotations

import re

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def printable(text: str) -> str:
    """The text, with a replacement character for each control character and lone surrogate."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def words(error: Exception) -> str:
    """An exception for people who don't read this code."""
    return printable(f"{type(error).__name__}: {error}")
