"""`python -m question_bank [FILE ...]`: lint files of the bank and execute their checks, without a database."""

from __future__ import annotations

import sys
from pathlib import Path

from question_bank.checks import RUNNERS, wrong_answer
from question_bank.lint import lint
from question_bank.loader import BANK_FOLDER, Bank, read_file


def main(arguments: list[str]) -> int:
    """Lint and execute; print each problem on a line.

    Args:
        arguments: files; every file of the bank when empty.

    Returns:
        0 when nothing is wrong, else 1.
    """
    bank = Bank()
    for path in [Path(name) for name in arguments] or sorted(BANK_FOLDER.rglob("*.yaml")):
        questions, found = read_file(path)
        bank.questions.extend(questions)
        bank.problems.extend(found)
    problems = [str(problem) for problem in [*bank.problems, *lint(bank.questions)]]
    executed = skipped = 0
    for located in bank.questions:
        check = located.question.check
        if check is None:
            continue
        if check.engine not in RUNNERS:
            skipped += 1
            continue
        executed += 1
        if wrong := wrong_answer(located.question, check, RUNNERS[check.engine]):
            problems.append(f"{located.path.name}:{located.line}: {wrong}")
    print("\n".join(problems))  # noqa: T201 - a command's output
    summary = f"{len(bank.questions)} questions, {executed} executed, {skipped} need Postgres, {len(problems)} problems"
    print(summary)  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
