"""`make structure`: writes PROJECT_STRUCTURE.md from the files' own first lines and imports.

With `--check` it changes nothing and fails when the file is not what it would write.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "PROJECT_STRUCTURE.md"
FOLDERS = (
    "domain",
    "adaptation",
    "bot",
    "sql",
    "question_bank",
    "llm",
    "desk",
    "local",
    "observability",
    "simulator",
    "benchmarks",
    "chaos",
    "fuzz",
    "tools",
    "tests",
)
OTHER = {
    "schema.sql": "The whole schema and a starter bank; safe to run twice; runs by itself on first start.",
    "sql/queries.sql": "Every query of the service, named and described.",
    "sql/migrations/": "Forward migrations in plain SQL, applied once each, in order of their names.",
    "question_bank/questions/": "The questions: a folder a topic, a YAML file a level.",
    "simulator/static/": "The chat page: one HTML file, its style and its script.",
    "deploy/": "Prometheus and Grafana.",
    "docs/decisions/": "Why it is built so, a page a decision, with what was turned down.",
    "docker-compose.yml": "The service and its servers as containers.",
    "Dockerfile": "One image for every role.",
    "prefect.yaml": "The deployments, for `prefect deploy --all`.",
    ".env.example": "Every setting with its default.",
    "requirements.in, requirements-dev.in": "What the service, and its tests, run on; `make lock` pins and hashes it.",
    "requirements-bench.in": "What `make bench-adaptivity` needs on top.",
    ".ci/run": "What continuous integration runs.",
}
PARTS = (
    *("main", "webhook", "worker", "refill_flow", "prefect_flows", "question_desk", "telegram_bot", "services"),
    *("quiz_upkeep", "quiz_reports", "quiz_grading", "quiz_session", "quiz_generator", "difficulty_adapter", "llm"),
    *(
        "question_picker",
        "adaptation",
        "repository",
        "desk",
        "bot",
        "sql",
        "question_bank",
        "observability",
        "local",
        "domain",
    ),
)


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring.

    Args:
        path: a Python file.
    """
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def part_of(path: Path) -> str:
    """Return the part that a file belongs to: its top folder, or its name.

    Args:
        path: a Python file.
    """
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def arrows() -> dict[str, set[str]]:
    """Return for each part the parts that it imports."""
    found: dict[str, set[str]] = {part: set() for part in PARTS}
    for path in [*ROOT.glob("*.py"), *(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))]:
        part = part_of(path)
        if part not in found:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            found[part] |= {name.split(".")[0] for name in names} & set(PARTS) - {part}
    return found


def render() -> str:
    """Return the page."""
    lines = [
        "# What is where",
        "",
        "Written by `make structure` from the files' own first lines and imports; a test holds it to them.",
        "",
        "## The parts and what they import",
        "",
        "`main → prefect_flows, worker, webhook → telegram_bot → quiz_session → quiz_generator, difficulty_adapter,",
        "repository → domain`; nothing imports against that order, and the product never imports the simulator.",
        "",
        "| part | imports |",
        "| --- | --- |",
    ]
    lines += [f"| `{part}` | {', '.join(f'`{p}`' for p in PARTS if p in names)} |" for part, names in arrows().items()]
    lines += ["", "## Top level", "", "| file | what it is |", "| --- | --- |"]
    lines += [f"| `{path.name}` | {first_line(path)} |" for path in sorted(ROOT.glob("*.py"))]
    lines += [f"| `{name}` | {about} |" for name, about in OTHER.items()]
    for folder in FOLDERS:
        lines += ["", f"## {folder}/", "", first_line(ROOT / folder / "__init__.py") or "The tests.", ""]
        lines += ["| file | what it is |", "| --- | --- |"]
        files = sorted(p for p in (ROOT / folder).rglob("*.py") if p.name != "__init__.py")
        lines += [f"| `{path.relative_to(ROOT)}` | {first_line(path)} |" for path in files]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page.

    Args:
        arguments: of the command line.

    Returns:
        The exit status.
    """
    text = render()
    if "--check" not in arguments:
        TARGET.write_text(text, encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != text:
        print("PROJECT_STRUCTURE.md is not what the files say: run `make structure`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
