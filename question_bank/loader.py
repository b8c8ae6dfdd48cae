"""Reads the bank's YAML files and says, for each thing that is wrong, in which file, on which line and why."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from domain.catalog import Topic
from domain.errors import first_line
from question_bank.format import BankQuestion

Location = tuple[int | str, ...]
"""Keys and places from the top of a document down to a value, as pydantic reports them."""

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster, where the wheel has it

MAX_FILE_BYTES = 10_000_000
MAX_DEPTH = 20
"""Of lists and mappings within each other; a question needs 5."""
MAX_PROBLEMS = 1000
"""Told of one document."""
TOO_MANY = "too many problems, so nothing is read from here on"
MAX_EVENTS = 500_000
"""Of the parser in one file, for its values take far more memory than its text: some thousands of questions."""
MAX_SHOWN = 60
MAX_REASON = 500

BANK_FOLDER = Path(__file__).parent / "questions"


@dataclass(frozen=True, slots=True)
class Located:
    """A question with the topic it stands under and the place it was read from."""

    question: BankQuestion
    topic: Topic
    path: Path
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the bank."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        """Return the problem as compilers print theirs, so that editors can jump to it."""
        return f"{place_of(self.path, self.line)}: {self.reason}"


def place_of(path: Path, line: int) -> str:
    """Return where something stands, as compilers write it.

    Args:
        line: 0 for what stands in no file.
    """
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}{f':{line}' if line else ''}"


@dataclass(slots=True)
class Bank:
    """What could be read, and what could not."""

    questions: list[Located] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_bank(folder: Path = BANK_FOLDER) -> Bank:
    """Read every ``*.yaml`` file below a folder.

    A file that holds any mistake is refused as a whole, since a half-edited file is no state to serve; the other
    files still load.

    Returns:
        The questions of the files that are right, and the problems of those that are not.
    """
    bank = Bank()
    seen: dict[str, Located] = {}
    for path in sorted(folder.rglob("*.yaml")):
        questions, problems = read_file(path)
        for located in questions:
            duplicate = seen.setdefault(located.question.id, located)
            if duplicate is not located:
                reason = f"id {located.question.id!r} stands also in {duplicate.path.name}:{duplicate.line}"
                problems.append(Problem(path, located.line, reason))
        bank.problems.extend(problems)
        if not problems:
            bank.questions.extend(questions)
    return bank


def read_file(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read one file of the bank.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        node = yaml.compose(read_plain_yaml(path), Loader=YAML_LOADER)
        if node is None:
            return [], [Problem(path, 1, "the file is empty")]
        document, line = construct(node)
        if line:
            return [], [Problem(path, line, "not YAML: this value does not fit its type; quote it if it is text")]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        prefix = "" if isinstance(error, NotPlainError) else "not YAML: "
        return [], [Problem(path, line, in_short(f"{prefix}{error.problem}", MAX_REASON))]
    except OSError as error:
        return [], [Problem(path, 1, f"cannot be read: {error.strerror}")]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        return [], [Problem(path, 1, f"cannot be read: {first_line(error)}")]
    return read_document(path, document, node)


class NotPlainError(yaml.MarkedYAMLError):
    """A file uses a feature of YAML that no question needs, and that can make reading it take forever."""


def read_bounded(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        OSError: it cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MAX_FILE_BYTES // 1_000_000} MB; split it", str(path))
    return content


def read_plain_yaml(path: Path) -> str:
    """Return the text of a file whose tree is safe to build, which its events tell before there is a tree.

    Raises:
        OSError: it cannot be read, or is too large.
        UnicodeDecodeError: it is not UTF-8.
        NotPlainError: it nests too deep, holds too much, or uses anchors, aliases, merge keys or tags.
        yaml.YAMLError: it is not YAML.
    """
    text = read_bounded(path).decode("utf-8")
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=YAML_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if reason := _not_plain(event, depth) if count < MAX_EVENTS else "holds too many values; split the file":
            raise NotPlainError(problem=reason, problem_mark=event.start_mark)  # type: ignore[arg-type] # libyaml's marks are alike
    return text


def _not_plain(event: yaml.Event, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"nests more than {MAX_DEPTH} levels deep"
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        return "anchors and aliases (`&`, `*`) are not allowed; write the value out, or quote it if it is text"
    if getattr(event, "tag", None) is not None:
        return "tags (`!`) are not allowed; quote the value if it is text"
    if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
        return "merge keys (`<<`) are not allowed; write the values out, or quote it if it is text"
    return None


def in_short(text: str, limit: int = MAX_SHOWN) -> str:
    """Return the beginning of an untrusted text, which may be long."""
    return text if len(text) <= limit else f"{text[:limit]}..."


def construct(node: yaml.Node) -> tuple[Any, int]:
    """Return the values of a parsed tree, or the line of the first one that cannot be built, which is else 0."""
    try:
        return yaml.constructor.SafeConstructor().construct_document(node), 0
    except Exception:  # noqa: BLE001 - the library lets out whatever a value makes it raise
        return None, next((leaf.start_mark.line + 1 for leaf in _leaves(node) if not _fits(leaf)), 1)


def _leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.ScalarNode):
        yield node
        return
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            yield from _leaves(part)


def _fits(leaf: yaml.Node) -> bool:
    try:
        yaml.constructor.SafeConstructor().construct_document(leaf)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def read_document(path: Path, document: Any, node: yaml.Node) -> tuple[list[Located], list[Problem]]:  # noqa: ANN401
    """Return the questions of a document and its problems."""
    if not isinstance(document, dict) or set(document) != {"topic", "questions"}:
        return [], [Problem(path, 1, "needs `topic` and `questions`, and nothing else at the top")]
    if not isinstance(document["topic"], str):
        return [], [Problem(path, 1, f"unknown topic, since it is no text; known: {', '.join(Topic)}")]
    if document["topic"] not in set(Topic):
        return [], [Problem(path, 1, f"unknown topic {in_short(document['topic'])!r}; known: {', '.join(Topic)}")]
    if not isinstance(document["questions"], list):
        return [], [Problem(path, 1, "`questions` must be a list")]
    topic = Topic(document["topic"])
    questions, problems = [], []
    for place, item in enumerate(document["questions"]):
        location = ("questions", place)
        try:
            question = BankQuestion.model_validate(item)
        except ValidationError as error:
            problems.extend(_problems_of(error, path, item, node, location))
            if len(problems) >= MAX_PROBLEMS:
                problems.append(Problem(path, problems[-1].line, TOO_MANY))
                break
        else:
            questions.append(Located(question, topic, path, _line_of(node, location)))
    return questions, problems


def _problems_of(
    error: ValidationError, path: Path, item: object, node: yaml.Node, location: Location
) -> list[Problem]:
    name = item.get("id", "(no id)") if isinstance(item, dict) else "(not a mapping)"
    name = in_short(name) if isinstance(name, str) else "(id is not text)"
    problems = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        reason = in_short(f"{name}: {where + ': ' if where else ''}{message}", MAX_REASON)
        problems.append(Problem(path, _line_of(node, location + detail["loc"]), reason))
    return problems


def _line_of(node: yaml.Node, location: Location) -> int:
    """Follow a location down the YAML tree, as far as the file has it; lines count from 1."""
    line = node.start_mark.line
    for part in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        elif isinstance(node, yaml.MappingNode) and (pair := _pair(node, part)):
            line, node = pair[0].start_mark.line, pair[1]
        else:
            break
    return line + 1


def _pair(node: yaml.MappingNode, key: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    return next((pair for pair in node.value if pair[0].value == key), None)
