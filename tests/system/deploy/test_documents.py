"""The documents name commands, settings, files and numbers that exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import prefect.settings
import pytest

import main
from domain.settings import Settings
from local.programs import PREFECT_CLIENT
from tests.system.deploy import compose
from tests.system.deploy.compose import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = [
    ROOT / name
    for name in (
        "README.md",
        "QUICKSTART.md",
        "DEPLOYMENT.md",
        "CONTRIBUTING.md",
        "docs/glossary.md",
        "docs/operations.md",
        "docs/security.md",
    )
]
DOCUMENTS += DECISIONS
MAKE_TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"^[\w./-]+\.(?:py|sql|ya?ml|json|md|txt|in|toml)$")
TO_BE_WRITTEN = {"docker-compose.override.yml", "storage/migrations/NNNN_what_it_does.sql"}
"""Files that a reader makes."""

KNOWN_EVERYWHERE = {
    "DO_NOT_TRACK",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_REGION",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
}
"""Variables that most programs heed."""

OF_OTHERS = {"PR_SET_DUMPABLE", "ON_ERROR_STOP"}
"""Names of the kernel's and of psql."""

OF_A_RELEASE = ("deploy/kubernetes/release.sh", ".github/workflows/cd.yml", "deploy/databases.sql")
"""Files that read variables of their own."""


def words(path: Path) -> list[str]:
    """Return what stands in backticks or code blocks."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^ *```\w+\n(.*?)^ *```", text)
    inline = _CODE.findall(re.sub(r"(?ms)^ *```.*?^ *```", "", text))
    return inline + [line.strip() for block in blocks for line in block.splitlines()]


def all_words() -> list[str]:
    """Return what stands so in any of the documents."""
    return [word for path in DOCUMENTS for word in words(path)]


def test_a_link_leads_somewhere() -> None:
    links = [
        (path, target)
        for path in DOCUMENTS
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
        if not target.startswith("https://")
    ]
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []


def test_a_variable_is_known_to_whoever_reads_it() -> None:
    named = {name for word in all_words() for name in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", word)}
    ours = {name.upper() for name in Settings.model_fields} | compose.variables() | KNOWN_EVERYWHERE | OF_OTHERS
    ours |= {
        name
        for file in OF_A_RELEASE
        for name in re.findall(
            r"(?:\$\{(?:\{ vars\.)?|\\getenv \w+ )([A-Z_]+)", (ROOT / file).read_text(encoding="utf-8")
        )
    }
    assert {name for name in named if name not in ours and not hasattr(prefect.settings, name)} == set()


def test_a_command_of_ours_is_understood() -> None:
    for word in all_words():
        if word.startswith("$ "):  # test_operations.py runs it as it stands
            continue
        for command in re.findall(r"(?:^|\s)python main\.py((?: (?:[a-z|]+|ID|FILE))*)", word):
            for alternative in _alternatives(shlex.split(command.replace("ID", "1"))):
                assert main._parse(alternative)  # noqa: SLF001 - what the command line means
        if word.startswith("make "):
            assert word.split()[1] in MAKE_TARGETS


def _alternatives(words: list[str]) -> list[list[str]]:
    """Return the commands that `set|delete|info` stands for."""
    if not words or "|" not in words[-1]:
        return [words]
    return [[*words[:-1], last] for last in words[-1].split("|")]


def test_a_file_is_there() -> None:
    names = {word for word in all_words() if _FILE.match(word)} - TO_BE_WRITTEN
    known = {found.name for folder in (".", "deploy") for found in (ROOT / folder).iterdir()}
    assert {name for name in names if not (ROOT / name).exists() and name not in known} == set()


def files_and_names(command: str) -> tuple[list[Path], list[str]]:
    """Return the files of a pytest command, and the parts of tests' names that its ``-k`` looks for."""
    words = shlex.split(command)[1:]
    files = [ROOT / word for word in words if word.startswith("tests/")]
    chosen = words[words.index("-k") + 1] if "-k" in words else ""
    return files, [word for word in chosen.split() if word not in {"or", "and", "not"}]


def test_tests_and_drills_that_a_document_names_are_there() -> None:
    from dev.chaos.faults import FAULTS

    for word in all_words():
        if word.startswith("pytest "):
            files, wanted = files_and_names(word)
            tests = set(re.findall(r"def (test_\w+)", "\n".join(path.read_text(encoding="utf-8") for path in files)))
            assert [name for name in wanted if not any(name in test for test in tests)] == [], word
        for drill in re.findall(r"python -m dev.chaos (?:--quick )?([a-z0-9-]+)", word):
            assert drill in FAULTS


def test_a_container_that_a_command_enters_is_one() -> None:
    entered = {name for word in all_words() for name in re.findall(r"docker compose exec (?:-T )?([a-z-]+)", word)}
    assert entered <= set(compose.services())


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.name)
def test_a_decision_says_what_why_what_not_and_at_what_cost(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    assert all(part in text for part in ("**Decision.**", "**Why", "**Turned down**", "**Costs.**"))
    assert len(text.splitlines()) <= 50


def test_decisions_are_counted_through() -> None:
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_numbers_in_the_documents_are_those_of_the_code() -> None:
    from quizzes.cohorts import COHORTS_AT_ONCE
    from roles.batching import MAX_BATCH
    from roles.worker import MAX_ATTEMPTS, POLL_SECONDS_WITHOUT_LISTEN
    from storage.update_store import CLAIM_SECONDS

    told = {path.name: " ".join(path.read_text(encoding="utf-8").split()) for path in DOCUMENTS}
    assert COHORTS_AT_ONCE == 3
    assert "three cohorts at a time" in told["DEPLOYMENT.md"]
    assert f"a lease of {CLAIM_SECONDS} s" in told["0004-updates-table-as-the-queue.md"]
    assert f"after {MAX_ATTEMPTS} attempts" in told["0004-updates-table-as-the-queue.md"]
    assert f"takes its updates after {CLAIM_SECONDS} s" in told["DEPLOYMENT.md"]
    assert f"up to {MAX_BATCH} under load" in told["0003-grading-in-a-long-lived-worker.md"]
    assert f"every {POLL_SECONDS_WITHOUT_LISTEN} s" in told["DEPLOYMENT.md"]
    for name, default in re.findall(r"`([A-Z_]+)` \((\d+)\)", told["DEPLOYMENT.md"]):
        assert float(default) == Settings.model_fields[name.lower()].default


SYSTEMD = ROOT / "deploy" / "systemd"
SERVICES = ("quiz-prefect-server.service", "quiz@.service")


def services_of_systemd() -> list[str]:
    """Return the texts of the units of Prefect's server and of the roles."""
    return [(SYSTEMD / name).read_text(encoding="utf-8") for name in SERVICES]


def settings_of(unit: str) -> dict[str, str]:
    """Return the environment that stands in a unit itself."""
    return dict(line.split("=", 1) for line in re.findall(r"(?m)^Environment=(.*)$", unit))


@pytest.mark.parametrize("name", ["README.md", "QUICKSTART.md"])
def test_whoever_adds_the_bot_to_a_group_was_told_that_it_is_silent_there(name: str) -> None:
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    assert re.search(r"The bot is for private chats[:;] in a group it says so once and is then silent\.", text)


def test_the_units_of_systemd_start_what_there_is_and_show_no_secret() -> None:
    units = services_of_systemd()
    commands = [shlex.split(command) for unit in units for command in re.findall(r"(?m)^ExecStart=(.*)$", unit)]
    assert [command[1:] for command in commands] == [["-m", "local.prefect_server"], ["main.py", "%i"]]
    target = (SYSTEMD / "quiz.target").read_text(encoding="utf-8")
    assert set(re.findall(r"quiz@([a-z]+)\.service", target)) == {"bot", "worker", "prefect"} <= main.ROLES.keys()
    for unit in units:
        assert re.findall(r"(?m)^PartOf=(.*)$", unit) == ["quiz.target"]
        assert not re.search(r"(?m)^(?:PassEnvironment|SetCredential)=", unit)
        assert not re.search(r"(?i)token|password|auth|secret|_url|@(?!system-service|privileged)", unit)


def test_settings_of_systemd_are_where_the_page_puts_them() -> None:
    text = (ROOT / "DEPLOYMENT.md").read_text(encoding="utf-8")
    written = set(re.findall(r"(?:> |ln -s worker\.env )/etc/quiz/([\w-]+\.env)", text))
    read = {name for unit in services_of_systemd() for name in re.findall(r"EnvironmentFile=-?/etc/quiz/(\S+)", unit)}
    assert written == {"quiz.env", "worker.env", "prefect.env", "prefect-server.env"}
    assert read == {"quiz.env", "%i.env", "prefect-server.env"}


def test_the_units_of_systemd_set_prefect_up_as_the_containers_are() -> None:
    services, (server, role) = compose.services(), map(settings_of, services_of_systemd())
    differs = {"PREFECT_SERVER_UI_STATIC_DIRECTORY"}
    deployed = compose.environment_of(services["prefect-server"])
    assert {name: value for name, value in server.items() if name not in differs}.items() <= deployed.items()
    assert PREFECT_CLIENT.items() <= role.items()


def test_the_units_of_systemd_let_the_sandbox_confine_itself() -> None:
    """Landlock's calls are in no group of systemd 252, and refused they look like a kernel without it."""
    for unit in services_of_systemd():
        allowed = re.findall(r"(?m)^SystemCallFilter=(?!~)(.*)$", unit)[0].split()
        calls = {"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"}
        assert calls <= set(allowed)
        assert "ProcSubset" not in re.sub(r"(?m)^#.*", "", unit)


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """Return the units' files, with programs and a user that are here."""
    for source in SYSTEMD.iterdir():
        text = re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", source.read_text(encoding="utf-8"))
        (tmp_path / source.name.replace("@.", "@bot.")).write_text(text.replace("User=quiz", "User=root"))
    return [str(path) for path in tmp_path.glob("*.service")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_units_of_systemd_are_understood_by_it(installed: list[str]) -> None:
    command = ["systemd-analyze", "verify", "--man=no", *installed]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_of_systemd_is_exposed_as_little_as_one_may_be(name: str) -> None:
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(SYSTEMD / name)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
