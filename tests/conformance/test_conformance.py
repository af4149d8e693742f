# SPDX-License-Identifier: Apache-2.0
"""Our supervisor against Airflow's own: what they ask of the API server, report and log.

While this worker has no supervisor of its own, Airflow's is compared with itself, which finds out
what is not the same in any two runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from case import Case
from cases import all_cases
from claims import unproven
from compare import differences, render
from differences import ALLOWED
from sides import Side

from zk_executor.get_provider_info import get_provider_info


def _compared() -> tuple[str, ...]:
    options = get_provider_info()["config"]["zk_executor"]["options"]
    return ("native", "warm") if "supervisor" in options else ("airflow-again",)


COMPARED = _compared()
CASES = all_cases()
_used: set[str] = set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("side", COMPARED)
def test_task_is_supervised_as_airflow_does(
    case: Case, side: str, sides: Mapping[str, Side]
) -> None:
    sections = []
    for one in (sides["airflow"], sides[side]):
        assert case.name in one.outcomes, one.failure
        sections.append(render(case, one.outcomes[case.name], str(one.folder)))
    found = differences(case, *sections, ALLOWED, _used)
    assert not found, f"- airflow, + {side}\n" + "\n".join(found)
    for one in (sides["airflow"], sides[side]):
        missing = unproven(case, one.outcomes[case.name])
        assert not missing, f"nothing was compared; on side {one.name}: " + "; ".join(missing)


@pytest.mark.parametrize("side", COMPARED)
def test_program_ends_well_and_every_request_has_its_token(
    side: str, sides: Mapping[str, Side]
) -> None:
    assert not sides["airflow"].failure
    assert not sides[side].failure


def test_every_allowed_difference_is_there(
    request: pytest.FixtureRequest, sides: Mapping[str, Side]
) -> None:
    if len(sides["airflow"].outcomes) < len(CASES) or "airflow-again" in COMPARED:
        pytest.skip("not everything was compared")
    assert {entry.name for entry in ALLOWED if not entry.sometimes} - _used == set()
