"""Time zones in the database: those to choose from are known to it, and one that is not stops nobody's quiz."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import available_timezones

import asyncpg
import pytest

from bot import zones
from domain.callbacks import ChooseOffset
from domain.catalog import QuizKind
from domain.ids import LearnerId
from domain.models import Outcome
from domain.settings import Settings
from domain.time_zones import ZONES
from quizzes.cohorts import find_due_learners
from quizzes.delivery import serve_quizzes
from repository import Repository
from tests.integration.test_cli import run
from tests.support.factories import BOT_ID, TOKEN, some_id
from tests.support.pooler import environment_of
from tests.support.service import Service, is_question, rows
from tests.unit.test_zones import SUMMER, WINTER

LOST = "Mars/Olympus"
LIKE_DEBIAN = """
    CREATE OR REPLACE FUNCTION known_zone(zone text) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT CASE WHEN zone LIKE 'US/%' THEN 'UTC' ELSE zone END
    $$
"""
"""The server of the tests has the old names, which a Debian without tzdata-legacy lacks."""


async def move(repository: Repository, learner_id: int, zone: str) -> None:
    """Put a learner into a time zone that the database may not know, as another server may have done."""
    await repository.database._pool.execute(  # noqa: SLF001 - no statement of the service does so
        "UPDATE learners SET timezone = $2 WHERE id = $1", learner_id, zone
    )


async def test_the_database_knows_each_zone_that_python_knows_or_takes_it_for_utc(repository: Repository) -> None:
    names = sorted(available_timezones() | {LOST, "", "' OR 1", "../etc"})
    rows_ = await repository.database._pool.fetch(  # noqa: SLF001
        "SELECT zone, known_zone(zone) AS known, next_local_time(zone, '10:00', now()) IS NOT NULL AS served "
        "FROM unnest($1::text[]) AS zone",
        names,
    )
    assert all(row["served"] and row["known"] in {row["zone"], "UTC"} for row in rows_)
    assert {row["zone"]: row["known"] for row in rows_}[LOST] == "UTC"
    assert {row["zone"]: row["known"] for row in rows_}["Europe/Berlin"] == "Europe/Berlin"


async def test_a_zone_that_the_database_does_not_know_is_stored_for_nobody(
    repository: Repository, settings: Settings
) -> None:
    elsewhere = settings.model_copy(update={"quiz_timezone": LOST})
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, elsewhere)
    assert learner.timezone == "UTC"
    assert (await repository.set_timezone(learner.id, "Asia/Tokyo")).timezone == "Asia/Tokyo"
    assert (await repository.set_timezone(learner.id, LOST)).timezone == "UTC"


async def test_a_learner_in_a_lost_zone_is_served_by_the_clock_of_utc(service: Service) -> None:
    learner = await service.new_learner()
    repository = service.runtime.repository
    await move(repository, learner.id, LOST)
    question = await learner.get_question()
    await learner.answer(question, 0)
    await learner.ask("/stats", "of 1")
    await learner.ask("/settings", "Settings")
    await learner.ask("/stop", "")
    await learner.ask("/resume", "")
    await learner.ask("/start", "")
    stored = (await repository.get_user_states([LearnerId(learner.id)]))[LearnerId(learner.id)]
    assert stored.local_day(datetime(2026, 1, 1, 12, tzinfo=UTC)).isoformat() == "2026-01-01"


async def test_it_stops_nobody_elses_daily_quiz(service: Service) -> None:
    lost, other = [await service.new_learner() for _ in range(2)]
    repository, context = service.runtime.repository, service.runtime.context
    moment = datetime.now(UTC) - timedelta(minutes=1)
    for learner in (lost, other):
        await repository.set_daily_at(LearnerId(learner.id), time(moment.hour, moment.minute))
        await repository.database._pool.execute(  # noqa: SLF001 - time cannot be sped up
            "UPDATE learners SET next_daily_at = $2 WHERE id = $1", learner.id, moment
        )
    await move(repository, lost.id, LOST)
    due = await find_due_learners(context, datetime.now(UTC), [LearnerId(lost.id), LearnerId(other.id)])
    assert set(due) == {lost.id, other.id}
    assert {one.outcome for one in await serve_quizzes(context, due, QuizKind.DAILY)} == {Outcome.SENT}
    assert await find_due_learners(context, datetime.now(UTC) + timedelta(hours=1), due) == []
    for learner in (lost, other):
        await learner.wait_for(is_question)


async def test_a_zone_of_the_settings_that_the_database_does_not_know_is_told_at_the_start(
    database_url: str, bank_folder: Path
) -> None:
    connection = await asyncpg.connect(database_url, statement_cache_size=0)
    try:
        await connection.execute(LIKE_DEBIAN)
    finally:
        await connection.close()
    known = {"TELEGRAM_BOT_TOKEN": TOKEN, "QUESTION_BANK_DIR": str(bank_folder), "REDIS_URL": "redis://127.0.0.1:1"}
    known |= {"PREFECT_API_URL": "http://127.0.0.1:1/api", "WORKER_METRICS_PORT": "0"} | environment_of(database_url)
    for role in ("init", "worker", "bot", "prefect"):
        status, output, errors = await run(role, **known, QUIZ_TIMEZONE="US/Eastern")
        assert (status, output) == (1, "")
        assert "QUIZ_TIMEZONE: the database does not know US/Eastern; use the present name" in errors.splitlines()[-1]
        assert "Traceback" not in errors


async def test_a_zone_that_the_database_does_not_know_is_offered_to_nobody(service: Service) -> None:
    await service.runtime.repository.database._pool.execute(LIKE_DEBIAN.replace("US/%", "Europe/Kyiv"))  # noqa: SLF001
    learner = await service.new_learner()
    page = await learner.ask("/settings", "Settings")
    await learner.forge(page, ChooseOffset(zones.offset_minutes("Europe/Kyiv", datetime.now(UTC))).pack())
    offered = await learner.wait_for(lambda message: "nearest to you" in message.get("text", ""))
    labels = {button["text"] for row in rows(offered) for button in row}
    assert "Helsinki" in labels
    assert "Kyiv" not in labels


@pytest.mark.parametrize("moment", [SUMMER, WINTER], ids=["summer", "winter"])
async def test_postgres_knows_every_zone_and_its_clock(shared_database_url: str, moment: datetime) -> None:
    connection = await asyncpg.connect(shared_database_url)
    query = """
        SELECT z, extract(epoch FROM ($2 AT TIME ZONE z) - ($2 AT TIME ZONE 'UTC'))::int / 60
        FROM unnest($1::text[]) AS z
    """
    try:
        found = await connection.fetch(query, list(ZONES), moment)
    finally:
        await connection.close()
    assert {row[0]: row[1] for row in found} == {zone: zones.offset_minutes(zone, moment) for zone in ZONES}
