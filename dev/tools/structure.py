"""`make structure`: writes PROJECT_STRUCTURE.md from the first lines and the imports of the files.

With `--check` it changes nothing and fails when the file is not what it would write.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from dev.tools.pages import write_or_check

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "PROJECT_STRUCTURE.md"

ENTRY_MODULES = {
    "main": "roles",
    "prefect_flows": "flows",
    "telegram_bot": "bot",
    "quiz_generator": "question_sources",
    "difficulty_adapter": "adaptation",
    "repository": "storage",
}
"""Modules at the top, each the entry to a package."""

OTHER = {
    "schema.sql": "the whole schema and a starter bank; runs by itself on the first start",
    "storage/queries.sql": "every query of the service, named and described",
    "storage/migrations/": "forward migrations in plain SQL, applied once each, in order of their names",
    "question_bank/questions/": "the questions: a folder for each topic, a YAML file for each level",
    "dev/": "what does not ship: benchmarks, drills, fuzzing, and the tools that write pages",
    "tests/": "start with the four files at the top of it, then `unit`, `integration`, `system` and `dev`",
    "deploy/, docker-compose.yml, Dockerfile, prefect.yaml": "how it is deployed and watched",
    "docs/decisions/": "why it is built so, and what was turned down",
    "docs/operations.md": "what an operator does on a bad day, each command run by a test",
    "docs/glossary.md": "the words that code and pages use",
    ".env.example": "every setting with its default",
    ".dockerignore": "names the product's folders, for the image, the Makefile, this page and the test of imports",
}

BEGIN = {
    "an update's way": "`roles/webhook.py`, `roles/intake.py`, `roles/worker.py`, `telegram_bot.py`",
    "a daily quiz's way": "`prefect_flows.py`, `quizzes/delivery.py`, `quiz_generator.py`, `bot/client.py`",
    "an answer's way": "`roles/worker.py`, `flows/standing_run.py`, `quizzes/grading.py`, `difficulty_adapter.py`",
    "a new command, question source, metric or flow": "[CONTRIBUTING.md](CONTRIBUTING.md#common-changes)",
}


def product_folders() -> list[str]:
    """Return the names of the folders that ship."""
    return re.findall(r"^!([a-z_]+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)


def files_of_product() -> Iterator[Path]:
    """Yield every Python file that ships."""
    yield from sorted(ROOT.glob("*.py"))
    for folder in product_folders():
        yield from sorted((ROOT / folder).rglob("*.py"))


def part_of(path: Path) -> str:
    """Return the top folder of a file, or the name of a module at the top."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports() -> dict[str, set[str]]:
    """Return for each top-level module and package those that it imports."""
    files = list(files_of_product())
    found: dict[str, set[str]] = {part_of(path): set() for path in files}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            part = part_of(path)
            found[part] |= {name.split(".")[0] for name in names} & set(found) - {part}
    return found


def first_line(part: str) -> str:
    """Return the first line of a top-level module's or package's docstring."""
    module, package = ROOT / f"{part}.py", ROOT / part / "__init__.py"
    text = (module if module.exists() else package).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def render() -> str:
    """Return the page."""
    parts = imports()
    order = list(TopologicalSorter({part: sorted(parts[part]) for part in sorted(parts)}).static_order())[::-1]
    lines = [
        "# Project structure",
        "",
        "Written by `make structure`; `make lint` fails when it is not true. A module or package imports only what is "
        "below it. "
        "Six of the modules at the top are the entry to a package each: "
        + ", ".join(f"`{module}.py` into `{package}/`" for module, package in ENTRY_MODULES.items())
        + "; `wiring.py` is the one place where everything is put together.",
        "",
        "| module or package | what it is for | imports |",
        "| --- | --- | --- |",
    ]
    for part in order:
        name = f"{part}.py" if (ROOT / f"{part}.py").exists() else f"{part}/"
        below = ", ".join(other for other in order if other in parts[part])
        lines.append(f"| `{name}` | {first_line(part)} | {below} |")
    lines += ["", "## Beside the code", "", "| place | what it is |", "| --- | --- |"]
    lines += [f"| {', '.join(f'`{one}`' for one in name.split(', '))} | {about} |" for name, about in OTHER.items()]
    lines += ["", "## Where to begin", "", "| to follow | read, in this order |", "| --- | --- |"]
    lines += [f"| {what} | {where} |" for what, where in BEGIN.items()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page, and return the exit status."""
    return write_or_check(TARGET, render(), arguments, "make structure")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
