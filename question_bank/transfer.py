"""Questions on their way in and out: files in the bank's form (YAML) and tables (CSV)."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from domain.bank import BankEntry
from domain.catalog import OPTION_COUNT, Level, Topic
from question_bank.format import Check, Option, Question, Reference
from question_bank.loader import YAML_LOADER, Bank, Located, Problem, construct, read_document, read_file

_NUMBERS = range(1, OPTION_COUNT + 1)

COLUMNS = (
    *("id", "topic", "level", "form", "prompt", "code", "language"),
    *(f"{part}_{number}" for number in _NUMBERS for part in ("option", "why", "value")),
    *("correct", "explanation", "reference_title", "reference_url", "tags"),
    *("check_engine", "check_setup", "check_run"),
)
"""Of a CSV file; ``docs/question-format.md`` tells what stands in each."""

OPTIONAL_COLUMNS = {"code", "language", *(f"value_{n}" for n in _NUMBERS), "check_engine", "check_setup", "check_run"}

_BREAKS_THAT_YAML_CHANGES = re.compile("[\r\x85\u2028\u2029\ufeff]")
_YAML_WIDTH = 160


# ---------------------------------------------------------------- reading


def read_files(paths: Iterable[Path]) -> Bank:
    """Read files of either form; a folder stands for all files in it.

    Args:
        paths: files ending in ``.yaml``, ``.yml`` or ``.csv``, and folders.

    Returns:
        Every question that keeps the rules for one question, and what is wrong with the others. Never raises for what
        a file says.
    """
    bank = Bank()
    seen: dict[str, Located] = {}
    for path in (file for given in paths for file in _files_of(given)):
        questions, problems = _READERS.get(path.suffix.lower(), _refuse_unknown)(path)
        for located in questions:
            twin = seen.setdefault(located.question.id, located)
            if twin is located:
                bank.questions.append(located)
            else:
                reason = f"id {located.question.id!r} stands also in {twin.path.name}:{twin.line}"
                problems.append(Problem(path, located.line, reason))
        bank.problems.extend(problems)
    return bank


def _files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _READERS) if path.is_dir() else [path]


def _refuse_unknown(path: Path) -> tuple[list[Located], list[Problem]]:
    return [], [Problem(path, 1, f"its name ends in {path.suffix!r}; known: {', '.join(_READERS)}")]


def read_yaml(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read a file in the bank's form; one that holds several topics has a YAML document for each.

    Args:
        path: the YAML file.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        nodes = list(yaml.compose_all(path.read_text(encoding="utf-8"), Loader=YAML_LOADER))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        nodes = []
    if len(nodes) < 2:  # noqa: PLR2004 - the ordinary file, or one whose mistake the loader names
        return read_file(path)
    questions: list[Located] = []
    problems: list[Problem] = []
    for node in nodes:
        document, line = construct(node)
        wrong = [Problem(path, line, "not YAML: this value does not fit its type; quote it if it is text")]
        found, others = ([], wrong) if line else read_document(path, document, node)
        questions += found
        problems += others
    return questions, problems


def read_csv(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read a table with a question in each row; ``docs/question-format.md`` tells its columns.

    Args:
        path: UTF-8 text, with a byte order mark or without.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
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
        if broken:
            problems.append(Problem(path, line, broken))
        elif len(cells) != len(columns):
            problems.append(Problem(path, line, f"has {len(cells)} cells, but the header has {len(columns)}"))
        elif any(cell.strip() for cell in cells):
            found, reasons = _read_row(dict(zip(columns, cells, strict=True)))
            problems += [Problem(path, line, reason) for reason in reasons]
            questions += [Located(question, topic, path, line) for topic, question in found]
    return questions, problems


_READERS: dict[str, Callable[[Path], tuple[list[Located], list[Problem]]]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".csv": read_csv,
}


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
            near = get_close_matches(name, COLUMNS, 1)
            reasons.append(f"unknown column {name!r}" + (f"; is it {near[0]!r}?" if near else ""))
        elif columns.count(name) > 1:
            reasons.append(f"column {name!r} stands {columns.count(name)} times")
    missing = [name for name in COLUMNS if name not in {*columns, *OPTIONAL_COLUMNS}]
    return reasons + ([f"missing columns: {', '.join(missing)}"] if missing else [])


def _read_row(row: Mapping[str, str]) -> tuple[list[tuple[Topic, Question]], list[str]]:
    """Return a row's topic and question, or else what is wrong with it."""
    name = row["id"].strip() or "(no id)"
    topic, right = row["topic"].strip(), row["correct"].strip()
    reasons = []
    if topic not in set(Topic):
        reasons.append(f"{name}: topic: unknown {topic!r}; known: {', '.join(Topic)}")
    if right not in map(str, _NUMBERS):
        reasons.append(
            f"{name}: correct: is {right!r}, but must be the number of the right option, 1 to {OPTION_COUNT}"
        )
        right = "1"  # to find what else is wrong
    try:
        question = Question.model_validate(_fields_of(row, int(right)))
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
        "level": names.get(level.lower(), int(level) if level.isdecimal() else level),
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


# ---------------------------------------------------------------- writing


def question_of(entry: BankEntry) -> Question:
    """Return a stored question in the bank's form.

    Args:
        entry: as stored.

    Raises:
        ValidationError: it does not keep the bank's rules, since it was stored under others.
    """
    stored, check = entry.question, entry.check
    return Question.model_validate(
        {
            "id": stored.key,
            "level": stored.level,
            "form": entry.form,
            "prompt": stored.prompt,
            "code": stored.code,
            "language": stored.language,
            "options": [
                Option(text=option.text, why=option.why, value=option.value, correct=place == stored.correct_index)
                for place, option in enumerate(stored.options)
            ],
            "explanation": stored.explanation,
            "reference": Reference(title=stored.reference_title, url=stored.reference_url),
            "tags": list(entry.tags),
            "check": Check.model_validate({"engine": check.engine, "setup": check.setup, "run": check.run})
            if check
            else None,
        }
    )


def locate_stored(entries: Iterable[BankEntry]) -> tuple[list[Located], list[str]]:
    """Return stored questions in the bank's form, and a line for each that does not keep its rules.

    Args:
        entries: as stored; source and key stand for the file.
    """
    located, problems = [], []
    for entry in entries:
        path = Path(entry.question.source) / entry.question.key
        try:
            located.append(Located(question_of(entry), entry.question.topic, path, 0))
        except ValidationError as error:
            detail = error.errors()[0]
            where = ".".join(map(str, detail["loc"]))
            message = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{path}: {where + ': ' if where else ''}{message}")
    return located, problems


def write_csv(questions: Iterable[Located]) -> str:
    """Return questions as a table, in the form that `read_csv` reads.

    Args:
        questions: in the order of the rows.
    """
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


class _Quoted(str):
    __slots__ = ()


class _Block(str):
    __slots__ = ()


class _Inline(list[str]):
    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes as people write the bank's files: lists indented, long texts as blocks, tags on one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, False)  # noqa: FBT003 - the library's own signature


_Dumper.add_representer(_Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))
_Dumper.add_representer(
    _Inline, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)


def write_yaml(questions: Iterable[Located]) -> str:
    """Return questions in the bank's form: a YAML document for each topic.

    Args:
        questions: in order; those of a topic one after the other.
    """
    documents = [
        {"topic": topic.value, "questions": [_item_of(located.question) for located in group]}
        for topic, group in groupby(questions, key=lambda located: located.topic)
    ]
    options = {"sort_keys": False, "allow_unicode": True, "width": _YAML_WIDTH}
    return "---\n".join(yaml.dump(document, Dumper=_Dumper, **options) for document in documents)  # type: ignore[call-overload]


def _item_of(question: Question) -> dict[str, Any]:
    """Return a question as its file says it: what is absent or by default is left out."""
    check = question.check
    return {
        "id": question.id,
        "level": int(question.level),
        "form": question.form.value,
        "prompt": _paragraph(question.prompt),
        **({"code": _block(f"{question.code}\n")} if question.code else {}),
        **({"language": question.language} if question.language else {}),
        "options": [
            {
                "text": _Quoted(option.text),
                **({"value": _Quoted(option.value)} if option.value is not None else {}),
                **({"correct": True} if option.correct else {}),
                "why": option.why,
            }
            for option in question.options
        ],
        "explanation": _paragraph(question.explanation),
        "reference": {"title": question.reference.title, "url": question.reference.url},
        "tags": _Inline(question.tags),
        **({"check": _check_of(check)} if check else {}),
    }


def _check_of(check: Check) -> dict[str, Any]:
    return {
        "engine": check.engine.value,
        **({"setup": _block(check.setup)} if check.setup else {}),
        **({"run": _block(check.run)} if check.run is not None else {}),
    }


def _paragraph(text: str) -> str:
    """Return a text as a block, with the line end that such blocks have and reading cuts off again."""
    return _block(f"{text}\n") if "\n" in text else text


def _block(text: str) -> str:
    """Return a text as a block, unless YAML would read something else out of one."""
    return _Quoted(text) if _BREAKS_THAT_YAML_CHANGES.search(text) else _Block(text)
