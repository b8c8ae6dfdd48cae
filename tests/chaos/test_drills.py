"""The quickest drills on the real servers and roles, as `make chaos` runs them, with fewer learners."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from chaos.drill import Drills, Size, open_drills
from chaos.faults import FAULTS
from chaos.stage import Stage, open_stage
from domain.settings import Settings

pytestmark = pytest.mark.stack

SMALL = Size(people=12, per_second=2, cohort=12)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Yield a stage on which everything runs, whatever this machine's settings are."""
    ours = {name.upper() for name in Settings.model_fields}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name in ours or name.startswith("PREFECT_")]:
            patch.delenv(name)
        with open_stage(silent) as stage:
            yield stage


def silent(_: str) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
async def drills(stage: Stage) -> AsyncIterator[Drills]:
    """Yield learners at work."""
    async with open_drills(stage, SMALL, silent) as drills:
        yield drills


@pytest.mark.parametrize("name", ["two-bots", "kill-bot", "sigterm"])
async def test_nothing_is_lost_and_nothing_counts_twice(name: str, drills: Drills) -> None:
    outcome = await drills.run(FAULTS[name])
    assert outcome.deviations == []
    assert (outcome.count.lost, outcome.count.doubled) == (0, 0)
    assert outcome.count.accepted == outcome.count.processed > 0
