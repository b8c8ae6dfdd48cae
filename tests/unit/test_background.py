"""What runs for as long as its process outlives every error."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest
from prefect.exceptions import Pause
from prometheus_client import REGISTRY
from telegram.error import NetworkError

import wiring
from bot.accounts import Accounts
from domain.errors import StorageUnavailableError
from domain.service_state import Role
from domain.settings import Settings, TelegramMode
from flows import availability
from flows.availability import PrefectBreaker
from observability import background
from observability.background import Work, keep_trying, run_forever
from quizzes import maintenance
from roles import polling, worker
from roles.batching import BatchQueue
from roles.intake import WorkerNotifier
from roles.worker import Worker
from tests.support.factories import BOT_ID, TOKEN
from tests.support.waiting import WAIT_SECONDS
from wiring import send_heartbeats

Task = Coroutine[Any, Any, None]

ERRORS: tuple[BaseException, ...] = (
    ValueError("x"),
    KeyError("x"),
    RecursionError(),
    MemoryError(),
    TimeoutError(),
    ConnectionResetError(),
    StorageUnavailableError("x"),
    asyncpg.InvalidPasswordError("x"),
    NetworkError("x"),
    ExceptionGroup("x", [OSError()]),
    BaseExceptionGroup("x", [asyncio.CancelledError()]),
    asyncio.CancelledError(),  # of something else that was cancelled
    Pause(),  # Prefect's signals are no Exception
)
SOME = 3


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(background, "MAX_PAUSE", 0.001)
    for module, name in (
        (wiring, "HEARTBEAT_SECONDS"),
        (worker, "HEARTBEAT_SECONDS"),
        (availability, "PROBE_SECONDS"),
        (worker, "WATCH_SECONDS"),
        (worker, "RECOVER_SECONDS"),
        (worker, "TAKE_AGAIN_SECONDS"),
        (worker, "LISTEN_AGAIN_SECONDS"),
        (worker, "POLL_SECONDS"),
        (polling, "IDLE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.001)


class Trouble:
    """Whatever is asked of it raises an error, until it is mended."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def ask(*_: object, **__: object) -> Any:
            await asyncio.sleep(0)
            self.calls[name] += 1
            if self.error:
                raise self.error
            return RESULTS.get(name)

        return ask

    async def asked(self, *names: str) -> None:
        """Return when each of these has been asked some times from now on."""
        enough = {name: self.calls[name] + SOME for name in names}
        async with asyncio.timeout(WAIT_SECONDS):
            while any(self.calls[name] < times for name, times in enough.items()):
                await asyncio.sleep(0.001)


RESULTS: dict[str, Any] = {"claim_updates": [], "find_stalled": [], "_post": []}


@asynccontextmanager
async def running(task: Task) -> AsyncIterator[asyncio.Task[None]]:
    """Run a task, which must still be there at the end and then end at once when it is cancelled."""
    running = asyncio.create_task(task)
    yield running
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def account(trouble: Trouble) -> Any:
    gateway = SimpleNamespace(bot=trouble, publish_commands=trouble.publish_commands)
    return SimpleNamespace(id=BOT_ID, gateway=gateway)


def settings(**fields: object) -> Settings:
    return Settings(_env_file=None, telegram_bot_token=TOKEN, **fields)  # type: ignore[arg-type]


# ---------------------------------------------------------------- each task


def heartbeat(trouble: Trouble) -> tuple[Task, str]:
    return send_heartbeats(cast("Any", trouble), Role.BOT), "record_heartbeat"


def polled(trouble: Trouble) -> tuple[Task, str]:
    one = account(trouble)
    chosen = settings(telegram_mode=TelegramMode.POLLING)
    poller = polling.make_poller(chosen, one, trouble.receive, lambda _: None)
    return polling.receive_updates(chosen, one, poller, trouble.set_webhook), "_post"


def probed(trouble: Trouble) -> tuple[Task, str]:
    breaker = PrefectBreaker("http://127.0.0.1:1/api")
    breaker._find_problem = trouble.answers  # type: ignore[method-assign, assignment]  # noqa: SLF001 - what asks the server
    return breaker.watch(), "answers"


def batched(trouble: Trouble) -> tuple[Task, str]:
    async def handle(updates: Any) -> None:
        queue.put(updates)
        await trouble.handle()

    queue = BatchQueue(handle)
    queue.put([cast("Any", object())])
    return queue.run(), "handle"


def rung(trouble: Trouble) -> tuple[Task, str]:
    async def notify(_: str) -> None:
        notifier.notify()
        await trouble.notify()

    database = SimpleNamespace(notify=notify)
    runtime = SimpleNamespace(repository=SimpleNamespace(database=database), settings=settings())
    notifier = WorkerNotifier(cast("Any", runtime))
    notifier.notify()
    return notifier.run(), "notify"


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("make", [heartbeat, polled, probed, batched, rung])
async def test_a_task_outlives_any_error(make: Callable[[Trouble], tuple[Task, str]], error: BaseException) -> None:
    trouble = Trouble(error)
    task, step = make(trouble)
    async with running(task):
        await trouble.asked(step)
        trouble.error = None
        await trouble.asked(step)


@pytest.mark.parametrize("error", ERRORS, ids=repr)
async def test_a_worker_outlives_any_error(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble(error)
    repository = cast("Any", trouble)
    repository.database = trouble
    monkeypatch.setattr(worker, "show_questions", trouble.show_questions)
    monkeypatch.setattr(maintenance, "finish_answers", trouble.finish_answers)
    monkeypatch.setattr(maintenance, "find_stalled", trouble.find_stalled)
    monkeypatch.setattr(maintenance, "send_stalled", trouble.send_stalled)
    generator = SimpleNamespace(llm=None)
    runtime = SimpleNamespace(
        repository=repository, context=SimpleNamespace(generator=generator), settings=settings(), accounts=Accounts(())
    )
    one = Worker(cast("Any", runtime))
    task = asyncio.create_task(one.run())
    steps = (
        "record_heartbeat",
        "claim_updates",
        "show_questions",
        "listen",
        "finish_answers",
        "find_stalled",
    )
    await trouble.asked(*steps)
    trouble.error = None
    await trouble.asked(*(step for step in steps if step != "listen"))  # that one now waits for news
    assert not task.done()
    one.stop()
    await task


async def test_a_backlog_of_quizzes_keeps_answers_and_updates_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble(ValueError("x"))
    trouble.error = None
    repository = cast("Any", trouble)
    repository.database = trouble
    sending = asyncio.Event()

    async def send_for_hours(*_: object) -> None:
        sending.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(worker, "show_questions", trouble.show_questions)
    monkeypatch.setattr(maintenance, "finish_answers", trouble.finish_answers)
    monkeypatch.setattr(maintenance, "find_stalled", trouble.find_stalled)
    monkeypatch.setattr(maintenance, "send_stalled", send_for_hours)
    runtime = SimpleNamespace(
        repository=repository,
        context=SimpleNamespace(generator=SimpleNamespace(llm=None)),
        settings=settings(),
        accounts=Accounts(()),
    )
    one = Worker(cast("Any", runtime))
    task = asyncio.create_task(one.run())
    await sending.wait()
    await trouble.asked("finish_answers", "claim_updates")
    one.stop()
    await task


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("step", ["publish_commands", "set_webhook"])
async def test_what_is_done_once_is_tried_until_it_is_done(error: BaseException, step: str) -> None:
    trouble = Trouble(error)
    local = settings(
        telegram_api_base_url="http://127.0.0.1:1", webhook_url="http://127.0.0.1:2", telegram_mode=TelegramMode.WEBHOOK
    )
    task = asyncio.create_task(polling.receive_updates(local, account(trouble), None, trouble.set_webhook))
    await trouble.asked(step)
    trouble.error = None
    await task
    assert not trouble.calls["_post"]


# ---------------------------------------------------------------- what they share


async def test_each_kind_of_error_is_told_once_and_each_error_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[BaseException] = [ValueError("one"), ValueError("two"), StorageUnavailableError("three"), OSError()]

    async def work() -> None:
        if errors:
            raise errors.pop(0)

    def count() -> float:
        return REGISTRY.get_sample_value("quiz_background_errors_total", {"task": "a test"}) or 0.0

    before = count()
    with caplog.at_level(logging.INFO, "observability.background"):
        await keep_trying("a test", work)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "a test failed, trying again"),
        ("WARNING", "a test: The database cannot be reached: three; trying again"),
        ("ERROR", "a test failed, trying again"),
        ("INFO", "a test works again"),
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True, False]
    assert count() - before == 4


async def test_pauses_grow_up_to_their_bound_and_begin_anew_after_a_success(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    errors: list[OSError | None] = [*(OSError() for _ in range(4)), None, OSError()]
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        if not errors:
            done.set()
            await asyncio.Event().wait()
        if error := errors.pop(0):
            raise error

    monkeypatch.setattr(background, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    async with running(run_forever("a test", work, pause=7, max_pause=5)):
        await done.wait()
    assert pauses == [1, 2, 4, 5, 7, 1]


async def test_cancelling_ends_a_task_even_if_its_work_turns_that_into_an_error() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError from None

    task = asyncio.create_task(run_forever("a test", work))
    await begun.wait()
    task.cancel()
    with pytest.raises(OSError):  # noqa: PT011 - the very one
        await task


@pytest.mark.parametrize("run", [run_forever, keep_trying])
async def test_cancelling_ends_a_task_even_if_its_work_swallows_that(run: Callable[[str, Work], Task]) -> None:
    begun, swallowed = asyncio.Event(), 0

    async def work() -> None:
        nonlocal swallowed
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed += 1

    task = asyncio.create_task(run("a test", work))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=WAIT_SECONDS)
    assert task.cancelled()
    assert swallowed == 1


async def test_an_event_ends_a_task_after_the_work_in_hand() -> None:
    until, done = asyncio.Event(), []

    async def work() -> None:
        until.set()
        await asyncio.sleep(0)
        done.append(True)

    await run_forever("a test", work, pause=3600, until=until)
    assert done == [True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_process_is_no_error(error: type[BaseException]) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(error):
        await run_forever("a test", work)
