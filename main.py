"""The entry point: `python main.py [ROLE]`. Without a role, everything runs on this machine."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from domain.errors import QuizServiceError, StartupError
from domain.settings import Settings, load_settings
from observability.collector import pass_over_loaded
from observability.logs import redact, set_up_logs

logger = logging.getLogger(__name__)

ROLES = {
    "all": "everything on this machine; what the settings leave out is started here",
    "bot": "receive updates from Telegram, by webhook or polling",
    "worker": "answer commands, send quizzes, grade answers",
    "prefect": "register the deployments and run what they schedule",
    "init": "apply the schema, load the question bank, and end",
    "webhook": "set, delete or show the webhook at Telegram",
    "questions": "list, verify, import, export, quarantine and count questions",
}


def main(arguments: list[str]) -> int:
    """Run a role.

    Args:
        arguments: of the command line.

    Returns:
        The exit status: 0 after a proper end, 1 with one line on what is wrong.
    """
    options = _parse(arguments)
    try:
        settings = load_settings()
        set_up_logs(settings, options.role)
        return _run(options, settings)
    except QuizServiceError as error:
        print(f"quiz: {redact(str(error))}", file=sys.stderr)  # noqa: T201 - the one line of a failed start
        return 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="main.py", description="The daily quiz for data engineers.")
    roles = parser.add_subparsers(dest="role", metavar="ROLE")
    for name, about in ROLES.items():
        role = roles.add_parser(name, help=about, description=about)
        if name == "webhook":
            role.add_argument("action", choices=("set", "delete", "info"))
        if name == "questions" and arguments[:1] == [name]:
            from question_desk import add_commands  # noqa: PLC0415 - what it needs takes a second to import

            add_commands(role)
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
            from webhook import serve_bot  # noqa: PLC0415

            return serve_bot(_resolved(settings, with_redis=True))
        case "worker" | "prefect":
            run = run_worker if options.role == "worker" else run_prefect_worker
            return _run_apart(run(_resolved(settings, with_redis=True)))
        case "questions":
            from question_desk import run_command  # noqa: PLC0415

            return run_command(options, settings)
        case "init":
            return asyncio.run(_initialise(_resolved(settings)))
        case _:
            from webhook import manage_webhook  # noqa: PLC0415

            return asyncio.run(manage_webhook(settings, options.action))


def _resolved(settings: Settings, *, with_redis: bool = False) -> Settings:
    """Make sure that a role that runs alone knows where its servers are."""
    needed = {"DATABASE_URL": settings.database_url, "TELEGRAM_BOT_TOKEN": settings.bots or None}
    if with_redis:
        needed["REDIS_URL"] = settings.redis_url
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise StartupError(f"set {', '.join(missing)}, or run `python main.py` for everything on this machine")
    return settings


async def _initialise(settings: Settings) -> int:
    from quiz_generator import sync_bank  # noqa: PLC0415
    from repository import Repository  # noqa: PLC0415

    repository = await Repository.open(settings)
    try:
        applied = await repository.database.prepare_schema()
        bank = await sync_bank(repository, settings.question_bank_dir)
    finally:
        await repository.close()
    print(f"applied: {', '.join(applied) or 'nothing, all there'}; {len(bank.questions)} questions loaded")  # noqa: T201
    return 1 if bank.problems else 0


def _run_apart(work: Coroutine[Any, Any, None]) -> int:
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
    """Work until cancelled, then finish what is under way.

    Args:
        settings: with every address resolved.
    """
    import httpx  # noqa: PLC0415
    from prefect.context import AsyncClientContext  # noqa: PLC0415
    from prometheus_client import start_http_server  # noqa: PLC0415

    import prefect_flows  # noqa: PLC0415
    from quiz_generator import sync_bank  # noqa: PLC0415
    from services import open_services  # noqa: PLC0415
    from worker import Worker  # noqa: PLC0415

    if settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port, addr=settings.webhook_host)
    async with open_services(settings) as opened, AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(AsyncClientContext.get_or_create())
        except (
            RuntimeError,
            OSError,
            httpx.HTTPError,
        ) as error:  # it only saves CPU
            logger.warning("Prefect does not answer at the start: %s", type(error).__name__)
        await opened.repository.database.prepare_schema()
        await sync_bank(opened.repository, settings.question_bank_dir)
        wiring = replace(opened, services=replace(opened.services, forget_runs=prefect_flows.forget_runs))
        prefect_flows.use_services(wiring.services)
        pass_over_loaded()
        worker = Worker(wiring)
        running = asyncio.create_task(worker.run())
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            worker.stop()
            await running


async def run_prefect_worker(settings: Settings) -> None:
    """Register the deployments, then run what the schedules and operators start, until cancelled.

    Args:
        settings: with every address resolved.
    """
    from repository import Repository  # noqa: PLC0415
    from services import keep_beating  # noqa: PLC0415
    from work_pool import register_deployments, workers_of  # noqa: PLC0415

    if settings.prefect_api_url is None:
        raise StartupError("set PREFECT_API_URL, or run `python main.py` for everything on this machine")
    repository = await Repository.open(settings)
    beating = asyncio.create_task(keep_beating(repository, "prefect"))
    try:
        await repository.database.prepare_schema()
        await register_deployments(settings)
        async with asyncio.TaskGroup() as group:
            for worker in workers_of(settings):
                group.create_task(worker.start(printer=logger.debug))
    finally:
        beating.cancel()
        await repository.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
