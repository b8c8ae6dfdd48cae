"""The entry point: `python main.py [ROLE]`. Without a role, everything runs on this machine."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from domain.environment import bypass_proxy_for_loopback, drop_empty_variables, hand_over_settings, settle_proxies
from domain.errors import PrefectLoginError, QuizServiceError, StartupError
from domain.processes import guard_memory
from domain.service_state import Role
from domain.settings import Settings, find_foreign_ports, load_settings
from domain.version import VERSION
from observability.gc_freeze import freeze_startup_objects
from observability.logs import one_line, set_up_logs
from roles.control.arguments import add_arguments
from roles.questions.arguments import add_commands

logger = logging.getLogger(__name__)

ROLES = {
    "all": "everything on this machine; what the settings leave out is started here",
    "bot": "receive updates from Telegram, by webhook or polling",
    "worker": "answer commands, send quizzes, grade answers",
    "prefect": "register the deployments and run what they schedule",
    "init": "apply the schema, load the question bank, and end",
    "webhook": "set, delete or show the webhook at Telegram",
    "questions": "list, verify, import, export, quarantine and count questions",
    "status": "show the service's status; exit status 0 if nothing is wrong, 1 if something is, 2 if it cannot tell",
    "doctor": "check settings, servers, rights, webhook, clock and disk before the first start",
    "backup": "dump the database into BACKUP_DIR, verify the dump by restoring it elsewhere, keep the newest",
    "restore": "restore a backup into an empty database",
    "pause": "send no quizzes and announcements, of all bots or one, until `resume`; answers are still graded",
    "resume": "end a pause: what waits goes out",
    "learner": "show a learner, pause their daily quizzes, or erase them",
    "announce": "send a text to all learners or some, at most once each, behind quizzes",
    "replay": "work every stored answer out again, and list what differs; changes nothing",
}
STARTS = "version %s starts"

EVENTS_SECONDS = 1.0
"""For Prefect's threads, at the end of a process."""


def main(arguments: list[str]) -> int:
    """Run a role.

    Returns:
        The exit status: 0 after a proper end, 1 with one line on what is wrong; `status` has its own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a character must not end a role
    os.environ.pop("PYTHONIOENCODING", None)  # likewise for the processes that this one starts
    options = _parse(arguments)
    try:
        guard_memory()
        settings = load_settings()
        set_up_logs(settings, options.role)
        _prepare_environment(settings)
        return _run_flow() if options.role == "flow" else _run(options, settings)
    except QuizServiceError as error:
        print(f"quiz: {one_line(error)}", file=sys.stderr)  # noqa: T201 - the one line of a failed start
        return 2 if options.role == "status" else 1


def _prepare_environment(settings: Settings) -> None:
    """Put into the environment what libraries and child processes read from it."""
    drop_empty_variables()
    bypass_proxy_for_loopback()
    if settings.prefect_api_url:
        os.environ["PREFECT_API_URL"] = settings.prefect_api_url
    if settings.prefect_api_auth_string:  # Prefect's client knows nothing of secrets in files or in AWS
        os.environ["PREFECT_API_AUTH_STRING"] = settings.prefect_api_auth_string.get_secret_value()
    if settings.aws_secret_id:
        hand_over_settings(settings)
    for name in find_foreign_ports():
        del os.environ[name]
        logger.warning(
            "%s was set by Kubernetes for a Service and is ignored; set it to a number to choose a port", name
        )
    for name in settle_proxies(settings):
        logger.warning("%s is ignored: its kind of proxy is not supported, and every server is on this machine", name)


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py", description="The daily quiz for data engineers.")
    parser.add_argument("--version", action="version", version=VERSION)
    roles = parser.add_subparsers(dest="role", metavar="ROLE")
    for name, about in ROLES.items():
        role = roles.add_parser(name, help=about, description=about)
        if name == "webhook":
            role.add_argument("action", choices=("set", "delete", "info"))
        if name == "status":
            role.add_argument("--json", action="store_true", help="for programs")
        if name == "replay":
            role.add_argument("database_url", nargs="?", help="instead of DATABASE_URL")
            role.add_argument("--busy", action="store_true", help="leave out what may be under way")
        if name == "restore":
            role.add_argument("file", type=Path, help="a dump that `backup` made")
        if name == "questions":
            add_commands(role)
        add_arguments(name, role)
    roles.add_parser("flow")  # started by the role `prefect` for each run, so it is not listed
    parser.set_defaults(role="all")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, settings: Settings) -> int:
    """Import and run what the role needs and nothing else: Prefect alone takes seconds."""
    match options.role:
        case "all":
            from rich.console import Console  # noqa: PLC0415

            from local.stack import Stack  # noqa: PLC0415

            return Stack(settings, Console()).run()
        case "bot":
            from observability.tracing import set_up_tracing  # noqa: PLC0415
            from roles.webhook import serve_bot  # noqa: PLC0415

            _require_servers(settings, serves=True)
            set_up_tracing(settings, options.role)
            logger.info(STARTS, VERSION)
            asyncio.run(_prepare(settings))  # here it ends in one line; the HTTP server would show a traceback
            return serve_bot(settings)
        case "worker" | "prefect":
            _require_servers(settings, serves=True)
            logger.info(STARTS, VERSION)
            run = run_worker if options.role == "worker" else run_prefect_worker
            status = _run_in_thread(run(settings))
            _end_prefect()
            return status
        case "backup" | "restore":
            from roles.backups.command import run_backup, run_restore  # noqa: PLC0415

            backing_up = options.role == "backup"
            return asyncio.run(run_backup(settings) if backing_up else run_restore(settings, options.file))
        case "pause" | "resume" | "learner" | "announce":
            from roles.control.commands import run_control  # noqa: PLC0415

            if options.role == "announce" or (options.role == "learner" and options.action == "erase"):
                _require_servers(settings, serves=True)
            return run_control(options, settings)
        case _:
            return _run_command(options, settings)


def _run_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run a role that ends by itself."""
    match options.role:
        case "questions":
            from roles.questions.commands import run_command  # noqa: PLC0415

            return run_command(options, settings)
        case "replay":
            from roles.replay.command import run_replay  # noqa: PLC0415

            return run_replay(options.database_url, settings, busy=options.busy)
        case "status":
            from roles.status.screen import show_status  # noqa: PLC0415

            return asyncio.run(show_status(settings, as_json=options.json))
        case "doctor":
            from roles.status.doctor import run_doctor  # noqa: PLC0415

            return asyncio.run(run_doctor(settings))
        case "init":
            _require_servers(settings)
            return asyncio.run(_initialise(settings))
        case _:
            from roles.webhook_registration import manage_webhook  # noqa: PLC0415

            return asyncio.run(manage_webhook(settings, options.action))


def _require_servers(settings: Settings, *, serves: bool = False) -> None:
    """Make sure that a role that runs alone knows where its servers are.

    Args:
        settings: which name them.
        serves: whether it also needs a bot and Redis.

    Raises:
        StartupError: a setting is missing.
    """
    needed: dict[str, object] = {"DATABASE_URL": settings.database_url}
    if serves:
        needed |= {"TELEGRAM_BOT_TOKEN": settings.bots or None, "REDIS_URL": settings.redis_url}
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise StartupError(f"set {', '.join(missing)}, or run `python main.py` for everything on this machine")


def _run_flow() -> int:
    """Run the flow run that the environment names, in the main thread, where Prefect wants it.

    Raises:
        StartupError: none is named.
    """
    import runpy  # noqa: PLC0415

    from observability.states import redact_states  # noqa: PLC0415

    if "PREFECT__FLOW_RUN_ID" not in os.environ:
        raise StartupError(
            "`flow` is for the role `prefect`, which starts it for each run; start runs in the Prefect UI, "
            "or with `prefect deployment run`"
        )
    redact_states()
    del sys.argv[1:]  # Prefect's engine would take the role for the run's id
    runpy.run_module("prefect.engine", run_name="__main__")
    return 0


async def _prepare(settings: Settings) -> None:
    from repository import Repository  # noqa: PLC0415
    from wiring import prepare_database  # noqa: PLC0415

    async with await Repository.open(settings) as repository:
        await prepare_database(repository, settings)


async def _initialise(settings: Settings) -> int:
    from question_sources.bank_sync import sync_bank  # noqa: PLC0415
    from repository import Repository  # noqa: PLC0415
    from wiring import prepare_database  # noqa: PLC0415

    async with await Repository.open(settings) as repository:
        applied = await prepare_database(repository, settings)
        bank = await sync_bank(repository, settings.question_bank_dir)
    print(f"applied: {', '.join(applied) or 'nothing, all there'}; {len(bank.questions)} questions loaded")  # noqa: T201
    return 1 if bank.problems else 0


def _end_prefect() -> None:
    """Let Prefect's threads tell the server what they still hold; end the process if the server does not take it.

    At the exit of the interpreter they would wait for it without an end.
    """
    from prefect.events.worker import EventsWorker  # noqa: PLC0415

    from observability.tracing import shut_down_tracing  # noqa: PLC0415

    shut_down_tracing()
    left = EventsWorker.drain_all(timeout=EVENTS_SECONDS)
    if isinstance(left, tuple) and left[1]:
        logger.warning("the Prefect server takes nothing: it is not told of the last seconds")
        logging.shutdown()
        os._exit(0)


def _run_in_thread(work: Coroutine[Any, Any, None]) -> int:
    """Run a coroutine on an event loop in a thread of its own, and cancel it on SIGINT or SIGTERM.

    In the main thread a Prefect flow would take SIGTERM over, and the clean end would never run.
    """
    failures: list[BaseException] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(started.set)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - handed over to the main thread
            failures.append(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def stop(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    thread = threading.Thread(target=run, name="work")
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # in steps, so that signals are handled in between
    if failures:
        raise failures[0]
    return 0


async def run_worker(settings: Settings) -> None:
    """Work until cancelled, then finish what is under way."""
    import httpx  # noqa: PLC0415
    from prefect.context import AsyncClientContext  # noqa: PLC0415

    from flows.context import open_for_flows  # noqa: PLC0415
    from observability.tracing import set_up_tracing  # noqa: PLC0415
    from question_sources.bank_sync import sync_bank  # noqa: PLC0415
    from roles.pages import serving_pages  # noqa: PLC0415
    from roles.worker import Worker  # noqa: PLC0415
    from wiring import prepare_database  # noqa: PLC0415

    set_up_tracing(settings, Role.WORKER)
    async with open_for_flows(settings) as runtime, AsyncExitStack() as stack:
        if settings.prefect_api_url:  # or the client would start a server, without a login and open to every web page
            with contextlib.suppress(RuntimeError, OSError, httpx.HTTPError):  # it only saves CPU
                await stack.enter_async_context(AsyncClientContext.get_or_create())
        await prepare_database(runtime.repository, settings)
        await sync_bank(runtime.repository, settings.question_bank_dir)
        freeze_startup_objects()
        worker = Worker(runtime)
        if port := settings.worker_metrics_port:
            await stack.enter_async_context(serving_pages(runtime, Role.WORKER, settings.webhook_host, port))
        running = asyncio.create_task(worker.run())
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            worker.stop()
            await running


async def run_prefect_worker(settings: Settings) -> None:
    """Register the deployments, then run what the schedules and operators start, until cancelled."""
    from flows.automations import register_automations  # noqa: PLC0415
    from flows.work_pool import register_deployments, restore_deployments, workers_of  # noqa: PLC0415
    from observability.background import run_forever  # noqa: PLC0415
    from observability.logs import DebugLines  # noqa: PLC0415
    from repository import Repository  # noqa: PLC0415
    from wiring import prepare_database, send_heartbeats  # noqa: PLC0415

    if settings.prefect_api_url is None:
        raise StartupError("set PREFECT_API_URL, or run `python main.py` for everything on this machine")
    async with await Repository.open(settings) as repository:
        await prepare_database(repository, settings)
        heartbeats = asyncio.create_task(send_heartbeats(repository, Role.PREFECT))
        try:
            await register_deployments(settings)
            await register_automations(settings)
            with contextlib.redirect_stdout(DebugLines(logger)):  # it prints tracebacks while its server is away
                async with asyncio.TaskGroup() as group:
                    group.create_task(run_forever("deployments", lambda: restore_deployments(settings), pause=60.0))
                    for worker in workers_of(settings):
                        group.create_task(worker.start(printer=logger.debug))
        except Exception as error:
            if problem := _prefect_problem(error, settings.prefect_api_url):
                raise problem from None
            raise
        finally:
            heartbeats.cancel()


def _prefect_problem(error: Exception, api_url: str) -> StartupError | None:
    """Return the one line for an error that means that the Prefect server is unavailable or refuses the login."""
    import httpx  # noqa: PLC0415

    match error:
        case ExceptionGroup(exceptions=errors):
            return next(filter(None, (_prefect_problem(one, api_url) for one in errors)), None)
        case httpx.HTTPStatusError(response=reply) if reply.status_code == httpx.codes.UNAUTHORIZED:
            return PrefectLoginError()
        case httpx.TransportError():
            return StartupError(f"the Prefect server at {api_url} does not answer ({type(error).__name__})")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
