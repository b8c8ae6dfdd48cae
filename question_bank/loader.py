"""Reads the bank's YAML files and says, for each thing that is wrong, in which file, on which line and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from domain.catalog import Topic
from question_bank.format import Question

Location = tuple[int | str, ...]
"""Keys and places from the top of a document down to a value, as pydantic reports them."""

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster, where the wheel has it

BANK_FOLDER = Path(__file__).parent / "questions"


@dataclass(frozen=True, slots=True)
class Located:
    """A question with the topic it stands under and the place it was read from."""

    question: Question
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
        return f"{self.path.parent.name}/{self.path.name}:{self.line}: {self.reason}"


@dataclass(slots=True)
class Bank:
    """What could be read, and what could not."""

    questions: list[Located] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_bank(folder: Path = BANK_FOLDER) -> Bank:
    """Read every ``*.yaml`` file below a folder.

    A file that holds any mistake is refused as a whole, since a half-edited file is no state to serve; the other
    files still load.

    Args:
        folder: where the files are.

    Returns:
        The questions of the files that are right, and the problems of those that are not.
    """
    bank = Bank()
    seen: dict[str, Located] = {}
    for path in sorted(folder.rglob("*.yaml")):
        questions, problems = read_file(path)
        for located in questions:
            twin = seen.setdefault(located.question.id, located)
            if twin is not located:
                reason = f"id {located.question.id!r} stands also in {twin.path.name}:{twin.line}"
                problems.append(Problem(path, located.line, reason))
        bank.problems.extend(problems)
        if not problems:
            bank.questions.extend(questions)
    return bank


def read_file(path: Path) -> tuple[list[Located], list[Problem]]:
    """Read one file of the bank.

    Args:
        path: the YAML file.

    Returns:
        Its questions and its problems; never raises for what the file says.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=YAML_LOADER)
        if node is None:
            return [], [Problem(path, 1, "the file is empty")]
        document, line = construct(node)
        if line:
            return [], [Problem(path, line, "not YAML: this value does not fit its type; quote it if it is text")]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return [], [Problem(path, line, f"not YAML: {error.problem}")]
    except (UnicodeDecodeError, yaml.YAMLError, OSError) as error:
        return [], [Problem(path, 1, f"cannot be read: {error}")]
    return read_document(path, document, node)


def construct(node: yaml.Node) -> tuple[Any, int]:
    """Return the values of a parsed tree, or the line of the first one that cannot be built, which is else 0.

    Args:
        node: a parsed YAML document.
    """
    try:
        return yaml.constructor.SafeConstructor().construct_document(node), 0
    except (ValueError, TypeError, AttributeError):
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
    except (ValueError, TypeError, AttributeError, yaml.constructor.ConstructorError):
        return False
    return True


def read_document(path: Path, document: Any, node: yaml.Node) -> tuple[list[Located], list[Problem]]:  # noqa: ANN401
    """Return the questions of a document and its problems.

    Args:
        path: the file that it stands in.
        document: its values.
        node: its parsed tree, for the lines.
    """
    if not isinstance(document, dict) or set(document) != {"topic", "questions"}:
        return [], [Problem(path, 1, "needs `topic` and `questions`, and nothing else at the top")]
    if not isinstance(document["topic"], str) or document["topic"] not in set(Topic):
        return [], [Problem(path, 1, f"unknown topic {document['topic']!r}; known: {', '.join(Topic)}")]
    if not isinstance(document["questions"], list):
        return [], [Problem(path, 1, "`questions` must be a list")]
    topic = Topic(document["topic"])
    questions, problems = [], []
    for place, item in enumerate(document["questions"]):
        location = ("questions", place)
        try:
            question = Question.model_validate(item)
        except ValidationError as error:
            problems.extend(_problems_of(error, path, item, node, location))
        else:
            questions.append(Located(question, topic, path, _line_of(node, location)))
    return questions, problems


def _problems_of(
    error: ValidationError, path: Path, item: object, node: yaml.Node, location: Location
) -> list[Problem]:
    name = item.get("id", "(no id)") if isinstance(item, dict) else "(not a mapping)"
    problems = []
    for detail in error.errors():
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        reason = f"{name}: {where + ': ' if where else ''}{message}"
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
