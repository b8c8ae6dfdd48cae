"""Files that are made to kill or to stop whoever reads them: each is refused in a few short lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from question_bank.csv_files import COLUMNS
from question_bank.transfer import read_files
from tests.conftest import ROOT

TOP = "topic: streaming\nquestions:\n"
DAG = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
HUGE = f"0x{'f' * 20_000}"
FILES = {
    "open lists": ("topic: " + "[" * 200_000, 1, "nests more than 20 levels"),
    "lists in lists": ("- " * 100_000 + "x", 1, "nests more than 20 levels"),
    "keys in keys": ("? " * 100_000, 1, "nests more than 20 levels"),
    "depth in a later document": (f"{TOP} []\n---\n" + "[" * 200_000, 5, "nests more than 20 levels"),
    "aliases as topic": (f"{DAG}topic: *a9\n", 1, "anchors and aliases"),
    "an alias of itself": ("topic: &a [*a, 2020-13-45]", 1, "anchors and aliases"),
    "an alias in a text": ("topic: !!str &a {=: *a}", 1, "anchors and aliases"),
    "an alias of nothing": ("\ntopic: *a", 2, "anchors and aliases"),
    "merge keys": ("topic: x\n<<: {a: b}", 2, "merge keys"),
    "an empty number": ("topic: !!int ''", 1, "tags"),
    "no number": ("topic: !!int '_'", 1, "tags"),
    "an empty fraction": ("topic: !!float ''", 1, "tags"),
    "no truth": ("topic: !!bool 'x'", 1, "tags"),
    "a number without digits": ("topic: 0x_", 1, "does not fit its type"),
    "a number without digits in a later document": (f"{TOP} []\n---\ntopic: 0x_", 5, "does not fit its type"),
    "a huge number as topic": (f"topic: {HUGE}\nquestions: []", 1, "unknown topic, since it is no text"),
    "a huge number as level": (f"{TOP}- level: {HUGE}", 3, ""),
    "a huge number as id": (f"{TOP}- id: {HUGE}", 3, "(id is not text): id: "),
    "a huge number as text": (f"{TOP}- options:\n  - text: {HUGE}", 3, "options.0.text: "),
    "a huge number as key": (f"{TOP}- {HUGE}: x", 3, ""),
    "a long topic": (f"topic: {'x' * 1_000_000}\nquestions: []", 1, "unknown topic 'xxx"),
    "a long id": (f"{TOP}- id: {'x' * 1_000_000}", 3, "xxx"),
    "a long key": (f"{TOP}- {'x' * 1_000}: x", 3, "x" * 400),
    "a long list as text": (f"{TOP}- options:\n  - text: [{'x, ' * 20_000}]", 3, "is a list"),
    "a large file": ("# padding\n" * 1_000_001, 1, "larger than 10 MB"),
    "many values": (TOP + "- {id: a}\n" * 900_000, 125_001, "too many values"),
    "many documents": ("--- []\n" * 10_000, 1, "too many problems"),
    "many mistakes": (TOP + "- {}\n" * 20_000, 3, "too many problems"),
}
READ = """
import sys
from pathlib import Path
from question_bank.transfer import read_files
for name in sys.argv[1:]:
    print(*read_files([Path(name)]).problems, sep="\\n", flush=True)
"""


@pytest.fixture(scope="module")
def told_of(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[str]]:
    """Return what is told of each file, read in a process of their own: a fault may end or stop whoever reads."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [folder / f"{kind}.yaml" for kind in FILES]
    for path, (text, _, _) in zip(paths, FILES.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    read = subprocess.run(
        [sys.executable, "-c", READ, *paths], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    lines = read.stdout.splitlines()
    assert (read.returncode, read.stderr) == (0, ""), lines[-1:]  # of the file before the one that did harm
    return {path: [line for line in lines if line.startswith(f"{path}:")] for path in paths}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_made_to_do_harm_is_refused_in_short_lines(kind: str, told_of: dict[Path, list[str]]) -> None:
    _, line, reason = FILES[kind]
    [(path, told)] = [(path, told) for path, told in told_of.items() if path.stem == kind]
    assert told[0].startswith(f"{path}:{line}: ")
    assert any(reason in each for each in told)
    assert max(map(len, told)) < 1_000
    assert len(told) < 2_000


@pytest.mark.parametrize("level", ["9" * 5_000, "5", "0000"])
def test_a_level_that_is_none_is_told_whatever_its_length(level: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    cells = {"id": "x" * 100_000, "topic": "y" * 100_000, "correct": "z" * 100_000, "level": level}
    path.write_text(f"{','.join(COLUMNS)}\n{','.join(cells.get(name, '') for name in COLUMNS)}\n", encoding="utf-8")
    told = [str(problem) for problem in read_files([path]).problems]
    assert any(": level: " in each for each in told)
    assert max(map(len, told)) < 1_000


def test_a_long_name_of_a_column_is_told_in_short(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("x" * 100_000, encoding="utf-8")
    assert max(len(str(problem)) for problem in read_files([path]).problems) < 1_000


def test_a_table_of_nothing_but_mistakes_is_not_told_in_full(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{','.join(COLUMNS)}\n" + "x\n" * 5_000, encoding="utf-8")
    *_, last = read_files([path]).problems
    assert str(last) == f"{path}:1002: too many problems, so nothing is read from here on"
