"""Flows that fail with secrets in their hands, in each way in which Prefect could store one; they run in processes."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from typing import Any, Literal
from urllib.parse import quote

from prefect import flow, get_run_logger, task
from prefect.states import Failed

PASSWORD = "p4ssw0rd-of-a-database"
Way = Literal[
    "task",
    "flow",
    "chain",
    "group",
    "logger",
    "run logger",
    "aside",
    "print",
    "state",
    "subflow",
    "crash",
    "exit",
    "thread",
    "stopped",
]


class EndOfTheWorldError(BaseException):
    """What no flow is meant to handle."""


def told() -> str:
    """Return a sentence with the secrets of the service in it, and some of others that have a known form."""
    return " and ".join(
        [
            f"cannot reach postgresql://quiz:{PASSWORD}@db.example.org/quiz",
            f"POST https://api.telegram.org/bot{os.environ['TELEGRAM_BOT_TOKEN']}/sendMessage",
            f"no such key: {os.environ['OPENAI_API_KEY']}",
            f"signed with {os.environ['TELEGRAM_WEBHOOK_SECRET']}",
        ]
    )


class Unclosable:
    """What fails where nobody can catch it."""

    def __del__(self) -> None:
        raise ConnectionError(told())


@task
def fail() -> None:
    """Fail as a database or Telegram does."""
    raise ConnectionError(told())


@flow
def inner() -> None:
    """Fail as a part of another flow."""
    raise ValueError(told())


@flow(log_prints=True)
def leak(way: Way) -> Any:  # noqa: C901, PLR0912 - one case for each way
    """Fail in one way."""
    match way:
        case "task":
            fail()
        case "flow":
            raise ValueError(told())
        case "chain":
            try:
                fail.fn()
            except ConnectionError as error:
                raise RuntimeError("it failed") from error
        case "group":
            quoted = [repr(told()), told().encode(), json.dumps(json.dumps(told())), quote(told(), safe="")]
            group = ExceptionGroup(told(), [ConnectionError(told()), ExceptionGroup("inner", [KeyError(quoted)])])
            group.add_note(told())
            raise group
        case "logger":
            try:
                fail.fn()
            except ConnectionError:
                logging.getLogger("prefect.flow_runs").exception("it failed: %s", told())
        case "run logger":
            get_run_logger().error("it failed: %s", told())
        case "aside":
            get_run_logger().error("it failed: %s %s %d", told())
            logging.getLogger("prefect.flow_runs").error("it failed: %d", told(), extra={"told": [told().encode()]})
            warnings.warn(told(), stacklevel=1)
            Unclosable()
        case "print":
            print(told())  # noqa: T201 - Prefect keeps it as a log line
        case "state":
            return Failed(message=told())
        case "subflow":
            inner()
        case "crash":
            raise EndOfTheWorldError(told())
        case "exit":
            sys.exit(told())
        case "thread":
            thread = threading.Thread(target=fail.fn)
            thread.start()
            thread.join()
        case "stopped":
            raise KeyboardInterrupt(told())
    return None
