"""Starting the embedded servers: one clear line for whatever is in the way."""

from __future__ import annotations

import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from domain.errors import StartupError
from domain.settings import Settings
from local import servers


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port that somebody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def one_line(caught: pytest.ExceptionInfo[StartupError]) -> str:
    """Return an error's message, which has one line."""
    line = str(caught.value)
    assert "\n" not in line
    return line


# ---------------------------------------------------------------- ports


def test_a_port_in_use_is_told_with_its_purpose_and_its_setting(taken: int) -> None:
    with pytest.raises(StartupError) as caught:
        servers.require_free_port(taken, "webhook", "WEBHOOK_PORT")
    assert one_line(caught) == (
        f"The service cannot start: port {taken}, meant for the webhook, is in use; "
        "stop what uses it or set WEBHOOK_PORT"
    )


def test_a_port_that_somebody_takes_on_every_address_is_in_use() -> None:
    with socket.socket() as listening:
        listening.bind(("", 0))
        listening.listen()
        with pytest.raises(StartupError, match="is in use"):
            servers.require_free_port(listening.getsockname()[1], "chat page", "SIMULATOR_PORT")


def test_a_free_port_is_free() -> None:
    servers.require_free_port(servers.free_port(), "webhook", "WEBHOOK_PORT")


def test_a_port_can_be_used_again_right_after_its_server_ended() -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server sets it
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listening.accept()[0].close()  # its side waits in TIME_WAIT
    servers.require_free_port(port, "webhook", "WEBHOOK_PORT")


# ---------------------------------------------------------------- folders


def test_a_data_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = servers.prepare_data_folder(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert list(folder.iterdir()) == []


def test_a_relative_data_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert servers.prepare_data_folder(Path(".data")) == tmp_path / ".data"


@pytest.mark.parametrize("where", ["file", "file/below", "{system}"])
def test_a_folder_that_cannot_be_written_is_told_in_one_line(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = Path("/proc/quiz") if where == "{system}" else tmp_path / where
    with pytest.raises(StartupError) as caught:
        servers.prepare_data_folder(folder)
    line = one_line(caught)
    assert f"the data folder {folder} cannot be written (" in line
    assert line.endswith("set DATA_DIR to one that can")


# ---------------------------------------------------------------- waiting


def run(code: str) -> subprocess.Popen[bytes]:
    """Start some Python."""
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_server_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    process = run("raise SystemExit(1)")
    with pytest.raises(StartupError) as caught:
        servers.wait_until_listening(servers.free_port(), process, tmp_path / "log", "Valkey")
    assert one_line(caught).endswith(f"the Valkey ended at once, see {tmp_path / 'log'}")


def test_a_server_that_never_answers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "READY_SECONDS", 0.2)
    process = run("import time; time.sleep(60)")
    try:
        with pytest.raises(StartupError) as caught:
            servers.wait_until_ready(
                f"http://127.0.0.1:{servers.free_port()}/health", process, tmp_path / "log", "webhook"
            )
    finally:
        process.kill()
        process.wait()
    assert "the webhook does not answer, at http://127.0.0.1:" in one_line(caught)


def test_waiting_ends_at_once_when_it_is_given_up(tmp_path: Path) -> None:
    """As by Ctrl-C while a server starts: without it, this would wait for two minutes."""
    process = run("import time; time.sleep(200)")
    looks = iter([False, False, True])
    try:
        port = servers.free_port()
        servers.wait_until_ready(f"http://127.0.0.1:{port}/", process, tmp_path, "server", lambda: next(looks))
        servers.wait_until_listening(port, process, tmp_path, "server", lambda: True)
    finally:
        process.kill()
        process.wait()


ANSWER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    count = 0
    def do_GET(self):
        Handler.count += 1
        self.send_response(200 if Handler.count > 2 else 503)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_waiting_ends_when_the_server_answers_that_all_is_well(tmp_path: Path) -> None:
    port = servers.free_port()
    process = subprocess.Popen([sys.executable, "-c", ANSWER, str(port)])
    try:
        servers.wait_until_listening(port, process, tmp_path, "server")
        began = time.monotonic()
        servers.wait_until_ready(f"http://127.0.0.1:{port}/ready", process, tmp_path, "server")
        assert time.monotonic() - began >= 0.15  # twice told to wait
    finally:
        process.terminate()
        process.wait()


# ---------------------------------------------------------------- the servers themselves


async def test_a_database_is_made_once_and_kept(postgres_url: object) -> None:
    assert callable(postgres_url)
    url = postgres_url("made_twice")
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept (a int)")
    await connection.close()
    assert postgres_url("made_twice") == url
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()


def test_a_postgres_that_cannot_start_is_told_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("9\n", encoding="utf-8")
    with pytest.raises(StartupError) as caught, servers.postgres(folder):
        pass
    assert "Postgres does not start, see" in one_line(caught)


async def test_valkey_saves_nothing_and_listens_on_this_machine_only(valkey_url: str) -> None:
    redis = Redis.from_url(valkey_url)
    config = await redis.config_get()
    await redis.aclose()
    assert (config["save"], config["appendonly"], config["bind"]) == ("", "no", "127.0.0.1")


def test_a_prefect_server_never_gets_sqlite(tmp_path: Path) -> None:
    environment = servers.prefect_environment("postgresql://quiz@/prefect?host=/tmp", 4321, tmp_path)
    url = environment["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert url == "postgresql+asyncpg://quiz@/prefect?host=/tmp"
    assert environment["PREFECT_SERVER_API_PORT"] == "4321"
    assert environment["PREFECT_SERVER_API_HOST"] == "127.0.0.1"
    assert environment["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4321,http://localhost:4321"
    assert "vacuum" in " ".join(environment).lower()


def test_the_local_bot_keeps_its_token_to_itself(tmp_path: Path) -> None:
    token = servers.local_token(tmp_path)
    assert re.fullmatch(r"\d{10}:[A-Za-z0-9_-]{36}", token)
    assert servers.local_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "simulator-token").stat().st_mode) == 0o600
    assert list(Settings(_env_file=None, telegram_bot_token=SecretStr(token)).bots) == [int(token.split(":")[0])]


def test_a_server_inherits_nothing_but_what_it_needs_and_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456:secret")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    environment = servers.inherited({"OTHER": "added", "LANG": "C"})
    assert "TELEGRAM_BOT_TOKEN" not in environment
    assert (environment["TZ"], environment["OTHER"], environment["LANG"]) == ("Europe/Berlin", "added", "C")
