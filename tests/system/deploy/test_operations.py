"""The commands of docs/operations.md print what the page shows, each in the incident that its section is about.

A section's `console` blocks are played in order on a running service (`bad_day.py`). What is not `python main.py`
cannot run here: `OUTSIDE` names each such command with the reason, and what the test does in its place. That a bot's
token is revoked at @BotFather, and that systemd can stand for compose, the page says in sentences alone.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.waiting import until
from tests.system.deploy.bad_day import INCIDENTS, Action, Day, make_room, running_day
from tests.system.deploy.test_monitoring import alerts

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
OURS = "python main.py "
ELLIPSIS = "..."

LOOKING = ("status", "doctor", "replay", "questions list", "questions show")
"""Commands that change nothing: they are repeated until what was done before has had its effect."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page."""

    command: str
    shown: tuple[str, ...]
    """The lines under it."""


def read_steps(section: str) -> Iterator[Step]:
    """Yield the commands of a section."""
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", section):
        for part in re.split(r"(?m)^\$ ", block)[1:]:
            command, *shown = part.splitlines()
            yield Step(command, tuple(shown))


TEXTS = {text.partition("\n")[0]: text for text in re.split(r"(?m)^## ", PAGE)[1:]}
SECTIONS = {title: list(read_steps(text)) for title, text in TEXTS.items()}
COMMANDS = [step.command for steps in SECTIONS.values() for step in steps]

# ---------------------------------------------------------------- what cannot run here


async def _look_only(_: Day) -> None:
    """Change nothing, as the command."""


async def _set_the_database_aside(day: Day) -> None:
    """Run the page's own statements, without psql."""
    [words] = [shlex.split(command) for command in COMMANDS if "RENAME" in command]
    day.sql(*(words[at + 1] for at, word in enumerate(words) if word == "-c"), database="postgres")


NO_ENGINE = "needs a container engine, with which `make test-compose` runs compose"

OUTSIDE: dict[str, tuple[str, Action]] = {
    "docker compose ps --all quiz-worker": (NO_ENGINE, _look_only),
    "docker compose logs --tail 50 quiz-worker": (NO_ENGINE, _look_only),
    "docker compose up -d quiz-worker": (NO_ENGINE, lambda day: day.start("worker")),
    "docker compose up -d": (NO_ENGINE, Day.start),
    "docker compose stop quiz-bot quiz-worker prefect-worker": (NO_ENGINE, Day.stop),
    r"docker compose exec postgres psql -U postgres -c '\l+'": (NO_ENGINE, _look_only),
    "docker image prune --all": ("would remove what is not the test's", make_room),
    next(filter(re.compile("RENAME").search, COMMANDS)): (NO_ENGINE, _set_the_database_aside),
}
"""Why a command cannot run, and what the test does in its place."""


def test_a_command_of_the_page_is_run_here_or_named_as_one_that_cannot_be() -> None:
    assert {command for command in COMMANDS if not command.startswith(OURS)} == set(OUTSIDE)
    assert list(SECTIONS) == list(INCIDENTS)
    silent = [step.command for steps in SECTIONS.values() for step in steps if not step.shown]
    assert set(silent) <= set(OUTSIDE)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_section_begins_with_alerts_that_there_are(title: str) -> None:
    told = TEXTS[title].split("\n\n")[1]
    assert re.match(r"Alerts?: (?:`Quiz\w+`|none)", told)
    assert set(re.findall(r"Quiz[A-Z]\w+", TEXTS[title])) <= {rule["alert"] for rule in alerts()}


# ---------------------------------------------------------------- what is shown, and what is printed


def plain(line: str) -> str:
    """Return a line without what differs from one day to the next: numbers, times, and the width of a table."""
    line = re.sub(r"\d+(?:[-:.]\d+)*", "0", line)
    return " ".join(re.sub(r"\b0 (?:s|min|h|d)(?: 0 (?:s|min|h))?\b", "0 s", line).split())


def find_difference(shown: tuple[str, ...], printed: str) -> str | None:
    """Return the first line of the page that was not printed where it stands, or one too many."""
    left, skips = [plain(line) for line in printed.splitlines() if line.strip()], False
    for line in shown:
        if line == ELLIPSIS:
            skips = True
            continue
        place = left.index(plain(line)) if plain(line) in left else None
        if place is None or (place and not skips):
            return line
        left, skips = left[place + 1 :], False
    return None if skips or not left else left[0]


@pytest.mark.parametrize(
    ("shown", "printed", "difference"),
    [
        (("a 1 s", "..."), "a 2 min 3 s\nb", None),
        (("...", "c"), "a\nb\nc", None),
        (("a",), "a\nb", "b"),
        (("a", "c"), "a\nb\nc", "c"),
        (("...", "c", "a"), "a\nb\nc", "a"),
        (("1 is wrong",), "nothing is wrong", "1 is wrong"),
    ],
)
def test_a_difference_is_found(shown: tuple[str, ...], printed: str, difference: str | None) -> None:
    assert find_difference(shown, printed) == difference


@pytest.fixture(scope="module")
async def day(data_folder: Path, bank_folder: Path) -> AsyncIterator[Day]:
    """Yield a service of which nothing is wrong; each section leaves it so."""
    folder = data_folder / "day"
    folder.mkdir()
    async with running_day(folder, bank_folder) as day:
        yield day


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.prefect
@pytest.mark.parametrize("title", SECTIONS)
async def test_what_a_section_shows_is_what_is_printed(day: Day, title: str) -> None:
    incident = INCIDENTS[title]
    after, day.waiting = dict(incident.after), await day.new_learner()
    day.names["1003"] = str(day.waiting.id)
    await incident.begin(day)
    for step in SECTIONS[title]:
        if step.command in OUTSIDE:
            await OUTSIDE[step.command][1](day)
        else:
            await _compare(day, step)
        if then := after.pop(step.command, None):
            await then(day)
    await incident.end(day)


async def _compare(day: Day, step: Step) -> None:
    told = ""

    async def agrees() -> bool:
        nonlocal told
        told = await day.run(step.command)
        return find_difference(step.shown, told) is None

    def describe() -> str:
        return f"`{step.command}`: {find_difference(step.shown, told)!r} differs; it printed:\n{told}"

    if step.command.removeprefix(OURS).startswith(LOOKING):
        await until(agrees, describe)
    else:
        assert await agrees(), describe()
