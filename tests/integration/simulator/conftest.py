"""A simulator and a webhook on real ports, new for each test."""

from collections.abc import AsyncIterator

import pytest

from simulator.options import Options
from tests.integration.simulator.support import UNLIMITED, Webhook, World, served, world_of
from tests.support.manual_clock import ManualClock


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A simulator without rate limits."""
    async with world_of(UNLIMITED) as one:
        yield one


@pytest.fixture
async def slow_world() -> AsyncIterator[World]:
    """A simulator with Telegram's rate limits, whose clock stands still."""
    async with world_of(Options(), ManualClock()) as one:
        yield one


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    """A webhook on a port of its own."""
    one = Webhook()
    async with served(one) as url:
        one.url = f"{url}/telegram/webhook"
        yield one


@pytest.fixture(autouse=True)
def _durations_as_timedeltas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let python-telegram-bot give `retry_after` in its coming form; the old one warns."""
    monkeypatch.setenv("PTB_TIMEDELTA", "1")
