"""What Python, logging itself and Prefect print on their own: the same lines, and no secret in them either."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.logging.handlers import APILogHandler, APILogWorker
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from domain.settings import LogFormat
from observability import logs
from tests.conftest import ROOT
from tests.support.factories import some_id
from tests.unit.test_logs import PASSWORD, TOKEN, lines_of, logging_to

each_format = pytest.mark.parametrize("log_format", list(LogFormat))


class _Unwritable:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        raise ValueError(self.text)

    __repr__ = __str__


def output_of(log_format: LogFormat, code: str, level: str = "INFO") -> str:
    """Return what a process writes that sets its logs up and then runs some code."""
    start = f"""
        import logging, sys, threading, traceback, warnings
        from domain.settings import Settings
        from observability.logs import ensure_logs, set_up_logs
        settings = Settings.model_validate({{"log_format": "{log_format}", "log_level": "{level}"}})
        told = "bot {TOKEN} at redis://:{PASSWORD}@host"
        """
    program = textwrap.dedent(start) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert TOKEN[-20:] not in done.stderr
    assert PASSWORD not in done.stderr
    return done.stderr


# ---------------------------------------------------------------- Python

UNCAUGHT = {
    "process": "raise ValueError(told)",
    "cause": """
        try:
            raise ValueError(told)
        except ValueError as error:
            raise RuntimeError(f"again {told}") from error
        """,
    "context": """
        try:
            raise ValueError(told)
        except ValueError:
            raise RuntimeError(f"again {told}")
        """,
    "group": "raise ExceptionGroup(told, [ValueError(told), ExceptionGroup(told, [KeyError(told)])])",
    "note": """
        error = ValueError("with a note")
        error.add_note(told)
        raise error
        """,
    "thread": """
        def fail():
            raise ValueError(told)
        threading.Thread(target=fail).start()
        """,
    "cleaning up": """
        class Unclosable:
            def __del__(self):
                raise ValueError(told)
        Unclosable()
        """,
    "warning": "warnings.warn(told)",
    "logged": """
        try:
            raise ValueError(told)
        except ValueError:
            logging.getLogger("quiz").exception("it failed: %s", told)
        """,
}


@each_format
@pytest.mark.parametrize("way", sorted(UNCAUGHT))
def test_what_nobody_catches_is_a_redacted_log_line(log_format: LogFormat, way: str) -> None:
    written = output_of(log_format, 'set_up_logs(settings, "worker")\n' + textwrap.dedent(UNCAUGHT[way]))
    assert "bot <token> at redis://:<password>@host" in written
    if log_format is LogFormat.JSON:
        assert {json.loads(line)["role"] for line in written.splitlines()} == {"worker"}
    else:
        assert written.splitlines()[0][9:16] == "worker "


PRINTED = {
    "exit": "sys.exit(told)",
    "print": "print('it is', told, file=sys.stderr)",
    "lines": "sys.stderr.writelines([told, told])",
    "traceback": """
        try:
            raise ValueError(told)
        except ValueError:
            traceback.print_exc()
        """,
    "hook that fails": """
        def fail(*_):
            raise ValueError(told)
        sys.excepthook = fail
        raise ValueError(told)
        """,
    "set up twice": """
        set_up_logs(settings, "worker")
        print(told, file=sys.stderr)
        """,
}


@pytest.mark.parametrize("way", sorted(PRINTED))
def test_what_is_printed_without_logging_is_redacted(way: str) -> None:
    written = output_of(LogFormat.JSON, 'set_up_logs(settings, "worker")\n' + textwrap.dedent(PRINTED[way]))
    assert "bot <token> at redis://:<password>@host" in written


# ---------------------------------------------------------------- logging


@each_format
def test_what_cannot_be_logged_is_told_in_a_line_without_its_arguments(log_format: LogFormat) -> None:
    with logging_to(log_format) as (logger, written):
        logger.warning("bot is %s %s", TOKEN)  # noqa: PLE1206 - the mistake that this is about
        logger.warning("bot is %d", TOKEN)
        logger.warning("bot is %s", _Unwritable(TOKEN))
        logger.warning(_Unwritable(TOKEN))
        logger.warning("bot", extra={"of": _Unwritable(TOKEN)})
        logger.warning("bot", extra={"of": {"a": [_Unwritable(TOKEN)]}})
    assert len(lines_of(log_format, written.getvalue())) == 6
    assert written.getvalue().count("bot is %") == 3


@each_format
def test_what_a_library_cannot_hand_on_is_told_in_a_line(log_format: LogFormat, tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w", encoding="utf-8")
    stream.close()
    handler = logging.StreamHandler(stream)
    with logging_to(log_format) as (logger, written):
        logger.addHandler(handler)
        logger.warning("bot is %s", TOKEN)
        logger.removeHandler(handler)
    failed, given = lines_of(log_format, written.getvalue())
    assert "a line of quiz.test (test_log_hooks.py:" in failed
    assert "could not be written: ValueError" in failed
    assert "bot is <token>" in given


@each_format
def test_a_line_that_cannot_be_redacted_is_not_written_but_told(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> str:
        raise RecursionError(TOKEN)

    with logging_to(log_format) as (logger, written), monkeypatch.context() as patch:
        patch.setattr(logs, "redact", fail)
        logger.warning("bot is %s", TOKEN, extra={"of": TOKEN})
    assert TOKEN not in written.getvalue()
    assert "RecursionError" in written.getvalue()
    assert written.getvalue().count("\n") == 1


@each_format
def test_a_stream_that_is_gone_stops_nobody(log_format: LogFormat, capfd: pytest.CaptureFixture[str]) -> None:
    with logging_to(log_format) as (logger, written):
        written.close()
        logger.warning("bot is %s", TOKEN)
    assert TOKEN not in capfd.readouterr().err


# ---------------------------------------------------------------- Prefect

ORDERS = {
    "worker": """
        set_up_logs(settings, "worker")
        import prefect.main
        """,
    "flow": """
        import prefect.main
        ensure_logs(settings, "flow")
        """,
}


@pytest.mark.slow
@each_format
@pytest.mark.parametrize("role", sorted(ORDERS))
def test_prefect_leaves_the_lines_of_the_service_alone(log_format: LogFormat, role: str) -> None:
    """It takes the root logger over, and shows warnings only, if it finds no handler there that is not like its own."""
    code = textwrap.dedent(ORDERS[role]) + textwrap.dedent("""
        logging.getLogger("quiz").debug("still here with %s", told)
        logging.getLogger("prefect.quiz").info("here as well")
        """)
    lines = [line for line in output_of(log_format, code, "DEBUG").splitlines() if "here" in line]
    if log_format is LogFormat.JSON:
        assert [json.loads(line)["level"] for line in lines] == ["DEBUG", "INFO"]
    else:
        assert [line[9:25] for line in lines] == [f"{role:<8} DEBUG  ", f"{role:<8} INFO   "]


@pytest.mark.slow
@each_format
def test_a_run_in_a_process_that_prefect_started_sets_the_logs_up_before_anything_can_fail(
    log_format: LogFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", log_format)
    code = """
        import asyncio
        from flows import context
        def fail(_):
            raise ValueError(told)
        context.open_for_flows = fail
        asyncio.run(context.run_context().__aenter__())
        """
    assert "bot <token> at redis://:<password>@host" in output_of(log_format, code)


@each_format
def test_what_prefect_cannot_store_is_told_in_a_line(log_format: LogFormat, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(log: dict[str, Any]) -> None:
        raise ConnectionError(log["message"])

    monkeypatch.setattr("prefect.logging.handlers.emit_api_log", fail)
    handler = APILogHandler()
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: True}), logging_to(log_format) as (_, written):
        record = logging.getLogger("prefect.flow_runs").makeRecord(
            "prefect.flow_runs", logging.INFO, __file__, 1, "bot is %s", (TOKEN,), None
        )
        record.flow_run_id = "00000000-0000-0000-0000-000000000001"
        handler.handle(record)
    (line,) = lines_of(log_format, written.getvalue())
    assert "a line of prefect.flow_runs (test_log_hooks.py:1) could not be written: ConnectionError" in line


async def test_why_prefect_takes_no_lines_is_told_without_the_password_of_its_address() -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ConnectionError(f"no answer from https://quiz:{PASSWORD}@prefect/api/logs/{some_id()}")

    with logging_to(LogFormat.TEXT) as (_, written):
        sender: Any = SimpleNamespace(_client=SimpleNamespace(request=fail))
        await APILogWorker._handle_batch(sender, [])  # noqa: SLF001 - what Prefect does in a thread of its own
    assert "no answer from https://quiz:<password>@prefect/api/logs/" in written.getvalue()
    assert PASSWORD not in written.getvalue()
