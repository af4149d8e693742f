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


def _ours(name: str, about: str, supervisor: str, templates: bool) -> Configuration:
    options = {
        "AIRFLOW__ZK_EXECUTOR__SUPERVISOR": supervisor,
        "AIRFLOW__ZK_EXECUTOR__TEMPLATES": str(templates),
    }
    return Configuration(name, about, options=options)


BEST = _ours("templates", "supervisor native, templates", "native", True)
CONFIGURATIONS = {
    one.name: one
    for one in (
        BEST,
        _ours("native", "supervisor native, no templates", "native", False),
        # Airflow's supervisor parses the file in each task: templates are for the native one.
        _ours("airflow", "supervisor airflow", "airflow", True),
        Configuration("celery", "CeleryExecutor", celery=True),
    )
}
