"""Where a flood ends: who is too quick, by a clock of our own, and what of theirs is not stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.callbacks import (
    AllTopics,
    AnswerTap,
    ChooseHour,
    ConfirmErase,
    NextQuestion,
    OpenReport,
    ReportQuestion,
    SwitchDaily,
    ToggleTopic,
    read_callback,
)
from domain.catalog import ReportReason, Topic
from domain.ids import LearnerId
from domain.updates import AcceptedUpdate, Incoming, IntakeResult, TapVerdict, UpdateKind
from roles.flood import BURST, COOLDOWN_SECONDS, MAX_LEARNERS_KEPT, REPEAT_SECONDS, FloodLimiter
from tests.support.factories import some_id

LEARNER = LearnerId(700_000_001)
NOW = 1000.0


def command(name: str = "help", learner_id: LearnerId = LEARNER) -> Incoming:
    """Return a command as it is left of an update."""
    return Incoming(some_id(), learner_id, UpdateKind.COMMAND, name, some_id())


def tap(data: str, learner_id: LearnerId = LEARNER, message_id: int = 7) -> Incoming:
    """Return a tap as it is left of an update."""
    return Incoming(some_id(), learner_id, UpdateKind.TAP, data, message_id, "1", read_callback(data))


class Watch:
    """A limiter, and whom it takes a second look at: of those, it asks how many updates wait."""

    def __init__(self) -> None:
        self.limiter = FloodLimiter(self._count)
        self._asked = 0

    async def _count(self, _: LearnerId, __: int) -> int:
        self._asked += 1
        return 0

    async def is_too_quick(self, now: float, learner_id: LearnerId = LEARNER) -> bool:
        """Let somebody send one update more, and say whether they are looked at."""
        before = self._asked
        assert await self.limiter.reject(command("stop", learner_id), now) is None
        return self._asked > before

    async def hurry(self, now: float = NOW) -> FloodLimiter:
        """Let somebody send updates until they are too quick, and return the limiter."""
        while not await self.is_too_quick(now):
            pass
        return self.limiter


# ---------------------------------------------------------------- who is too quick


@given(st.lists(st.floats(1.0, 30.0), max_size=60))
async def test_nobody_who_rests_a_second_between_updates_is_too_quick(pauses: list[float]) -> None:
    watch, now = Watch(), NOW
    for pause in pauses:
        now += pause
        assert not await watch.is_too_quick(now)


async def test_a_burst_is_nothing_remarkable_and_one_more_is() -> None:
    watch = Watch()
    assert [await watch.is_too_quick(NOW) for _ in range(BURST + 1)] == [False] * BURST + [True]


async def test_whoever_was_too_quick_is_looked_at_until_they_rest() -> None:
    watch = Watch()
    quick = [await watch.is_too_quick(NOW + number / 1000) for number in range(5000)]
    assert sum(not one for one in quick) == BURST
    end = NOW + 5
    assert await watch.is_too_quick(end + COOLDOWN_SECONDS - 1)
    assert not await watch.is_too_quick(end + 2 * COOLDOWN_SECONDS)


async def test_one_learners_flood_is_nobody_elses() -> None:
    watch = Watch()
    assert [await watch.is_too_quick(NOW) for _ in range(BURST + 1)][-1]
    assert not await watch.is_too_quick(NOW, LearnerId(5))


async def test_learners_at_rest_are_forgotten_and_floods_are_not() -> None:
    watch = Watch()
    for number in range(MAX_LEARNERS_KEPT - 1):
        await watch.is_too_quick(NOW, LearnerId(number + 1))
    later = NOW + 60
    await watch.hurry(later)
    for number in range(100):
        await watch.is_too_quick(later, LearnerId(10**6 + number))
    assert len(watch.limiter._recent) == 101  # noqa: SLF001 - memory is what this is about
    assert await watch.is_too_quick(later)


# ---------------------------------------------------------------- what is said again


REPEATABLE = [
    command("help"),
    command("quiz"),
    command(""),
    Incoming(1, LEARNER, UpdateKind.TEXT, "", 3),
    tap(AnswerTap(5, 1).pack()),
    tap(NextQuestion().pack()),
    tap(OpenReport(5, "").pack()),
    tap(""),
]
CHANGING = [
    command("stop"),
    command("resume"),
    tap(ToggleTopic(Topic.STREAMING).pack()),
    tap(AllTopics().pack()),
    tap(SwitchDaily(enabled=True).pack()),
    tap(ChooseHour(7).pack()),
    tap(ConfirmErase(confirmed=True).pack()),
    tap(ReportQuestion(5, ReportReason.WRONG).pack()),
    Incoming(1, LEARNER, UpdateKind.BLOCKED),
    Incoming(1, LEARNER, UpdateKind.UNBLOCKED),
]


@pytest.mark.parametrize("update", REPEATABLE, ids=lambda update: f"{update.kind} {update.content}")
async def test_what_only_shows_something_is_answered_once_for_a_while(update: Incoming) -> None:
    watch = Watch()
    limiter = await watch.hurry()
    assert await limiter.reject(update, NOW) is None
    limiter.note_stored(update, TapVerdict.FRESH, NOW, is_new=True)
    await watch.hurry(NOW + REPEAT_SECONDS / 2)
    assert await limiter.reject(update, NOW + REPEAT_SECONDS / 2) == AcceptedUpdate(
        update, IntakeResult.COALESCED, TapVerdict.FRESH
    )
    await watch.hurry(NOW + REPEAT_SECONDS + 1)
    assert await limiter.reject(update, NOW + REPEAT_SECONDS + 1) is None


@pytest.mark.parametrize("update", CHANGING, ids=lambda update: f"{update.kind} {update.content}")
async def test_what_changes_something_counts_each_time(update: Incoming) -> None:
    limiter = await Watch().hurry()
    limiter.note_stored(update, TapVerdict.NOT_A_QUIZ, NOW, is_new=True)
    assert await limiter.reject(update, NOW) is None


async def test_something_else_in_between_makes_it_a_new_wish() -> None:
    limiter = await Watch().hurry()
    for update in (command("stats"), tap(AnswerTap(5, 1).pack())):
        limiter.note_stored(update, TapVerdict.NOT_A_QUIZ, NOW, is_new=True)
    assert await limiter.reject(command("stats"), NOW) is None
    assert await limiter.reject(tap(AnswerTap(5, 1).pack()), NOW) is not None
    assert await limiter.reject(tap(AnswerTap(5, 2).pack()), NOW) is None
    assert await limiter.reject(tap(AnswerTap(5, 1).pack(), message_id=8), NOW) is None
    assert await limiter.reject(tap(AnswerTap(5, 1).pack(), learner_id=LearnerId(5)), NOW) is None
