"""Where a flood ends: who is too quick, by a clock of our own, and what of theirs is not stored."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.callbacks import (
    AllTopics,
    AnswerTap,
    ChooseHour,
    ConfirmErase,
    NextQuestion,
    OpenReport,
    ReportQuestion,
    SwitchDaily,
    ToggleTopic,
)
from bot.flood import BURST, CROWDED_SECONDS, LEARNERS_KEPT, MOST_WAITING, REPEAT_SECONDS, REST_SECONDS, FloodGate
from bot.intake import TOASTS, accept_update
from bot.messages import TOO_QUICK
from domain.catalog import ReportReason, Topic
from domain.ids import LearnerId
from domain.models import Fate, Incoming, TapVerdict, UpdateKind
from tests.factories import BOT_ID, some_id
from tests.fundamentals.classroom import Classroom

LEARNER = LearnerId(700_000_001)
NOW = 1000.0


def command(name: str = "help", learner_id: LearnerId = LEARNER) -> Incoming:
    """Return a command as it is left of an update."""
    return Incoming(some_id(), learner_id, UpdateKind.COMMAND, name, some_id())


def tap(data: str, learner_id: LearnerId = LEARNER, message_id: int = 7) -> Incoming:
    """Return a tap as it is left of an update."""
    return Incoming(some_id(), learner_id, UpdateKind.TAP, data, message_id, "1")


def hurried(learner_id: LearnerId = LEARNER, now: float = NOW) -> FloodGate:
    """Return a gate at which somebody is too quick already."""
    gate = FloodGate()
    while not gate.is_too_quick(learner_id, now):
        pass
    return gate


# ---------------------------------------------------------------- who is too quick


@given(st.lists(st.floats(1.0, 30.0), max_size=60))
def test_nobody_who_rests_a_second_between_updates_is_too_quick(pauses: list[float]) -> None:
    gate, now = FloodGate(), NOW
    for pause in pauses:
        now += pause
        assert not gate.is_too_quick(LEARNER, now)


def test_a_burst_is_nothing_remarkable_and_one_more_is() -> None:
    gate = FloodGate()
    assert [gate.is_too_quick(LEARNER, NOW) for _ in range(BURST + 1)] == [False] * BURST + [True]


def test_whoever_was_too_quick_is_looked_at_until_they_rest() -> None:
    gate = FloodGate()
    quick = [gate.is_too_quick(LEARNER, NOW + number / 1000) for number in range(5000)]
    assert sum(not one for one in quick) == BURST
    end = NOW + 5
    assert gate.is_too_quick(LEARNER, end + REST_SECONDS - 1)
    assert not gate.is_too_quick(LEARNER, end + 2 * REST_SECONDS)


def test_one_learners_flood_is_nobody_elses() -> None:
    gate = hurried()
    assert gate.is_too_quick(LEARNER, NOW)
    assert not gate.is_too_quick(LearnerId(5), NOW)


def test_learners_at_rest_are_forgotten_and_floods_are_not() -> None:
    gate = FloodGate()
    for number in range(LEARNERS_KEPT - 1):
        gate.is_too_quick(LearnerId(number + 1), NOW)
    later = NOW + 60
    while not gate.is_too_quick(LEARNER, later):
        pass
    for number in range(100):
        gate.is_too_quick(LearnerId(10**6 + number), later)
    assert len(gate._recent) == 101  # noqa: SLF001 - memory is what this is about
    assert gate.is_too_quick(LEARNER, later)


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
def test_what_only_shows_something_is_answered_once_for_a_while(update: Incoming) -> None:
    gate = hurried()
    assert gate.repeated(update, NOW) is None
    gate.note_stored(update, TapVerdict.FRESH, NOW)
    assert gate.repeated(update, NOW + REPEAT_SECONDS / 2) is TapVerdict.FRESH
    assert gate.repeated(update, NOW + REPEAT_SECONDS + 1) is None


@pytest.mark.parametrize("update", CHANGING, ids=lambda update: f"{update.kind} {update.content}")
def test_what_changes_something_counts_each_time(update: Incoming) -> None:
    gate = hurried()
    gate.note_stored(update, TapVerdict.NOT_A_QUIZ, NOW)
    assert gate.repeated(update, NOW) is None


def test_something_else_in_between_makes_it_a_new_wish() -> None:
    gate = hurried()
    for update in (command("stats"), tap(AnswerTap(5, 1).pack())):
        gate.note_stored(update, TapVerdict.NOT_A_QUIZ, NOW)
    assert gate.repeated(command("stats"), NOW) is None
    assert gate.repeated(tap(AnswerTap(5, 1).pack()), NOW) is not None
    assert gate.repeated(tap(AnswerTap(5, 2).pack()), NOW) is None
    assert gate.repeated(tap(AnswerTap(5, 1).pack(), message_id=8), NOW) is None
    assert gate.repeated(tap(AnswerTap(5, 1).pack(), learner_id=LearnerId(5)), NOW) is None


# ---------------------------------------------------------------- what is stored


async def accept(classroom: Classroom, gate: FloodGate, *updates: Incoming) -> list[Fate]:
    """Return what becomes of updates."""
    return [(await accept_update(classroom.repository, BOT_ID, update, gate)).fate for update in updates]


async def test_many_texts_at_once_get_few_answers(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    texts = [Incoming(some_id(), learner_id, UpdateKind.TEXT, "", number) for number in range(200)]
    fates = await accept(classroom, FloodGate(), *texts)
    assert fates == [Fate.STORED] * BURST + [Fate.REPEATED] * (200 - BURST)


async def test_past_a_number_that_wait_the_rest_is_turned_away(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    commands = [command(name, learner_id) for _ in range(60) for name in ("stop", "resume")]
    gate = FloodGate()
    fates = await accept(classroom, gate, *commands)
    assert fates == [Fate.STORED] * MOST_WAITING + [Fate.SHED] * (120 - MOST_WAITING)
    other = await accept(classroom, gate, command("stop", LearnerId(some_id())))
    assert other == [Fate.STORED]


async def test_once_they_are_handled_there_is_room_again(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    gate = FloodGate()
    commands = [command(name, learner_id) for _ in range(30) for name in ("stop", "resume")]
    assert (await accept(classroom, gate, *commands))[-1] is Fate.SHED
    for _ in range(MOST_WAITING):
        mine = [one for one in await classroom.repository.claim_updates(50) if one.learner_id == learner_id]
        await classroom.repository.finish_updates([one.row for one in mine])
    gate.note_crowded(learner_id, time.monotonic() - CROWDED_SECONDS)  # what was believed is old
    assert await accept(classroom, gate, command("stop", learner_id)) == [Fate.STORED]


async def test_the_news_that_somebody_blocked_the_bot_has_room_of_its_own(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    gate = FloodGate()
    await accept(classroom, gate, *(command(name, learner_id) for _ in range(30) for name in ("stop", "resume")))
    news = [Incoming(some_id(), learner_id, kind) for kind in (UpdateKind.BLOCKED, UpdateKind.UNBLOCKED)]
    assert await accept(classroom, gate, *news) == [Fate.STORED, Fate.STORED]
    assert await accept(classroom, gate, command("stop", learner_id)) == [Fate.SHED]
    more = [Incoming(some_id(), learner_id, UpdateKind.BLOCKED) for _ in range(80)]
    assert (await accept(classroom, gate, *more))[-1] is Fate.SHED


async def test_a_tap_that_is_turned_away_is_told_so_and_a_repeated_one_what_the_first_was_told(
    classroom: Classroom,
) -> None:
    learner = await classroom.join()
    quiz = await classroom.ask(learner)
    gate = hurried(learner.id, time.monotonic())
    updates = [tap(AnswerTap(quiz.id, 1).pack(), learner.id) for _ in range(3)]
    accepted = [await accept_update(classroom.repository, BOT_ID, update, gate) for update in updates]
    assert [one.fate for one in accepted] == [Fate.STORED, Fate.REPEATED, Fate.REPEATED]
    assert {one.toast for one in accepted} == {TOASTS[TapVerdict.FRESH]}
    toggles = [tap(ToggleTopic(Topic.STREAMING).pack(), learner.id) for _ in range(MOST_WAITING + 5)]
    last = [await accept_update(classroom.repository, BOT_ID, update, gate) for update in toggles][-1]
    assert (last.fate, last.toast) == (Fate.SHED, TOO_QUICK)
    assert len(TOO_QUICK) <= 200


async def test_a_redelivery_during_a_flood_is_known_and_counts_once(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    gate = hurried(learner_id, time.monotonic())
    update = command("stop", learner_id)
    assert await accept(classroom, gate, update, update) == [Fate.STORED, Fate.KNOWN]


async def test_what_is_delivered_again_is_no_flood_of_whoever_sent_it_once(classroom: Classroom) -> None:
    gate, first, next_one = FloodGate(), command("quiz"), command("quiz")
    assert await accept(classroom, gate, first, *[first] * 100) == [Fate.STORED, *[Fate.KNOWN] * 100]
    assert await accept(classroom, gate, next_one) == [Fate.STORED]


async def test_without_a_gate_everything_is_stored(classroom: Classroom) -> None:
    learner_id = LearnerId(some_id())
    for number in range(2 * BURST):
        update = Incoming(some_id(), learner_id, UpdateKind.TEXT, "", number)
        assert (await accept_update(classroom.repository, BOT_ID, update)).is_new
