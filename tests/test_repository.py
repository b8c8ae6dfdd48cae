"""The repository against a real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from domain.catalog import QuestionSource, QuizKind
from domain.errors import StartupError
from domain.ids import LearnerId
from domain.models import NewQuiz
from domain.settings import Settings
from repository import Repository
from storage.database import Database
from tests.support.classroom import Classroom
from tests.support.factories import BOT_ID, some_id
from tests.support.pooler import Route, connect, is_pooled

pytestmark = pytest.mark.pooler


def settings_of(url: str, replica_url: str) -> Settings:
    """Return settings that lead to a database and its replica."""
    return Settings(
        _env_file=None,
        database_url=SecretStr(url),
        database_pooler=is_pooled(url),
        database_replica_url=SecretStr(replica_url),
    )


async def test_a_learner_is_registered_once(repository: Repository) -> None:
    learner_id = LearnerId(some_id())
    first, is_new = await repository.add_learner(learner_id, BOT_ID, Settings(_env_file=None))
    again, is_new_again = await repository.add_learner(learner_id, BOT_ID, Settings(_env_file=None))
    assert is_new
    assert not is_new_again
    assert first == again


async def test_questions_repeat_only_when_all_of_the_level_and_topics_were_seen(repository: Repository) -> None:
    settings = Settings(_env_file=None, preferred_topics="streaming,observability")
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
    seen = []
    for _ in range(6):
        question = (await repository.pick_questions([learner], set(QuestionSource)))[learner.id]
        seen.append(question.key)
        made = await repository.create_quizzes(
            QuizKind.ON_DEMAND, [NewQuiz(learner.id, question.id, range(4))], timedelta(hours=1)
        )
        await repository.begin_sending([made[learner.id]])
        await repository.mark_send_failed(made[learner.id], "test", for_good=True)
    assert len(set(seen)) == 6
    assert (await repository.pick_questions([learner], set(QuestionSource)))[learner.id].key in seen


async def test_behind_a_transaction_pooler_no_statement_is_prepared(database_url: str) -> None:
    settings = Settings(_env_file=None, database_url=SecretStr(database_url), database_pooler=True)
    repository = await Repository.open(settings)
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
    assert await repository.pick_questions([learner], set(QuestionSource))
    prepared = await repository.database._pool.fetchval("SELECT count(*) FROM pg_prepared_statements")  # noqa: SLF001
    assert prepared == 0
    await repository.close()


async def test_statistics_are_read_from_the_replica(
    database_url: str, postgres_url: Callable[[str], str], route: Route
) -> None:
    replica_url = route(postgres_url("a_replica"))
    replica = await connect(replica_url)
    await replica.prepare_schema()
    settings = settings_of(database_url, replica_url)
    repository = await Repository.open(settings)
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
    assert await repository.export_learner(learner.id) is None  # nothing replicates in this test
    assert (await repository.get_progress(learner, datetime.now(UTC))).answers == ()
    await repository.close()
    await replica.close()


async def test_learners_are_due_at_their_own_hour_and_the_next_day_again(repository: Repository) -> None:
    settings = Settings(_env_file=None, quiz_schedule_time="10:00", quiz_timezone="Asia/Kolkata")
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, settings)
    due = await repository.database._pool.fetchval(  # noqa: SLF001
        "SELECT next_daily_at AT TIME ZONE 'Asia/Kolkata' FROM learners WHERE id = $1", learner.id
    )
    assert due.time() == time(10)
    before, after = due.replace(tzinfo=ZoneInfo("Asia/Kolkata")) - timedelta(seconds=1), due + timedelta(seconds=1)
    assert await repository.find_due_learners(before, [learner.id], None) == []
    now_due = after.replace(tzinfo=ZoneInfo("Asia/Kolkata"))
    assert await repository.find_due_learners(now_due, [learner.id], None) == [learner.id]


DST = [
    # zone, hour, a moment before, the next moment at that hour: skipped and repeated hours in spring and autumn
    ("Europe/Berlin", time(2, 30), "2026-03-29T00:00Z", "2026-03-29T01:30Z"),
    ("Europe/Berlin", time(10), "2026-03-28T10:00Z", "2026-03-29T08:00Z"),
    ("Europe/Berlin", time(10), "2026-10-24T09:00Z", "2026-10-25T09:00Z"),
    ("America/New_York", time(1, 30), "2026-11-01T04:00Z", "2026-11-01T06:30Z"),
    ("Pacific/Apia", time(10), "2026-06-01T22:00Z", "2026-06-02T21:00Z"),
]


@pytest.mark.parametrize(("zone", "hour", "after", "expected"), DST)
async def test_the_next_local_time_holds_over_daylight_saving(
    repository: Repository, zone: str, hour: time, after: str, expected: str
) -> None:
    query = "SELECT next_local_time($1, $2, $3)"
    found = await repository.database._pool.fetchval(query, zone, hour, datetime.fromisoformat(after))  # noqa: SLF001
    assert found == datetime.fromisoformat(expected)


async def test_a_database_that_is_not_there_is_named_in_one_line(postgres_url: Callable[[str], str]) -> None:
    url = postgres_url("postgres").replace("/postgres?", "/nowhere?")
    assert "nowhere" in url
    with pytest.raises(StartupError, match='refuses DATABASE_URL: database "nowhere" does not exist'):
        await Database.connect(url)


async def test_statistics_that_a_replica_does_not_have_yet_are_read_from_the_primary(
    database_url: str, postgres_url: Callable[[str], str], route: Route
) -> None:
    replica_url = route(postgres_url("a_lagging_replica"))
    replica = await connect(replica_url)
    await replica.prepare_schema()
    settings = settings_of(database_url, replica_url)
    repository = await Repository.open(settings)
    classroom = Classroom(repository, settings)
    learner = await classroom.join()
    await classroom.answer(learner, right=True)
    history = await repository.get_progress(await classroom.state_of(learner), datetime.now(UTC))
    assert [answer.correct for answer in history.answers] == [True]
    assert sum(score.answered for score in history.topics) == 1
    await repository.close()
    await replica.close()
