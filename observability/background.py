"""Background tasks that outlive any error: it is logged and counted, and the work is tried again after a pause."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from domain.errors import QuizServiceError
from observability import metrics

logger = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
MAX_PAUSE = 5.0
"""Seconds. Short: heartbeats must be back soon after whatever kept them away."""

Work = Callable[[], Awaitable[object]]


async def run_forever(
    name: str, work: Work, *, pause: float = 0.0, max_pause: float = MAX_PAUSE, until: asyncio.Event | None = None
) -> None:
    """Do the work again and again; only cancellation ends it.

    Args:
        pause: seconds after each success.
        max_pause: seconds at most after an error; they double from `FIRST_PAUSE`.
        until: ends it too, after the work in hand.
    """
    attempts = _Attempts(name, max_pause)
    while not (until and until.is_set()):
        seconds = pause if await attempts.succeed(work) else attempts.pause
        if until is None:
            await asyncio.sleep(seconds)
        else:
            await wait_at_most(until, seconds)


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after some seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def keep_trying(name: str, work: Work, *, max_pause: float = MAX_PAUSE) -> None:
    """Do the work once, however many attempts that takes.

    Args:
        work: may be done in part by an attempt that failed.
    """
    attempts = _Attempts(name, max_pause)
    while not await attempts.succeed(work):  # noqa: ASYNC110 - nothing tells when it will go well
        await asyncio.sleep(attempts.pause)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one error of a task group, a signal to end before any other."""
    found = [first_error(one) if isinstance(one, BaseExceptionGroup) else one for one in group.exceptions]
    return next((error for error in found if not isinstance(error, Exception)), found[0])


class _Attempts:
    """What went wrong since the last success."""

    def __init__(self, name: str, max_pause: float) -> None:
        self._name = name
        self._max_pause = max_pause
        self._failures = 0
        self._kinds: set[tuple[type, type]] = set()
        """Of errors, with what caused them: the database may be gone first and refuse later."""
        metrics.BACKGROUND_ERRORS.labels(name)  # it is 0 before it grows

    @property
    def pause(self) -> float:
        return min(self._max_pause, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 20))

    async def succeed(self, work: Work) -> bool:
        """Attempt the work, and say whether it went well."""
        try:
            await work()
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if _is_cancelled():
                raise
            self._note(error)  # a CancelledError too, if it is something else that was cancelled
            return False
        if _is_cancelled():  # and the work has swallowed it
            raise asyncio.CancelledError
        if self._kinds:
            logger.info("%s works again", self._name)
        self._failures = 0
        self._kinds.clear()
        return True

    def _note(self, error: BaseException) -> None:
        metrics.BACKGROUND_ERRORS.labels(self._name).inc()
        self._failures += 1
        kind = type(error), type(error.__cause__)
        if kind in self._kinds:
            return
        self._kinds.add(kind)
        if isinstance(error, QuizServiceError):
            logger.warning("%s: %s; trying again", self._name, error)
        else:
            logger.error("%s failed, trying again", self._name, exc_info=error)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
