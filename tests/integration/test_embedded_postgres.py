"""The embedded PostgreSQL in folders and environments that its wheel did not foresee."""

from __future__ import annotations

import tempfile
from pathlib import Path

import asyncpg
import pytest

from domain.errors import StartupError
from local import servers, throwaway_postgres
from local.embedded_postgres import EmbeddedPostgres

ODD = {"LC_ALL": "xx_YY.UTF-8", "LANG": "xx_YY.UTF-8", "PGPORT": "9", "PGHOST": "nowhere.invalid", "PGDATA": "/nowhere"}


@pytest.mark.parametrize("name", ["my quiz", "a+b&c=d%20;e#f?g@h", "quiz-ü", "d" * 120])
async def test_it_serves_from_any_folder_and_in_any_locale(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in ODD.items():
        monkeypatch.setenv(variable, value)
    with tempfile.TemporaryDirectory(prefix="quiz-odd-") as place:
        folder = Path(place) / name
        folder.mkdir()
        with servers.postgres(folder / "postgres") as url_of:
            connection = await asyncpg.connect(url_of("quiz"))
            try:
                assert await connection.fetchval("SELECT current_database()") == "quiz"
                assert await connection.fetchval("SHOW server_encoding") == "UTF8"
            finally:
                await connection.close()


@pytest.mark.parametrize("name", ["o'clock", 'a"b', "a$b", "a,b", "a\\b"])
def test_a_folder_that_its_programs_cannot_take_is_told(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    with pytest.raises(StartupError, match="set DATA_DIR to a folder without quotes"), servers.postgres(folder / "pg"):
        pass


async def test_a_throwaway_server_serves_below_a_long_folder_and_leaves_nothing(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    sockets = data_folder / "sockets"  # else others may begin to use the same folder meanwhile
    monkeypatch.setattr(EmbeddedPostgres, "runtime_path", sockets)
    with throwaway_postgres.throwaway_postgres() as url:
        throwaway_postgres._remove_left()  # noqa: SLF001 - as another command does, which spares what is in use
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
    assert list(folder.iterdir()) == []
    assert list(sockets.iterdir()) == []


def test_a_throwaway_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throwaway_postgres, "_SETTINGS", {"no_such_setting": "1"})
    expected = 'does not start: .*unrecognized configuration parameter "no_such_setting"'
    with pytest.raises(StartupError, match=expected), throwaway_postgres.throwaway_postgres():
        pass
