"""Questions on their way in and out: from files of either form, and as files in the bank's own (YAML)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from domain.bank import BankEntry
from question_bank.csv_files import read_csv
from question_bank.format import BankQuestion, Check, Option, Reference
from question_bank.loader import (
    MAX_PROBLEMS,
    TOO_MANY,
    YAML_LOADER,
    Bank,
    Located,
    Problem,
    construct,
    read_document,
    read_file,
    read_plain_yaml,
)

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
            duplicate = seen.setdefault(located.question.id, located)
            if duplicate is located:
                bank.questions.append(located)
            else:
                reason = f"id {located.question.id!r} stands also in {duplicate.path.name}:{duplicate.line}"
                problems.append(Problem(path, located.line, reason))
        bank.problems.extend(problems)
    return bank


def _files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in _READERS) if path.is_dir() else [path]


def _refuse_unknown(path: Path) -> tuple[list[Located], list[Problem]]:
    return [], [Problem(path, 1, f"its name ends in {path.suffix!r}; known: {', '.join(_READERS)}")]


def read_yaml(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read a file in the bank's form; one that holds several topics has a YAML document for each.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        nodes = list(yaml.compose_all(read_plain_yaml(path), Loader=YAML_LOADER))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        nodes = []
    if len(nodes) < 2:  # noqa: PLR2004 - the ordinary file, or one whose mistake the loader names
        return read_file(path)
    questions: list[Located] = []
    problems: list[Problem] = []
    for node in nodes:
        if len(problems) >= MAX_PROBLEMS:
            problems.append(Problem(path, node.start_mark.line + 1, TOO_MANY))
            break
        document, line = construct(node)
        wrong = [Problem(path, line, "not YAML: this value does not fit its type; quote it if it is text")]
        found, others = ([], wrong) if line else read_document(path, document, node)
        questions += found
        problems += others
    return questions, problems


_READERS: dict[str, Callable[[Path], tuple[list[Located], list[Problem]]]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".csv": read_csv,
}


# ---------------------------------------------------------------- writing


def question_of(entry: BankEntry) -> BankQuestion:
    """Return a stored question in the bank's form.

    Raises:
        ValidationError: it does not keep the bank's rules, since it was stored under others.
    """
    stored, check = entry.question, entry.check
    return BankQuestion.model_validate(
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
    """Return stored questions in the bank's form, and a line for each that does not keep its rules."""
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


def _item_of(question: BankQuestion) -> dict[str, Any]:
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
