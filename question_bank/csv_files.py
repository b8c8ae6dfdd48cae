"""Questions as tables (CSV), for those who write them in a spreadsheet; `docs/question-format.md` tells the columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from domain.catalog import OPTION_COUNT, Level, Topic
from question_bank.format import BankQuestion
from question_bank.loader import MAX_PROBLEMS, TOO_MANY, Located, Problem, in_short, read_bounded

_NUMBERS = range(1, OPTION_COUNT + 1)

COLUMNS = (
    *("id", "topic", "level", "form", "prompt", "code", "language"),
    *(f"{part}_{number}" for number in _NUMBERS for part in ("option", "why", "value")),
    *("correct", "explanation", "reference_title", "reference_url", "tags"),
    *("check_engine", "check_setup", "check_run"),
)
"""Of a CSV file; ``docs/question-format.md`` tells what stands in each."""

OPTIONAL_COLUMNS = {"code", "language", *(f"value_{n}" for n in _NUMBERS), "check_engine", "check_setup", "check_run"}

_SHORT_NUMBER = re.compile(r"\d{1,3}")


def read_csv(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read a table with a question in each row; ``docs/question-format.md`` tells its columns.

    Args:
        path: UTF-8 text, with a byte order mark or without.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        text = read_bounded(path).decode("utf-8-sig")
    except OSError as error:
        return [], [Problem(path, 1, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return [], [Problem(path, line, "is not UTF-8 text; save it as `CSV UTF-8`")]
    rows = _rows_of(text)
    _, header, wrong = next(rows, (1, [], "the file is empty"))
    columns = [name.strip().lower() for name in header]
    reasons = [wrong] if wrong else _problems_of_header(columns)
    if reasons:
        return [], [Problem(path, 1, reason) for reason in reasons]
    questions: list[Located] = []
    problems: list[Problem] = []
    for line, cells, broken in rows:
        if len(problems) >= MAX_PROBLEMS:
            problems.append(Problem(path, line, TOO_MANY))
            break
        if broken:
            problems.append(Problem(path, line, broken))
        elif len(cells) != len(columns):
            problems.append(Problem(path, line, f"has {len(cells)} cells, but the header has {len(columns)}"))
        elif any(cell.strip() for cell in cells):
            found, reasons = _read_row(dict(zip(columns, cells, strict=True)))
            problems += [Problem(path, line, reason) for reason in reasons]
            questions += [Located(question, topic, path, line) for topic, question in found]
    return questions, problems


def _rows_of(text: str) -> Iterator[tuple[int, list[str], str | None]]:
    """Yield for each row the line it begins on, its cells, and what is wrong when the rest cannot be read."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        begin = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield begin, [], f"not CSV, so nothing is read from here on: {error}"
            return
        if cells:
            yield begin, [cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells], None


def _problems_of_header(columns: Sequence[str]) -> list[str]:
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        return ["columns must be separated by commas"]
    reasons = []
    for name in dict.fromkeys(columns):
        if name not in COLUMNS:
            near = get_close_matches(in_short(name), COLUMNS, 1)
            reasons.append(f"unknown column {in_short(name)!r}" + (f"; is it {near[0]!r}?" if near else ""))
        elif columns.count(name) > 1:
            reasons.append(f"column {name!r} stands {columns.count(name)} times")
    missing = [name for name in COLUMNS if name not in {*columns, *OPTIONAL_COLUMNS}]
    return reasons + ([f"missing columns: {', '.join(missing)}"] if missing else [])


def _read_row(row: Mapping[str, str]) -> tuple[list[tuple[Topic, BankQuestion]], list[str]]:
    """Return a row's topic and question, or else what is wrong with it."""
    name = in_short(row["id"].strip()) or "(no id)"
    topic, right = row["topic"].strip(), row["correct"].strip()
    reasons = []
    if topic not in set(Topic):
        reasons.append(f"{name}: topic: unknown {in_short(topic)!r}; known: {', '.join(Topic)}")
    if right not in map(str, _NUMBERS):
        reasons.append(
            f"{name}: correct: is {in_short(right)!r}, but must be the number of the right option, 1 to {OPTION_COUNT}"
        )
        right = "1"  # to find what else is wrong
    try:
        question = BankQuestion.model_validate(_fields_of(row, int(right)))
    except ValidationError as error:
        for detail in error.errors():
            message = detail["msg"].removeprefix("Value error, ")
            column = _column_of(detail["loc"])
            reasons.append(f"{name}: {column}: {message}" if column else f"{name}: {message}")
        return [], reasons
    return ([], reasons) if reasons else ([(Topic(topic), question)], [])


def _fields_of(row: Mapping[str, str], right: int) -> dict[str, Any]:
    level = row["level"].strip()
    names = {known.name.lower(): known.value for known in Level}
    engine = row.get("check_engine", "").strip()
    setup, run = row.get("check_setup", ""), row.get("check_run", "")
    return {
        "id": row["id"].strip(),
        "level": names.get(level.lower(), int(level) if _SHORT_NUMBER.fullmatch(level) else level),
        "form": row["form"].strip(),
        "prompt": row["prompt"],
        "code": row.get("code") or None,
        "language": row.get("language", "").strip(),
        "options": [
            {
                "text": row[f"option_{number}"],
                "why": row[f"why_{number}"],
                "correct": number == right,
                "value": row.get(f"value_{number}") or None,
            }
            for number in _NUMBERS
        ],
        "explanation": row["explanation"],
        "reference": {"title": row["reference_title"], "url": row["reference_url"].strip()},
        "tags": [tag.strip() for tag in row["tags"].split(";") if tag.strip()],
        "check": {"engine": engine, "setup": setup, "run": run or None} if engine or setup or run else None,
    }


def _column_of(location: tuple[int | str, ...]) -> str:
    """Return the column that a value of a question came from, as pydantic names its place."""
    match location:
        case ("options", int(place), "text"):
            return f"option_{place + 1}"
        case ("options", int(place), part):
            return f"{part}_{place + 1}"
        case ("tags", *_):
            return "tags"
        case _:
            return "_".join(map(str, location))


def write_csv(questions: Iterable[Located]) -> str:
    """Return questions as a table, in the form that `read_csv` reads."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for located in questions:
        question, check = located.question, located.question.check
        row: dict[str, object] = {
            "id": question.id,
            "topic": located.topic,
            "level": int(question.level),
            "form": question.form,
            "prompt": question.prompt,
            "code": question.code,
            "language": question.language,
            "correct": question.correct_index + 1,
            "explanation": question.explanation,
            "reference_title": question.reference.title,
            "reference_url": question.reference.url,
            "tags": ";".join(question.tags),
        }
        for number, option in zip(_NUMBERS, question.options, strict=True):
            row |= {f"option_{number}": option.text, f"why_{number}": option.why, f"value_{number}": option.value}
        if check:
            row |= {"check_engine": check.engine, "check_setup": check.setup, "check_run": check.run}
        writer.writerow(row)
    return text.getvalue()
