"""The replay of what is stored: silent about what the service did, and a line for whatever is tampered with."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from dev.chaos.distribution import check_distribution
from difficulty_adapter import DEFAULT_RULES
from domain.callbacks import AnswerTap
from domain.catalog import UNKNOWN_CHOICE, QuizKind
from domain.models import Learner, Quiz
from domain.settings import Settings
from domain.updates import Incoming, Tap, UpdateKind
from main import main
from repository import Repository
from roles.replay.checks import replay
from roles.replay.command import read_records, read_through
from tests.conftest import run_psql
from tests.support.classroom import Classroom, button_of
from tests.support.factories import BOT_ID
from tests.support.pooler import Route, connect

ANSWERS = 25
START = datetime.now(UTC) - timedelta(days=ANSWERS)


async def tap_as_the_worker_does(
    classroom: Classroom, quiz: Quiz, update_id: int, at: datetime, *, right: bool | None
) -> None:
    """Store a tap's update, take its answer, grade it and finish the update.

    Args:
        right: whether they tap the right option; None if they do not know.
    """
    place = UNKNOWN_CHOICE if right is None else button_of(quiz, right=right)
    button = AnswerTap(quiz.id, place)
    incoming = Incoming(update_id, quiz.learner_id, UpdateKind.TAP, button.pack(), quiz.message_id, callback=button)
    await classroom.repository.store_update(BOT_ID, incoming)
    pool = classroom.repository.database._pool  # noqa: SLF001
    row = await pool.fetchval("UPDATE updates SET received_at = $2 WHERE update_id = $1 RETURNING id", update_id, at)
    tap = Tap(quiz.id, quiz.learner_id, place, at, quiz.message_id, quiz.bot_id)
    if await classroom.repository.record_taps([tap]):
        await classroom.grade(quiz)
    await classroom.repository.finish_updates([row])


async def live(classroom: Classroom, learner: Learner, seed: int) -> None:
    """Let a learner answer on many days, miss some, not know others, and tap twice now and then."""
    rng = random.Random(seed)
    at = START
    for number in range(ANSWERS):
        at += timedelta(days=rng.choice([0, 0, 1, 1, 1, 2]), minutes=rng.randrange(60))
        quiz = await classroom.ask(learner)
        first = seed * 10_000 + number * 10
        await tap_as_the_worker_does(classroom, quiz, first, at, right=rng.choice([True] * 5 + [False] * 3 + [None]))
        if rng.random() < 0.3:
            await tap_as_the_worker_does(classroom, quiz, first + 1, at + timedelta(seconds=1), right=True)


@pytest.fixture(scope="module")
async def lived_url(postgres_url: Callable[[str], str], template_database: str, route: Route) -> str:
    """Return the URL of a database where learners have answered and all is done."""
    admin = await asyncpg.connect(postgres_url("postgres"))
    await admin.execute(f'CREATE DATABASE "lived" TEMPLATE "{template_database}"')
    await admin.close()
    url = postgres_url("lived")
    repository = Repository(await connect(route(url)))
    await repository.database._pool.execute("UPDATE questions SET updated_at = $1", START)  # noqa: SLF001
    classroom = Classroom(repository, Settings(_env_file=None))
    for seed, zone in enumerate(("UTC", "Pacific/Auckland", "America/Los_Angeles"), start=1):
        await live(classroom, await classroom.join(quiz_timezone=zone, placement_answers=6 * (seed % 2)), seed)
    await repository.close()
    return url


async def test_there_is_nothing_to_say_of_what_the_service_did(lived_url: str) -> None:
    records = await read_records(lived_url)
    assert len(records.answers) == 3 * ANSWERS
    assert any(answer.grade.after.level != answer.grade.before.level for answer in records.answers.values())
    assert replay(records, DEFAULT_RULES) == []


NEARER = "UPDATE learners SET level_progress = level_progress + $STEP WHERE id = (SELECT min(id) FROM learners)"
ONE = "quiz_id = (SELECT max(quiz_id) - 10 FROM answers)"
TAMPERED = {
    "counted twice": ("UPDATE learners SET version = version + 1", "was graded 26 times and has 25 grades"),
    "points": ("UPDATE learners SET level_progress = level_progress + 1", "the last grade ended at"),
    "best streak": ("UPDATE learners SET best_streak = best_streak + 1", "which no grade reached"),
    "ability of the learner": ("UPDATE learners SET ability = ability + 0.001", "has another ability"),
    "last day": ("UPDATE learners SET last_answer_day = last_answer_day + 2", "by their grades not"),
    "last moment": ("UPDATE learners SET last_answer_at = last_answer_at + interval '1 s'", "answered last at"),
    "a grade's level": ("UPDATE answers SET level_after = level_after % 4 + 1 WHERE $ONE", "a replay "),
    "a grade's run": ("UPDATE answers SET run_after = run_after + 1 WHERE $ONE", "a replay "),
    "a grade's streak": (
        "UPDATE answers SET streak_after = streak_after + 3 WHERE $ONE",
        "which a replay does not find",
    ),
    "a grade's start": ("UPDATE answers SET points_before = points_before - 1 WHERE $ONE", "was graded from points"),
    "a grade's ability": ("UPDATE answers SET ability_after = ability_after + 0.1 WHERE $ONE", "a replay "),
    "a grade's facts": ("UPDATE answers SET ability_before = NULL WHERE $ONE", "with a part of its facts"),
    "not rated": ("UPDATE answers SET rated = NOT rated WHERE $ONE", "the ratings, "),
    "right or wrong": ("UPDATE answers SET correct = NOT correct WHERE $ONE", "was graded as "),
    "the answer": ("UPDATE answers SET chosen = (chosen + 1) % 4 WHERE $ONE", "another answer than it holds"),
    "no grade": ("DELETE FROM answers WHERE $ONE", "is graded and has no grade"),
    "a grade too early": (
        "UPDATE quizzes z SET state = 'answered' FROM answers WHERE z.id = quiz_id AND $ONE",
        "has a grade and is answered",
    ),
    "not told": ("UPDATE quizzes SET feedback_at = NULL", "its feedback was not sent"),
    "an update that waits": (
        "UPDATE updates SET state = 'claimed' WHERE update_id = 10000",
        "update 424242/10000 is still claimed",
    ),
    "an update given up": ("UPDATE updates SET state = 'failed' WHERE update_id = 10000", "without a reason"),
    "a tap that is gone": ("DELETE FROM updates WHERE update_id = 10010", "that no tap gave"),
    "a tap that came first": (
        (
            "UPDATE updates v SET update_id = u.update_id - 1, received_at = u.received_at - interval '1 s' "
            "FROM updates u WHERE v.update_id = u.update_id + 1"
        ),
        "came first",
    ),
    "a tap without effect": (
        "UPDATE quizzes z SET state = 'sent', chosen = NULL FROM answers WHERE z.id = quiz_id AND $ONE",
        "which is sent",
    ),
    "a rating": ("UPDATE item_ratings SET difficulty = difficulty + 0.01", "do not add up to"),
    "a rating that was forgotten": ("UPDATE item_ratings SET answers = answers - 1", "was rated by"),
    "a review": ("UPDATE reviews SET due_at = due_at + interval '1 day'", "is to review"),
    "a review that was forgotten": ("DELETE FROM reviews", "a replay says otherwise"),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_whatever_is_tampered_with_is_told(name: str, lived_url: str) -> None:
    statement, expected = TAMPERED[name]
    connection = await asyncpg.connect(lived_url)
    tampering = connection.transaction()
    await tampering.start()
    assert not (await connection.execute(statement.replace("$ONE", ONE))).endswith(" 0")
    lines = replay(await read_through(connection), DEFAULT_RULES)
    await tampering.rollback()
    await connection.close()
    assert any(expected in line for line in lines), lines


@pytest.mark.parametrize("which", [ONE, "quiz_id IN (SELECT max(quiz_id) FROM answers GROUP BY learner_id)"])
async def test_points_of_an_earlier_release_are_another_chain(which: str, lived_url: str) -> None:
    connection = await asyncpg.connect(lived_url)
    tampering = connection.transaction()
    await tampering.start()
    await connection.execute(f"UPDATE answers SET level_rules = 1, points_before = -6, points_after = -5 WHERE {which}")  # noqa: S608
    lines = replay(await read_through(connection), DEFAULT_RULES)
    await tampering.rollback()
    await connection.close()
    assert lines == []


async def test_everybody_due_has_exactly_one_daily_quiz(repository: Repository, database_url: str) -> None:
    classroom = Classroom(repository, Settings(_env_file=None))
    served, forgotten = await classroom.join(), await classroom.join()
    await classroom.ask(served, QuizKind.DAILY)
    lines = list(check_distribution(await read_records(database_url), [served.id, forgotten.id]))
    assert lines == [f"learner {forgotten.id} was due and has 0 daily quizzes"]


async def test_a_busy_service_is_not_blamed_for_what_is_under_way(repository: Repository, database_url: str) -> None:
    classroom = Classroom(repository, Settings(_env_file=None))
    quiz = await classroom.ask(await classroom.join())
    await classroom.tap(quiz, right=True)
    records = await read_records(database_url)
    assert replay(records, DEFAULT_RULES) == [f"quiz {quiz.id} is answered and not graded"]
    assert replay(records, DEFAULT_RULES, settled=False) == []


def test_the_command_prints_a_line_each_and_fails(lived_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor() as pool:  # the session's own event loop is running
        assert pool.submit(main, ["replay", lived_url]).result() == 0
        assert capsys.readouterr().out.endswith("updates: nothing to report\n")
        run_psql(lived_url, NEARER.replace("$STEP", "1"))
        status = pool.submit(main, ["replay", lived_url]).result()
    run_psql(lived_url, NEARER.replace("$STEP", "-1"))
    assert status == 1
    first, last = capsys.readouterr().out.splitlines()
    assert "the last grade ended at" in first
    assert last.endswith("1 to report")
