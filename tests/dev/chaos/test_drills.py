"""The quickest drills on the real servers and roles, as `make chaos` runs them, with fewer learners."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from dev.chaos.drill import Drills, Size, open_drills
from dev.chaos.environment import DrillEnvironment, open_environment
from dev.chaos.faults import FAULTS
from domain.settings import Settings

pytestmark = pytest.mark.stack

SMALL = Size(people=12, per_second=2, cohort=12)


@pytest.fixture(scope="module")
def env() -> Iterator[DrillEnvironment]:
    """Yield a stage on which everything runs, whatever this machine's settings are."""
    ours = {name.upper() for name in Settings.model_fields}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name in ours or name.startswith("PREFECT_")]:
            patch.delenv(name)
        with open_environment(silent) as env:
            yield env


def silent(_: str) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
async def drills(env: DrillEnvironment) -> AsyncIterator[Drills]:
    """Yield learners at work."""
    async with open_drills(env, SMALL, silent) as drills:
        yield drills


@pytest.mark.parametrize("name", ["two-bots", "kill-bot", "sigterm"])
async def test_nothing_is_lost_and_nothing_counts_twice(name: str, drills: Drills) -> None:
    outcome = await drills.run(FAULTS[name])
    assert outcome.deviations == []
    assert (outcome.count.lost, outcome.count.doubled) == (0, 0)
    assert outcome.count.accepted == outcome.count.processed > 0
