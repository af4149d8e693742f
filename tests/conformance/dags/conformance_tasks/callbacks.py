# SPDX-License-Identifier: Apache-2.0
"""Callbacks that Airflow runs as workloads."""

from __future__ import annotations

from typing import Any


def succeed(text: str, **context: Any) -> None:
    print("callback", text)


def fail(text: str, **context: Any) -> None:
    raise ValueError(f"callback {text}")
