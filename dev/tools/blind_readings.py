"""Puts questions to independent readers without key and level, and writes what they say of them into the files.

    python -m dev.tools.blind_readings draw [FILE ...] [--count N] [--templates] --seed 7 --text T.md --key K.json
    python -m dev.tools.blind_readings judge K.json READER.jsonl ... [--write] [--figures FILE]

Each reader gets the text alone, and answers with a line of JSON for each question. The key stays here.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dev.tools.reading_statistics import Drawn, Figures, Read, Reading, as_json, measure
from domain.catalog import OPTION_COUNT, Level, Topic
from question_bank.executor import Executor
from question_bank.format import MIN_RATINGS, BankQuestion
from question_bank.loader import BANK_FOLDER
from question_bank.templates import TEMPLATES
from question_bank.transfer import read_files

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "readings.json"
LETTERS = "ABCD"

QUESTION = """\
You are a senior data engineer. Answer these quiz questions on your own, from what you know: look nothing up and run
nothing. For each question write one line of JSON, and nothing else:

{"n": 1, "answer": "B", "level": 2, "unclear": "", "guessable": "", "trivia": "", "worth": true}

- n: the number of the question.
- answer: the letter of the right option. Give one even when in doubt.
- level: 1 to 4 by the rubric below, however long the text or the sum is.
- unclear: empty, unless you had to read it again to know what is asked, the answer depends on a fact that is not
  given, or a second option is as good as yours; then say which.
- guessable: empty, unless the form of the options gives the answer away to somebody who knows nothing of the subject:
  the longest, the only careful one, the only one that is no nonsense. Evidence that has to be understood is not form.
- trivia: empty, unless it is recall or arithmetic that nobody needs at work; then say what.
- worth: whether answering it and reading why is worth a minute of a senior data engineer's day.
"""
"""What readers are told, word for word; the rubric of `docs/question-format.md` follows it."""


def rubric() -> str:
    """Return the section on levels that readers and authors share."""
    text = (ROOT / "docs" / "question-format.md").read_text(encoding="utf-8")
    return text.split("## Levels\n")[1].split("\n## ")[0].strip()


# ---------------------------------------------------------------- out


def draw(questions: Sequence[BankQuestion], rng: random.Random, count: int | None = None) -> list[BankQuestion]:
    """Return questions in an order that tells nothing, all or some of them.

    Args:
        count: all when None.
    """
    return rng.sample(questions, len(questions) if count is None else min(count, len(questions)))


def shuffle(questions: Iterable[BankQuestion], rng: random.Random) -> list[Drawn]:
    """Number questions from 1, and mix the options of each."""
    drawn = []
    for n, question in enumerate(questions, 1):
        order = tuple(rng.sample(range(OPTION_COUNT), OPTION_COUNT))
        right = LETTERS[order.index(question.correct_index)]
        drawn.append(Drawn(n, question.id, digest_of(question), question.level, order, right))
    return drawn


def digest_of(question: BankQuestion) -> str:
    """Return a digest of what a learner sees before and after the answer, wherever the question stands."""
    same_level = question.model_copy(update={"level": Level.BEGINNER})
    return same_level.content_hash(Topic.DATA_MODELING)


def render(question: BankQuestion, drawn: Drawn) -> str:
    """Return a question as readers get it: prompt, code and options, and nothing else of it."""
    code = ["", f"```{question.language}", question.code, "```"] if question.code else []
    options = [f"{letter}. {question.options[place].text}" for letter, place in zip(LETTERS, drawn.order, strict=True)]
    return "\n".join([f"## {drawn.n}", "", question.prompt.strip(), *code, "", *options])


def _draw(arguments: argparse.Namespace) -> int:
    bank = read_files(arguments.files or [BANK_FOLDER])
    if bank.problems:
        print("\n".join(map(str, bank.problems)))
        return 1
    rng = random.Random(arguments.seed)
    questions = [located.question for located in bank.questions]
    if arguments.templates:
        with Executor() as executor:
            questions += [template.make(arguments.seed, executor) for template in TEMPLATES.values()]
    chosen = draw(questions, rng, arguments.count)
    drawn = shuffle(chosen, rng)
    parts = [QUESTION, rubric(), *(render(question, one) for question, one in zip(chosen, drawn, strict=True))]
    arguments.text.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    key = {"seed": arguments.seed, "drawn": [asdict(one) for one in drawn]}
    arguments.key.write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    print(f"{len(drawn)} questions for readers in {arguments.text}, their key in {arguments.key}")
    return 0


# ---------------------------------------------------------------- in


def collect(drawn: Sequence[Drawn], files: Iterable[Path]) -> tuple[list[Read], list[str]]:
    """Return the questions that were read, with their readings, and a line for each reading that cannot be used.

    Args:
        files: one or more for each reader; a question stands once in each.
    """
    known = {one.n: one for one in drawn}
    readings: dict[int, list[Reading]] = defaultdict(list)
    problems = []
    for path in files:
        seen = set()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                reading = Reading.model_validate_json(line)
            except ValidationError as error:
                detail = error.errors()[0]
                problems.append(f"{path}:{number}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}")
                continue
            if reading.n not in known or reading.n in seen:
                problems.append(
                    f"{path}:{number}: n is {reading.n}, which is {'twice' if reading.n in known else 'not'} there"
                )
                continue
            seen.add(reading.n)
            readings[reading.n].append(reading)
    return [Read(known[n], readings[n]) for n in sorted(readings)], problems


def report(read: Sequence[Read], figures: Figures) -> str:
    """Return the figures, and each question that is to be written anew or belongs to another level."""
    lines = [f"{name}: {value:g}" for name, value in as_json(figures).items()]
    for one in sorted(read, key=lambda one: one.drawn.id):
        moved = [f"level {one.drawn.level:d}, read as {one.median:d}"] if one.drift and not one.faults else []
        reasons = [*(f"REWRITE: {fault}" for fault in one.faults), *moved, *one.remarks]
        lines += [f"{one.drawn.id}: {reason}" for reason in reasons]
    return "\n".join(lines)


def _judge(arguments: argparse.Namespace) -> int:
    key = json.loads(arguments.key.read_text(encoding="utf-8"))
    drawn = TypeAdapter(list[Drawn]).validate_python(key["drawn"])
    read, problems = collect(drawn, arguments.readings)
    print("\n".join(problems), end="\n" if problems else "")
    if not read:
        print("no readings")
        return 1
    figures = measure(read, key["seed"])
    print(report(read, figures))
    if arguments.figures:
        arguments.figures.write_text(json.dumps(as_json(figures), indent=2) + "\n", encoding="utf-8")
    if arguments.write:
        print("\n".join(write_ratings(read, BANK_FOLDER)))
    return 1 if problems else 0


# ---------------------------------------------------------------- into the files

_QUESTION = re.compile(r"^(?=  - id: )", re.MULTILINE)
_LEVEL = re.compile(r"^    level: .*\n(?:    rated: .*\n)?", re.MULTILINE)


def write_ratings(read: Iterable[Read], folder: Path) -> list[str]:
    """Write `level` and `rated` of each question that may stand; one with another level moves to that level's file.

    Layout and comments of the files stay as they are.

    Returns:
        A line for each question that is left as it is, and why.
    """
    by_id = {one.drawn.id: one for one in read}
    levels = {located.question.id: located for located in read_files([folder]).questions}
    left = [f"{key}: no question of the files" for key in sorted(by_id.keys() - levels.keys())]
    arrived: dict[Path, list[str]] = defaultdict(list)
    for path in sorted({levels[key].path for key in by_id.keys() & levels.keys()}):
        head, *blocks = _QUESTION.split(path.read_text(encoding="utf-8"))
        kept = []
        for block in blocks:
            one = by_id.get(block.split("\n", 1)[0].removeprefix("  - id: ").split("#")[0].strip())
            reason = _why_not(one, levels[one.drawn.id].question) if one else ""
            if one is None or reason:
                left += [f"{one.drawn.id}: {reason}"] if one else []
                kept.append(block)
                continue
            rated = ", ".join(str(int(level)) for level in one.rated)
            text = _LEVEL.sub(f"    level: {one.median:d}\n    rated: [{rated}]\n", block, count=1)
            home = path.with_name(f"{one.median:d}-{one.median.name.lower()}.yaml")
            (kept if home == path else arrived[home]).append(text)
        path.write_text(head + _join(kept), encoding="utf-8")
    for home, blocks in arrived.items():
        home.write_text(f"{home.read_text(encoding='utf-8').rstrip()}\n\n{_join(blocks)}", encoding="utf-8")
    return left


def _why_not(one: Read, question: BankQuestion) -> str:
    if digest_of(question) != one.drawn.digest:
        return "was changed after it was read; read it again"
    if one.faults:
        return f"write it anew: {'; '.join(one.faults)}"
    if len(one.readings) < MIN_RATINGS:
        return f"has {len(one.readings)} readings; needs {MIN_RATINGS}"
    return ""


def _join(blocks: Iterable[str]) -> str:
    """Return questions with an empty line between two."""
    return "\n".join(f"{block.rstrip()}\n" for block in blocks)


def main(arguments: list[str]) -> int:
    """Draw questions or judge readings, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dev.tools.blind_readings", description=(__doc__ or "").split("\n")[0]
    )
    commands = parser.add_subparsers(required=True)
    out = commands.add_parser("draw", help="write questions for readers, and their key")
    out.add_argument("files", nargs="*", type=Path, help="files or folders of questions; the whole bank when absent")
    out.add_argument("--count", type=int, help="how many to draw at random; all when absent")
    out.add_argument("--templates", action="store_true", help="one drawing of each template as well")
    out.add_argument("--seed", type=int, required=True)
    out.add_argument("--text", type=Path, required=True)
    out.add_argument("--key", type=Path, required=True)
    out.set_defaults(run=_draw)
    back = commands.add_parser("judge", help="compare readings with the key")
    back.add_argument("key", type=Path)
    back.add_argument("readings", nargs="+", type=Path, help="JSON lines; a question stands once in each file")
    back.add_argument("--write", action="store_true", help="write the ratings into the bank's files")
    back.add_argument("--figures", type=Path, help=f"where to keep the figures: {FIGURES.relative_to(ROOT)}")
    back.set_defaults(run=_judge)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
