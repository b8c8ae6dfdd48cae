"""The state of the service, read from its rows, and the gauges that Prometheus reads from them."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from wsgiref.simple_server import WSGIServer

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import main
from domain.catalog import QuizKind
from domain.errors import LearnerUnreachableError, StartupError, StorageUnavailableError, TelegramError
from domain.ids import BotId, LearnerId, QuizId
from domain.models import NewQuiz, SentQuestion
from domain.service_state import (
    ALL_BOTS,
    BackupState,
    DistributionCounts,
    DistributionState,
    DistributionSum,
    Role,
    ServiceState,
)
from domain.settings import Settings
from domain.version import VERSION
from local import servers
from observability import service_metrics
from observability.service_metrics import ServiceMetrics
from question_sources.stored import BANK
from repository import Repository
from roles.pages import serving_pages
from roles.readiness import describe_problems, format_age, wrong_role
from tests.support.factories import BOT_ID, some_id
from tests.support.waiting import WAIT_SECONDS
from wiring import open_connections

OTHER_BOT = BotId(99)
SETTINGS = Settings(_env_file=None)


async def run_sql(repository: Repository, statement: str, *arguments: object) -> None:
    await repository.database._pool.execute(statement, *arguments)  # noqa: SLF001 - moves what only time would


async def state_of(repository: Repository) -> ServiceState:
    return await repository.get_service_state([BOT_ID])


async def due_learner(repository: Repository, late: timedelta, bot_id: BotId = BOT_ID) -> LearnerId:
    """Return a new learner whose daily quiz has been due for a while."""
    learner, _ = await repository.add_learner(LearnerId(some_id()), bot_id, SETTINGS)
    await run_sql(
        repository, "UPDATE learners SET next_daily_at = now() - $2::interval WHERE id = $1", learner.id, late
    )
    return learner.id


async def make_daily(repository: Repository, learner_id: LearnerId) -> QuizId:
    """Make a learner's daily quiz and return its id."""
    learners = list((await repository.get_user_states([learner_id])).values())
    question = (await repository.pick_questions(learners, BANK))[learner_id]
    new = [NewQuiz(learner_id, question.id, (0, 1, 2, 3))]
    return (await repository.create_quizzes(QuizKind.DAILY, new, timedelta(days=1)))[learner_id]


def overdue(state: ServiceState) -> list[str]:
    """Return what is said about overdue quizzes."""
    return [problem.what for problem in describe_problems(state, SETTINGS) if "overdue" in problem.what]


# ---------------------------------------------------------------- rows


async def test_a_process_says_in_which_version_it_is_alive(repository: Repository) -> None:
    await repository.record_heartbeat("worker:a:1", Role.WORKER, VERSION)
    await run_sql(
        repository, "INSERT INTO heartbeats (name, role) VALUES ('bot:b:1', 'bot')"
    )  # as an older version does
    await run_sql(repository, "UPDATE heartbeats SET seen_at = now() - interval '1 minute' WHERE role = 'bot'")
    state = await state_of(repository)
    assert [(beat.role, beat.version, beat.is_alive) for beat in state.heartbeats] == [
        ("worker", VERSION, True),
        ("bot", None, False),
    ]
    assert state.missing_roles() == [Role.BOT, Role.PREFECT]
    await repository.record_heartbeat("bot:b:1", Role.BOT, VERSION)
    assert (await state_of(repository)).missing_roles() == [Role.PREFECT]


async def test_a_distribution_has_a_row_from_its_begin_to_its_end(repository: Repository) -> None:
    assert (await state_of(repository)).latest is None
    number = await repository.begin_distribution(7)
    state = await state_of(repository)
    assert state.latest
    assert (state.latest.state, state.latest.due, state.latest.ended_at) == (DistributionState.RUNNING, 7, None)
    assert state.latest_served is None
    counts = DistributionCounts(sent=1, skipped=1, failed=2, unreachable=1, refused=2)
    await repository.end_distribution(number, DistributionState.FAILED, counts, "Telegram answers 500")
    await repository.end_distribution(
        await repository.begin_distribution(0), DistributionState.COMPLETED, DistributionCounts()
    )
    state = await state_of(repository)
    assert state.latest
    assert state.latest_served
    assert (state.latest.due, state.latest.state) == (0, DistributionState.COMPLETED)
    assert (state.latest_served.id, state.latest_served.reason) == (number, "Telegram answers 500")
    assert state.latest_served.ended_at
    assert state.today == DistributionSum(runs=2, due=7, sent=1, skipped=1, failed=2, unreachable=1, refused=2)


async def test_a_distribution_whose_process_died_is_told_by_the_next_one(repository: Repository) -> None:
    crashed = await repository.begin_distribution(3)
    await run_sql(repository, "UPDATE distributions SET touched_at = now() - interval '2 minutes'")
    await repository.begin_distribution(0)
    served = (await state_of(repository)).latest_served
    assert served
    assert (served.id, served.state, served.state.is_bad) == (crashed, DistributionState.CRASHED, True)
    await repository.end_distribution(crashed, DistributionState.COMPLETED, DistributionCounts(sent=3))  # it had not
    served = (await state_of(repository)).latest_served
    assert served
    assert served.state is DistributionState.COMPLETED


async def test_distributions_of_long_ago_are_forgotten(repository: Repository) -> None:
    for days in (89, 91):
        await run_sql(
            repository, "INSERT INTO distributions (due, begun_at) VALUES (1, now() - $1::interval)", timedelta(days)
        )
    assert await repository.delete_old_distributions() == 1


async def test_what_is_due_and_unsent_counts_whether_it_is_made_or_not(repository: Repository) -> None:
    await due_learner(repository, timedelta(minutes=5))
    made = await due_learner(repository, timedelta(minutes=1))
    quiz_id = await make_daily(repository, made)
    await run_sql(repository, "UPDATE quizzes SET created_at = now() - interval '2 hours' WHERE id = $1", quiz_id)
    await due_learner(repository, timedelta(days=1), OTHER_BOT)  # whose bot the service has no more
    [backlog] = await repository.list_daily_backlogs([BOT_ID])
    assert (backlog.bot_id, backlog.unsent) == (BOT_ID, 2)
    assert 7200 <= backlog.oldest_seconds < 7200 + WAIT_SECONDS
    [problem] = overdue(await state_of(repository))
    assert problem.startswith(f"a daily quiz of bot {BOT_ID} is overdue: 2 due and not sent, the oldest for 2 h")
    await repository.begin_sending([quiz_id])
    await repository.mark_sent([SentQuestion(quiz_id, 1, BOT_ID)])
    [backlog] = await repository.list_daily_backlogs([BOT_ID])
    assert backlog.unsent == 1
    assert 300 <= backlog.oldest_seconds < 300 + WAIT_SECONDS
    assert overdue(await state_of(repository)) == []


async def test_nothing_grows_old_after_a_pause_where_nobody_is_due(repository: Repository) -> None:
    await repository.pause(ALL_BOTS, None, None)
    await run_sql(
        repository, "UPDATE pauses SET begun_at = now() - interval '9 hours', ends_at = now() - interval '8 hours'"
    )
    [backlog] = await repository.list_daily_backlogs([BOT_ID])
    assert (backlog.unsent, backlog.oldest_seconds) == (0, 0)
    assert overdue(await state_of(repository)) == []


async def test_who_opted_out_or_blocked_the_bot_is_no_failure(repository: Repository) -> None:
    learners = [await due_learner(repository, timedelta(minutes=1)) for _ in range(4)]
    quizzes = [await make_daily(repository, learner) for learner in learners]
    await repository.mark_send_failed(quizzes[0], str(LearnerUnreachableError("blocked")), for_good=True)
    await repository.set_blocked(learners[1], BOT_ID, blocked=True)
    await repository.set_daily_enabled(learners[2], enabled=False)
    assert (await state_of(repository)).failed_today == 0
    await repository.mark_send_failed(quizzes[3], str(TelegramError("chat not found")), for_good=True)
    assert (await state_of(repository)).failed_today == 1


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3600, "1 h"), (7500, "2 h 5 min"), (180_000, "2 d 2 h")],
)
def test_an_age_is_told_in_the_units_that_matter(seconds: float, told: str) -> None:
    assert format_age(seconds) == told


async def test_the_prefect_role_has_a_schema_before_its_first_heartbeat(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    async def prepare(*_: object) -> None:
        await asyncio.sleep(0)  # tasks that were begun before come first
        steps.append("schema")

    async def beat(*_: object) -> None:
        steps.append("heartbeat")

    async def register(_: Settings) -> None:
        await asyncio.sleep(0)
        raise StartupError("enough")

    monkeypatch.setattr("wiring.prepare_database", prepare)
    monkeypatch.setattr("wiring.send_heartbeats", beat)
    monkeypatch.setattr("flows.work_pool.register_deployments", register)
    with pytest.raises(StartupError, match="enough"):
        await main.run_prefect_worker(settings.model_copy(update={"prefect_api_url": "http://127.0.0.1:9/api"}))
    assert steps == ["schema", "heartbeat"]


# ---------------------------------------------------------------- gauges


def samples(page: bytes) -> dict[tuple[str, ...], float]:
    """Return the samples of a page by name and label values."""
    families = text_string_to_metric_families(page.decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


async def test_gauges_tell_what_the_rows_say(repository: Repository) -> None:
    await repository.record_heartbeat("worker:a:1", Role.WORKER, VERSION)
    await due_learner(repository, timedelta(minutes=5))
    counts = DistributionCounts(sent=3, failed=2)
    number = await repository.begin_distribution(5)
    await repository.end_distribution(number, DistributionState.FAILED, counts, "too many failed")
    shown = samples(await asyncio.to_thread(ServiceMetrics(lambda: state_of(repository), 3600).expose))
    assert shown["quiz_role_processes", "worker"] == 1
    assert shown["quiz_role_processes", "prefect"] == 0
    assert 0 <= shown["quiz_role_heartbeat_age_seconds", "worker", VERSION] < WAIT_SECONDS
    assert shown["quiz_updates_waiting",] == 0
    assert shown["quiz_daily_unsent", str(BOT_ID)] == 1
    assert shown["quiz_daily_oldest_seconds", str(BOT_ID)] >= 300
    assert shown["quiz_daily_overdue_after_seconds",] == 3600
    assert shown["quiz_distribution_failed",] == 1
    assert shown["quiz_distribution_learners", "failed"] == 2
    assert shown["quiz_distribution_begun_timestamp_seconds",] == pytest.approx(
        datetime.now(UTC).timestamp(), abs=WAIT_SECONDS
    )
    assert shown["quiz_updates_refused_total", "secret"] >= 0  # the process's own are on the same page


async def test_a_gauge_of_what_never_was_is_absent(repository: Repository) -> None:
    shown = samples(await asyncio.to_thread(ServiceMetrics(lambda: state_of(repository), 3600).expose))
    assert not {name for name, *_ in shown if name.startswith("quiz_distribution")}


async def test_backups_are_shown_by_the_last_verified_one_and_the_last_of_all(repository: Repository) -> None:
    async def show(overdue_seconds: float | None) -> bytes:
        return await asyncio.to_thread(ServiceMetrics(lambda: state_of(repository), 3600, overdue_seconds).expose)

    assert not {name for name, *_ in samples(await show(None)) if name.startswith("quiz_backup")}
    await run_sql(repository, "UPDATE schema_migrations SET applied_at = now() - interval '3 days'")
    never = samples(await show(7200))
    assert never["quiz_backup_age_seconds",] >= 3 * 86_400  # as long as the database is there
    assert never["quiz_backup_overdue_after_seconds",] == 7200

    made = await repository.begin_backup("quiz-1.dump")
    await repository.end_backup(made, BackupState.VERIFIED, size_bytes=5, differences=0)
    await run_sql(
        repository,
        "UPDATE backups SET begun_at = now() - interval '1 hour', ended_at = now() - interval '59 minutes'",
    )
    await repository.begin_backup("quiz-2.dump")
    shown = samples(await show(None))
    assert 3600 <= shown["quiz_backup_age_seconds",] < 3600 + WAIT_SECONDS
    assert (shown["quiz_backup_size_bytes",], shown["quiz_backup_verified",]) == (5, 1)
    assert shown["quiz_backup_duration_seconds",] == 60

    await repository.begin_backup("quiz-3.dump")  # which notes that the second one's process ended before it
    shown = samples(await show(None))
    assert (shown["quiz_backup_size_bytes",], shown["quiz_backup_verified",]) == (5, 0)
    latest = (await state_of(repository)).backups.latest
    assert latest
    assert (latest.file, latest.reason) == ("quiz-2.dump", "its process ended before it")


async def test_gauges_of_a_silent_source_are_absent_and_neither_zero_nor_old(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_metrics, "CACHE_SECONDS", 0.0)
    state, reads = await state_of(repository), [0]

    async def read() -> ServiceState:
        reads[0] += 1
        if reads[0] == 2:
            raise StorageUnavailableError("gone")
        if reads[0] == 3:
            await asyncio.Event().wait()
        return state

    metrics = ServiceMetrics(read, 3600)
    assert ("quiz_updates_waiting",) in samples(await asyncio.to_thread(metrics.expose))
    assert ("quiz_updates_waiting",) not in samples(await asyncio.to_thread(metrics.expose))
    monkeypatch.setattr(service_metrics, "ASK_SECONDS", 0.1)
    assert ("quiz_updates_waiting",) not in samples(await asyncio.to_thread(metrics.expose))
    assert ("quiz_updates_waiting",) in samples(await asyncio.to_thread(metrics.expose))


async def test_scrapes_at_once_share_an_answer(repository: Repository) -> None:
    state, reads = await state_of(repository), []

    async def read() -> ServiceState:
        reads.append(1)
        return state

    metrics = ServiceMetrics(read, 3600)
    pages = await asyncio.gather(*(asyncio.to_thread(metrics.expose) for _ in range(4)))
    assert all(("quiz_updates_waiting",) in samples(page) for page in pages)
    assert len(reads) == 1


async def test_scrapes_do_not_queue_for_a_source_that_gives_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_metrics, "CACHE_SECONDS", 3600.0)
    monkeypatch.setattr(service_metrics, "ASK_SECONDS", 0.1)
    reads = []

    async def read() -> ServiceState:
        reads.append(1)
        await asyncio.Event().wait()
        raise AssertionError

    metrics = ServiceMetrics(read, 3600)
    pages = await asyncio.gather(*(asyncio.to_thread(metrics.expose) for _ in range(4)))
    assert not any(("quiz_updates_waiting",) in samples(page) for page in pages)
    assert len(reads) == 1


# ---------------------------------------------------------------- a worker's pages


async def test_a_worker_serves_its_health_its_metrics_and_its_own_readiness(settings: Settings) -> None:
    port = servers.free_port()
    async with open_connections(settings) as connections:
        async with (
            serving_pages(connections, Role.WORKER, "127.0.0.1", port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS) as client,
        ):
            alive = await client.get("/health")
            assert (alive.status_code, alive.json()) == (200, {"status": "alive", "version": VERSION})
            for query in ({"role": "worker"}, {}):
                reply = await client.get("/ready", params=query)
                assert (reply.status_code, reply.json()) == (200, {"ready": True, "problems": []})
            wrong = await client.get("/ready", params={"role": "bot"})
            assert (wrong.status_code, wrong.json()["problems"]) == (400, [wrong_role(Role.WORKER)])
            page = await client.get("/metrics")
            assert ("quiz_role_processes", "worker") in samples(page.content)
            assert (await client.get("/nowhere")).status_code == 404
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_worker_without_its_database_is_alive_and_not_ready(settings: Settings) -> None:
    port = servers.free_port()
    async with open_connections(settings) as connections:
        await connections.repository.close()
        async with (
            serving_pages(connections, Role.WORKER, "127.0.0.1", port),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_SECONDS) as client,
        ):
            reply = await client.get("/ready")
            assert reply.status_code == 503
            assert "The database cannot be reached" in reply.json()["problems"][0]
            assert ("quiz_role_processes", "worker") not in samples((await client.get("/metrics")).content)
            assert (await client.get("/health")).status_code == 200


async def test_a_worker_that_hangs_is_not_alive(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.pages.ASK_SECONDS", 0.1)
    url = f"http://127.0.0.1:{(port := servers.free_port())}"
    async with open_connections(settings) as connections, serving_pages(connections, Role.WORKER, "127.0.0.1", port):
        hung = httpx.get(f"{url}/health", timeout=WAIT_SECONDS)  # noqa: ASYNC210 - it is to hold the event loop
        assert (hung.status_code, hung.json()["status"]) == (503, "hangs")


async def test_the_end_of_the_pages_holds_nothing_else_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, shutdown = [], WSGIServer.shutdown

    def end(server: WSGIServer) -> None:
        ends.append(threading.current_thread())
        shutdown(server)

    monkeypatch.setattr(WSGIServer, "shutdown", end)
    port = servers.free_port()
    async with open_connections(settings) as connections, serving_pages(connections, Role.WORKER, "127.0.0.1", port):
        pass
    assert len(ends) == 1
    assert ends[0] is not threading.current_thread()
