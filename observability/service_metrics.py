"""Gauges of the whole service, read from its rows when Prometheus asks; without an answer they are absent, not old."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from domain.service_state import BackupState, BackupSummary, Role, ServiceState

logger = logging.getLogger(__name__)

CACHE_SECONDS = 5.0
"""For which an answer, or that there was none, serves further scrapes."""

ASK_SECONDS = 3.0
"""After which there is no answer."""

T = TypeVar("T")

Ask = Callable[[], Coroutine[Any, Any, T]]


def run_on(loop: asyncio.AbstractEventLoop, ask: Ask[T], seconds: float) -> T:
    """Run a coroutine on another thread's event loop and return what it returns.

    Raises:
        TimeoutError: it took longer than so many seconds, and was cancelled.
        RuntimeError: the loop is closed.
    """
    work = ask()
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        work.close()
        raise
    try:
        return future.result(seconds)
    finally:
        future.cancel()


class ServiceMetrics(Collector):
    """Turns the rows' answers into gauges."""

    def __init__(
        self, read: Ask[ServiceState], overdue_seconds: float, backup_overdue_seconds: float | None = None
    ) -> None:
        """Take what reads the rows on the running event loop.

        Args:
            overdue_seconds: age at which a daily quiz that is due and unsent is overdue.
            backup_overdue_seconds: age at which the last verified backup is; None if none is scheduled.
        """
        self._loop = asyncio.get_running_loop()
        self._read = read
        self._overdue_seconds = overdue_seconds
        self._backup_overdue_seconds = backup_overdue_seconds
        self._lock = threading.Lock()
        self._known: tuple[float, ServiceState | None] | None = None

    @staticmethod
    def describe() -> list[GaugeMetricFamily]:
        """Return the gauges without their values."""
        return list(_gauges().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges, or nothing while the rows do not answer."""
        if state := self._ask():
            yield from _fill(state, self._overdue_seconds, self._backup_overdue_seconds)

    def _ask(self) -> ServiceState | None:
        with self._lock:
            if self._known and time.monotonic() - self._known[0] < CACHE_SECONDS:
                return self._known[1]
            state = None
            try:
                state = run_on(self._loop, self._read, ASK_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever it is, there is nothing to show
                logger.debug("the service's state cannot be read: %s", type(error).__name__)
            self._known = time.monotonic(), state
            return state

    def expose(self) -> bytes:
        """Return this process's metrics and the service's as Prometheus reads them; blocks while the rows are asked."""
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest() + generate_latest(registry)


def _gauges() -> dict[str, GaugeMetricFamily]:
    described = (
        ("quiz_role_processes", "Processes of a role that are alive", "role"),
        ("quiz_role_heartbeat_age_seconds", "Since the latest heartbeat of a role in a version", "role version"),
        ("quiz_updates_waiting", "Stored updates that are not handled yet", ""),
        ("quiz_updates_oldest_seconds", "Age of the oldest of these", ""),
        ("quiz_daily_unsent", "Daily quizzes that are due and not sent, counted to some ten thousand", "bot"),
        ("quiz_daily_oldest_seconds", "Since the oldest of these was due", "bot"),
        ("quiz_daily_overdue_after_seconds", "At which age of the oldest one a daily quiz counts as overdue", ""),
        ("quiz_paused", "1 while an operator has paused a bot, or all of them", "bot"),
        (
            "quiz_quizzes_failed_today",
            "Quizzes given up since midnight UTC, but for learners who blocked the bot; counted to ten thousand",
            "",
        ),
        ("quiz_distribution_begun_timestamp_seconds", "When the latest distribution began, in Unix time", ""),
        ("quiz_distribution_failed", "1 if the latest distribution that had anybody to serve failed or crashed", ""),
        (
            "quiz_backup_age_seconds",
            "Since the last verified backup was begun or, without one, since the database was made",
            "",
        ),
        ("quiz_backup_overdue_after_seconds", "At which age it is overdue; absent if none is scheduled", ""),
        ("quiz_backup_size_bytes", "Size of the last verified backup", ""),
        ("quiz_backup_duration_seconds", "How long it took, its verification included", ""),
        ("quiz_backup_verified", "1 if the last backup that ended was verified, 0 if it failed", ""),
        ("quiz_distribution_learners", "Learners of that distribution, by what became of them", "outcome"),
    )
    return {name: GaugeMetricFamily(name, about, labels=labels.split()) for name, about, labels in described}


def _fill(
    state: ServiceState, overdue_seconds: float, backup_overdue_seconds: float | None
) -> Iterator[GaugeMetricFamily]:
    gauges = _gauges()

    def put(name: str, value: float, *labels: str) -> None:
        gauges[name].add_metric(labels, value)

    for name, value in _values_of_backups(state.backups, backup_overdue_seconds):
        put(name, value)
    for role in Role:
        put("quiz_role_processes", state.count_alive(role), role)
    ages: dict[tuple[str, str], float] = {}
    for beat in state.heartbeats:
        ages.setdefault((beat.role, beat.version or ""), beat.age_seconds)  # the latest comes first
    for labels, age in ages.items():
        put("quiz_role_heartbeat_age_seconds", age, *labels)
    put("quiz_updates_waiting", state.updates_waiting)
    put("quiz_updates_oldest_seconds", state.updates_oldest_seconds)
    for backlog in state.backlogs:
        put("quiz_daily_unsent", backlog.unsent, str(backlog.bot_id))
        put("quiz_daily_oldest_seconds", backlog.oldest_seconds, str(backlog.bot_id))
        is_paused = any(pause.holds_for(backlog.bot_id) for pause in state.pauses)
        put("quiz_paused", is_paused, str(backlog.bot_id))
    put("quiz_daily_overdue_after_seconds", overdue_seconds)
    put("quiz_quizzes_failed_today", state.failed_today)
    if state.latest:
        put("quiz_distribution_begun_timestamp_seconds", state.latest.begun_at.timestamp())
    if served := state.latest_served:
        put("quiz_distribution_failed", served.state.is_bad)
        for outcome in ("due", "sent", "skipped", "failed", "unreachable", "refused"):
            put("quiz_distribution_learners", getattr(served, outcome), outcome)
    return (gauge for gauge in gauges.values() if gauge.samples)


def _values_of_backups(backups: BackupSummary, overdue_seconds: float | None) -> Iterator[tuple[str, float]]:
    if overdue_seconds is not None:
        yield "quiz_backup_overdue_after_seconds", overdue_seconds
    if backups.verified or overdue_seconds is not None:
        yield "quiz_backup_age_seconds", backups.age_seconds
    if (verified := backups.verified) and verified.ended_at:
        yield "quiz_backup_size_bytes", verified.size_bytes or 0
        yield "quiz_backup_duration_seconds", (verified.ended_at - verified.begun_at).total_seconds()
    if backups.latest:
        yield "quiz_backup_verified", backups.latest.state is BackupState.VERIFIED
