"""Waiting for what a test means, never for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

WAIT_SECONDS = 240.0
"""Longer than anything takes on a machine that does much else at once; only a test that fails waits so long."""

WAIT_MILLISECONDS = WAIT_SECONDS * 1000
"""The same for a browser."""

T = TypeVar("T")


@overload
async def until(ask: Callable[[], Awaitable[T | None]], describe: Callable[[], str] = str) -> T: ...
@overload
async def until(ask: Callable[[], T | None], describe: Callable[[], str] = str) -> T: ...
async def until(ask: Callable[[], Any], describe: Callable[[], str] = str) -> Any:
    """Return the first answer that is not empty, or fail with a description."""
    end = time.monotonic() + WAIT_SECONDS
    while True:
        answer = ask()
        if found := await answer if inspect.isawaitable(answer) else answer:
            return found
        assert time.monotonic() < end, describe()
        await asyncio.sleep(0.02)


def wait_for(ask: Callable[[], T | None], describe: Callable[[], str] = str) -> T:
    """Return the first answer that is not empty, or fail with a description; blocks meanwhile."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := ask()):
        assert time.monotonic() < end, describe()
        time.sleep(0.02)
    return found
