"""The chat page in a browser, which on a busy machine is slow, not wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright import async_api, sync_api
from playwright.async_api import BrowserContext, Page, async_playwright

from tests.integration.simulator.support import ALICE, UNLIMITED, World, world_of
from tests.support.waiting import WAIT_MILLISECONDS

async_api.expect.set_options(timeout=WAIT_MILLISECONDS)
sync_api.expect.set_options(timeout=WAIT_MILLISECONDS)

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A simulator without rate limits."""
    async with world_of(UNLIMITED) as one:
        yield one


@pytest.fixture(scope="module")
async def context() -> AsyncIterator[BrowserContext]:
    """One browser for all tests of the page; each simulator is a site of its own to it."""
    async with async_playwright() as playwright:
        one = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await one.new_context()
        context.set_default_timeout(WAIT_MILLISECONDS)
        yield context
        await one.close()


@pytest.fixture
async def page(context: BrowserContext, world: World) -> AsyncIterator[Page]:
    """The page with the first learner's chat open; any script error fails the test."""
    one = await context.new_page()
    errors: list[str] = []
    one.on("pageerror", lambda error: errors.append(str(error)))
    await one.goto(world.url)
    await one.get_by_test_id(f"learner-{ALICE}").click()
    yield one
    await one.close()
    assert errors == []
