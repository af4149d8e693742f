# SPDX-License-Identifier: Apache-2.0
"""What is compared. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Configuration:
    """How tasks are run. options are Airflow's, as environment, of the worker alone."""

    name: str
    about: str
    celery: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


def _ours(name: str, about: str, supervisor: str, warm: str) -> Configuration:
    options = {
        "AIRFLOW__ZK_EXECUTOR__SUPERVISOR": supervisor,
        "AIRFLOW__ZK_EXECUTOR__WARM": warm,
    }
    return Configuration(name, about, options=options)


BEST = _ours("warm", "supervisor native, warm imports", "native", "imports")
CONFIGURATIONS = {
    one.name: one
    for one in (
        BEST,
        _ours("native", "supervisor native, warm = off", "native", "off"),
        # Warm processes are for the native one.
        _ours("airflow", "supervisor airflow", "airflow", "off"),
        Configuration("celery", "CeleryExecutor", celery=True),
    )
}
