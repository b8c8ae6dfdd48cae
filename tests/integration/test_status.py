"""`python main.py status` and `doctor`, as operators run them, on real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from prefect import flow, get_client
from prefect.states import Scheduled
from pydantic import SecretStr

from domain.ids import BackupId, BotId
from domain.service_state import (
    Backup,
    BackupState,
    BackupSummary,
    DistributionCounts,
    DistributionState,
    Role,
    ServiceState,
)
from domain.settings import Settings
from domain.version import VERSION
from repository import Repository
from roles.status.facts import RedisFacts, Rows, Status, gather_status, judge, judge_backups
from roles.status.prefect_facts import FLOW, PrefectFacts
from roles.status.screen import describe_backups
from storage.service_store import DatabaseFacts
from tests.integration.test_cli import run
from tests.support.factories import BOT_ID, TOKEN, some_id
from tests.support.pooler import environment_of
from tests.support.waiting import WAIT_SECONDS

NOWHERE = "127.0.0.1:1"
PASSWORD = "pw-nobody-may-read"


@flow(name=FLOW)
def distribution() -> None:
    """Stand for the flow whose next run is looked for."""


async def schedule_distribution(prefect_url: str) -> None:
    """Let Prefect know of a run of the distribution in an hour."""
    async with httpx.AsyncClient(base_url=prefect_url, timeout=WAIT_SECONDS) as server:
        (await server.get("/version")).raise_for_status()
    async with get_client() as client:
        assert str(client.api_url).rstrip("/") == prefect_url.rstrip("/")
        await client.create_flow_run(
            distribution, state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
        )


@pytest.fixture
def environment(database_url: str, valkey_url: str, telegram_url: str, prefect_url: str) -> dict[str, str]:
    """Return the settings of a service all of whose servers are there."""
    return {
        **environment_of(database_url),
        "REDIS_URL": valkey_url,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_API_BASE_URL": telegram_url,
        "PREFECT_API_URL": prefect_url,
    }


async def make_alive(repository: Repository, *roles: Role) -> None:
    for role in roles:
        await repository.record_heartbeat(f"{role}:here:1", role, VERSION)


# ---------------------------------------------------------------- status


@pytest.mark.prefect
async def test_status_is_one_screen_and_0_when_nothing_is_wrong(
    environment: dict[str, str], repository: Repository, prefect_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_url)
    await schedule_distribution(prefect_url)
    number = await repository.begin_distribution(3)
    await repository.end_distribution(number, DistributionState.COMPLETED, DistributionCounts(sent=2, unreachable=1))
    await make_alive(repository, *Role)
    status, output, errors = await run("status", **environment)
    assert (status, errors) == (0, ""), output
    for told in (
        f"1 alive ({VERSION})",
        "0 updates waiting",
        "0 not sent",
        "1 distribution: 3 due, 2 sent",
        "completed in 0 s: 3 due, 2 sent, 1 unreachable",
        f"{BOT_ID} accepted",
        "next distribution 20",
        "none; OPENAI_API_KEY is not set",
        "none is scheduled; BACKUP_DIR is not set",
        "✓ nothing is wrong",
    ):
        assert told in output
    assert TOKEN not in output


@pytest.mark.prefect
async def test_status_says_what_is_wrong_and_what_to_do(
    environment: dict[str, str], repository: Repository, valkey_url: str
) -> None:
    await make_alive(repository, Role.BOT)
    number = await repository.begin_distribution(3)
    await repository.end_distribution(
        number, DistributionState.FAILED, DistributionCounts(failed=3), f"http://quiz:{PASSWORD}@x answers 500"
    )
    status, output, _ = await run("status", **environment)
    assert status == 1
    for told in (
        "✗ no worker has sent a heartbeat lately",
        "→ start `python main.py worker`, and look at its log",
        "✗ no Prefect worker has sent a heartbeat lately: no daily quiz goes out",
        "✗ the latest distribution failed: http://quiz:",
        "missing, not seen for a day",
    ):
        assert told in output
    assert PASSWORD not in output


@pytest.mark.prefect
async def test_status_as_json_says_the_same_to_programs(environment: dict[str, str], repository: Repository) -> None:
    await make_alive(repository, Role.WORKER)
    status, output, _ = await run("status", "--json", **environment)
    document = json.loads(output)
    assert (status, document["exit_status"], document["version"]) == (1, 1, VERSION)
    assert [beat["role"] for beat in document["rows"]["state"]["heartbeats"]] == ["worker"]
    assert document["redis"]["refusals"] == {str(BOT_ID): None}
    assert any("no bot has sent a heartbeat" in problem["what"] for problem in document["problems"])
    assert TOKEN not in output


@pytest.mark.prefect
async def test_each_server_that_is_away_is_one_line(environment: dict[str, str], repository: Repository) -> None:
    await make_alive(repository, *Role)
    away = {
        "REDIS_URL": f"redis://:{PASSWORD}@{NOWHERE}/0",
        "PREFECT_API_URL": f"http://{NOWHERE}/api",
        "DATABASE_URL": f"postgresql://quiz:{PASSWORD}@{NOWHERE}/quiz",
    }
    lines = {
        "REDIS_URL": "✗ Redis: it does not answer (ConnectionError)",
        "PREFECT_API_URL": "✗ Prefect: it does not answer (ConnectError)",
        "DATABASE_URL": "✗ Postgres: The database cannot be reached",
    }
    for name, address in away.items():
        status, output, errors = await run("status", **environment | {name: address})
        assert (status, errors) == (2 if name == "DATABASE_URL" else 1, ""), output
        assert sum(line.startswith(lines[name]) for line in output.splitlines()) == 1
        assert PASSWORD not in output
    status, output, _ = await run("status", **environment | away)
    assert status == 2
    assert [line for line in output.splitlines() if line.startswith("✗")] == [
        line for line in output.splitlines() if line.startswith(tuple(lines.values()))
    ]


@pytest.mark.prefect
async def test_a_database_that_takes_no_rows_is_told(environment: dict[str, str], repository: Repository) -> None:
    await make_alive(repository, *Role)
    assert await repository.find_write_refusal() is None
    pool = repository.database._pool  # noqa: SLF001 - what no query of the service does
    assert await pool.fetchval("SELECT count(*) FROM updates") == 0
    await pool.execute(
        "CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
    )
    await pool.execute("CREATE TRIGGER disk_full BEFORE INSERT ON updates EXECUTE FUNCTION disk_full()")
    for command, told in (
        ("status", "✗ Postgres takes no rows: DiskFullError: No space left on device"),
        ("doctor", "✗ Postgres: takes no rows: DiskFullError: No space left on device; make room on its disk"),
    ):
        status, output, errors = await run(command, **environment)
        assert (status, told in output, errors) == (1, True, ""), output


async def test_without_settings_status_cannot_tell() -> None:
    status, _, errors = await run("status", QUIZ_TIMEZONE="Mars/Olympus")
    assert (status, "QUIZ_TIMEZONE" in errors) == (2, True)
    status, output, errors = await run("status")
    assert (status, "DATABASE_URL is not set" in output, errors) == (2, True, "")


async def test_a_database_of_an_older_release_is_told_to_be_brought_up_to_date(
    settings: Settings, postgres_url: Callable[[str], str]
) -> None:
    url = postgres_url(f"older_{some_id()}")
    settings = settings.model_copy(update={"database_url": SecretStr(url), "database_pooler": False})
    status = await gather_status(settings)
    assert status.exit_status == 2
    assert any("the schema lacks schema.sql; run `python main.py init`" in one.what for one in status.problems)


def rows_with(state: ServiceState) -> Rows:
    facts = DatabaseFacts("18", 1, 1, 100, "quiz", is_superuser=False, may_create=True, at=datetime.now(UTC))
    return Rows(facts, state, 144, None)


async def test_what_the_answers_mean(repository: Repository) -> None:
    await make_alive(repository, *Role)
    await repository.database._pool.execute(  # noqa: SLF001 - an update that nobody handles
        "INSERT INTO updates (bot_id, update_id, kind, received_at) VALUES (1, 1, 'text', now() - interval '5 minutes')"
    )
    state = await repository.get_service_state([BOT_ID])
    status = Status(
        rows=rows_with(state),
        redis=RedisFacts("9", {BotId(7): "Un\x1b[1mauthorized\nhere"}),
        prefect=PrefectFacts("3", None),
    )
    told = [problem.what for problem in judge(status, Settings(_env_file=None))]
    assert told == [
        "Telegram refuses bot 7 (Un [1mauthorized here)",
        "no run of distribute_daily_quizzes is scheduled",
        "1 update waits, the oldest for 5 min",
    ]


async def test_backups_are_judged_by_the_age_of_the_last_verified_one() -> None:
    at = datetime(2026, 11, 30, 3, 27, tzinfo=UTC)
    verified = Backup(
        id=BackupId(1),
        state=BackupState.VERIFIED,
        reason=None,
        file="quiz-1.dump",
        size_bytes=12_300_000,
        differences=0,
        begun_at=at,
        ended_at=at + timedelta(seconds=8),
    )
    failed = replace(verified, id=BackupId(2), state=BackupState.FAILED, reason="No space left")
    backups = BackupSummary(49 * 3600.0, failed, verified)
    scheduled = Settings(_env_file=None, backup_dir=Path("/backups"))
    [problem] = judge_backups(backups, scheduled)
    assert problem.what == "there has been no verified backup for 2 d 1 h; the last one failed: No space left"
    assert judge_backups(BackupSummary(47 * 3600.0), scheduled) == []
    assert judge_backups(backups, Settings(_env_file=None)) == []  # none is scheduled
    assert describe_backups(backups, scheduled) == (
        "2026-11-30 03:27 UTC verified in 8 s: 12.3 MB; 2026-11-30 03:27 UTC failed: No space left"
    )
    assert describe_backups(BackupSummary(0), scheduled) == "none was verified yet"
    assert describe_backups(BackupSummary(0), Settings(_env_file=None)) == "none is scheduled; BACKUP_DIR is not set"


# ---------------------------------------------------------------- doctor


@pytest.mark.prefect
async def test_a_doctor_finds_nothing_in_the_way_of_a_good_start(environment: dict[str, str]) -> None:
    status, output, errors = await run("doctor", **environment)
    assert (status, errors) == (0, ""), output
    for told in (
        "✓ settings: valid; updates come by polling",
        "✓ Postgres: ",
        "✓ schema: up to date",
        "✓ clock: agrees with that of Postgres",
        "✓ clock: agrees with that of Redis",
        "✓ clock: agrees with that of Telegram",
        f"✓ bot {BOT_ID}: @",
        "✓ disk: ",
        "nothing is in the way",
    ):
        assert told in output
    assert TOKEN not in output


@pytest.mark.prefect
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"DATABASE_URL": f"postgresql://quiz:{PASSWORD}@{NOWHERE}/quiz"},
            "✗ Postgres: The database cannot be reached",
        ),
        ({"REDIS_URL": f"redis://:{PASSWORD}@{NOWHERE}/0"}, "✗ Redis: ConnectionError"),
        (
            {"PREFECT_API_URL": f"http://{NOWHERE}/api"},
            "✗ Prefect: it does not answer (ConnectError); start the server",
        ),
        ({"TELEGRAM_API_BASE_URL": f"http://{NOWHERE}"}, f"✗ bot {BOT_ID}: "),
        ({"TELEGRAM_MODE": "webhook"}, "✗ settings: TELEGRAM_MODE is webhook; set WEBHOOK_URL"),
        ({"DATA_DIR": "x" * 300}, "✗ disk: "),
        ({"REDIS_URL": ""}, "✗ settings: REDIS_URL not set; set them"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_doctor_names_what_is_in_the_way(
    environment: dict[str, str], changed: dict[str, str], told: str
) -> None:
    status, output, errors = await run("doctor", **environment | changed)
    assert (status, errors) == (1, ""), output
    [line] = [line for line in output.splitlines() if line.startswith(told)]
    assert "; " in line
    assert PASSWORD not in output
    assert output.splitlines()[-1] == "1 to be done"


@pytest.mark.prefect
async def test_a_doctor_tells_of_a_refused_token(environment: dict[str, str], telegram_url: str) -> None:
    async with httpx.AsyncClient(base_url=telegram_url) as telegram:
        fault = {"kind": "401", "method": "getMe", "count": 1}
        (await telegram.post("/api/faults", json=fault)).raise_for_status()
    status, output, _ = await run("doctor", **environment)
    assert (status, f"✗ bot {BOT_ID}: Telegram refuses the token; copy the present token" in output) == (1, True)
    assert TOKEN not in output


@pytest.mark.prefect
async def test_a_doctor_compares_the_webhook_with_the_settings(environment: dict[str, str]) -> None:
    hooked = environment | {"WEBHOOK_URL": "https://quiz.example.org"}
    assert "! bot" in (await run("doctor", **hooked))[1]  # it is set after the first start
    assert (await run("webhook", "set", **hooked))[0] == 0
    status, output, _ = await run("doctor", **hooked)
    assert (status, "whose webhook is set; updates that wait: 0" in output) == (0, True)
    status, output, _ = await run("doctor", **environment | {"WEBHOOK_URL": "https://elsewhere.example.org"})
    assert (status, "another webhook is set; run `python main.py webhook set`" in output) == (1, True)
    status, output, _ = await run("doctor", **environment)
    assert (status, "has a webhook, and Telegram lets only a bot without one poll" in output) == (1, True)


@pytest.mark.prefect
async def test_a_doctor_knows_a_role_that_may_not_make_the_schema(
    environment: dict[str, str], postgres_url: Callable[[str], str]
) -> None:
    owner = postgres_url(f"guarded_{some_id()}")
    connection, role = await asyncpg.connect(owner), f"guest_{some_id()}"
    await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    try:
        place = owner.partition("@")[2]
        guest = {"DATABASE_URL": f"postgresql://{role}:{PASSWORD}@{place}", "DATABASE_POOLER": "false"}
        status, output, _ = await run("doctor", **environment | guest)
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()
    assert (status, f'GRANT USAGE, CREATE ON SCHEMA public TO "{role}"' in output) == (1, True), output
    assert PASSWORD not in output


@pytest.mark.parametrize(("offset", "told"), [(60.0, "ahead of"), (-60.0, "behind")])
async def test_a_doctor_notices_a_clock_that_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], offset: float, told: str
) -> None:
    import time

    from roles.status.doctor import run_doctor

    right = time.time
    monkeypatch.setattr("roles.status.doctor.time.time", lambda: right() + offset)
    assert await run_doctor(settings) == 1
    assert f"s {told} that of Redis; set both by NTP" in capsys.readouterr().out.replace("\n", " ")
