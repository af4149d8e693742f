# SPDX-License-Identifier: Apache-2.0
"""ZkExecutor: an Apache Airflow executor that hands tasks to workers through ZooKeeper.

Importing this package is cheap: Airflow is imported only when ``ZkExecutor`` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zk_executor.executor import ZkExecutor

__version__ = "0.1.0"
__all__ = ["ZkExecutor", "__version__"]


def __getattr__(name: str) -> object:
    if name == "ZkExecutor":
        from zk_executor.executor import ZkExecutor

        return ZkExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
