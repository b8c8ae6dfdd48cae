"""From outcomes to a table on the terminal, to reliability.json and to reliability.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dev.benchmarks.numbers import Figures
from dev.benchmarks.report import describe_run, read_figures
from dev.chaos.drill import Outcome, Size

FIGURES = "reliability.json"
PAGE = "reliability.md"
COLUMNS = ("fault", "first reply, s", "well, s", "accepted", "processed", "lost", "doubled", "copies", "replay")

_HEAD = """\
# Reliability

Written by `make chaos`; the figures behind it are in `reliability.json`. One fault at a time is
done to the real servers and roles, while learners answer questions and a daily distribution is in the middle of its
batch. Afterwards every stored answer is replayed (`python main.py replay`).

| column | what it says |
| --- | --- |
| first reply | seconds from the end of the fault until Telegram took the bot's next message |
| well | seconds from the end of the fault until everything that began before it is done: each update handled, each \
quiz in its chat, each answer graded and told, each learner who was due served; the load goes on meanwhile |
| accepted | updates that the webhook answered with 200, from the beginning of the drill to its end |
| processed | those of them that were handled |
| lost | accepted and not handled, and learners who were due and have no quiz |
| doubled | answers graded twice and learners with two daily quizzes |
| copies | daily questions that stand in a chat twice, because nobody could know that the first had arrived; both \
carry the same quiz, and it is answered once |
| replay | what a replay of every stored answer, tap and day found not to be as it should |

What is killed is started again by the service's own supervisor (`local/supervisor.py`); servers come back at the end of
the fault. Nothing else is done by hand.
"""

_LIMITS = """\
What this does not show:

- A disk that is really full or read-only: PostgreSQL's errors for these are raised instead.
- Machines that fail, and networks between them: everything runs on one machine.
- How long a killed distribution waits for the next one: the schedule runs every minute here, by default every 15.
"""


def run_figures(size: Size, *, quick: bool) -> Figures:
    """Return when and where a drill begins, and how much happens in it."""
    load = {"people": size.people, "per_second": size.per_second, "cohort": size.cohort}
    return describe_run(quick=quick) | {"load": load}


def read(folder: Path) -> Figures:
    """Return the outcomes of earlier runs, so that one fault can be tried again alone."""
    return read_figures(folder, FIGURES)


def write(folder: Path, figures: Mapping[str, Any]) -> None:
    """Write figures and page.

    Args:
        figures: by the fault's name in the order of the table, each with its ``run`` and its ``result``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(render(figures), encoding="utf-8")


def render(figures: Mapping[str, Any]) -> str:
    """Return the page of what `write` takes."""
    rows = [row(name, one["result"]) for name, one in figures.items()]
    lines = [_HEAD, *_where(figures), f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    lines += ["", "What was done:", ""]
    lines += [f"- `{name}`: {_told(one['result'])}" for name, one in figures.items()]
    bad = [f"- `{name}`: {line}" for name, one in figures.items() for line in one["result"]["deviations"]]
    lines += ["", "What was not as it should be:", "", *bad] if bad else []
    return "\n".join([*lines, "", _LIMITS])


def _where(figures: Mapping[str, Any]) -> list[str]:
    """Return a line for each run that the outcomes come from."""
    runs: dict[str, list[str]] = {}
    for name, one in figures.items():
        run, machine = one["run"], one["run"]["machine"]
        load = run["load"]
        quick = " **At quick size: this shows that the drills run.**" if run["quick"] else ""
        line = (
            f"Taken {run['at']} on {machine['cores']} cores with {machine['memory_gb']} GB ({machine['system']}), load "
            f"average {run['load_before']:g} before the start; {load['people']} learners at work, "
            f"{load['per_second']:g} actions a second, {load['cohort']} learners due; Python {machine['python']}, "
            f"PostgreSQL {machine['postgres']}, Prefect {machine['prefect']}.{quick}"
        )
        runs.setdefault(line, []).append(f"`{name}`")
    if len(runs) == 1:
        return [*runs, ""]
    return [part for line, names in runs.items() for part in (f"{', '.join(names)}: {line}", "")]


def _told(result: Mapping[str, Any]) -> str:
    remarks = f" ({'; '.join(result['remarks'])})" if result["remarks"] else ""
    return f"{result['about']}{remarks}"


def row(name: str, result: Mapping[str, Any]) -> list[str]:
    """Return a fault's cells."""

    def seconds(value: float | None) -> str:
        return "–" if value is None else f"{value:.1f}"

    counts = result["count"]
    return [
        name,
        seconds(result["first_reply_seconds"]),
        seconds(result["well_seconds"]),
        *(f"{counts[column]}" for column in ("accepted", "processed")),
        *(f"{counts[column]}" if not counts[column] else f"**{counts[column]}**" for column in ("lost", "doubled")),
        str(result["copies"]),
        f"**{len(result['deviations'])} lines**" if result["deviations"] else "as it should be",
    ]


def show(console: Console, outcomes: Mapping[str, Outcome]) -> None:
    """Print the table, and below it what is not as it should be."""
    table = Table(*COLUMNS)
    for name, outcome in outcomes.items():
        cells = row(name, outcome.figures())
        table.add_row(*(cell.replace("**", "") for cell in cells), style=None if outcome.is_good else "red")
    console.print(table)
    for name, outcome in outcomes.items():
        for line in outcome.deviations:
            console.print(f"{name}: {line}", style="red", highlight=False)
