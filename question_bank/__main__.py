"""`python -m question_bank [FILE ...]`: lint files of the bank and execute their checks, without a database."""

from __future__ import annotations

import sys
from pathlib import Path

from question_bank.loader import BANK_FOLDER
from question_bank.transfer import read_files
from question_bank.verification import bank_verifiers, check_stages, conclude, duplicates_stage, rules_stage


def main(arguments: list[str]) -> int:
    """Lint and execute; print each problem on a line.

    Args:
        arguments: files; every file of the bank when empty.

    Returns:
        0 when nothing is wrong, else 1.
    """
    bank = read_files([Path(name) for name in arguments] or [BANK_FOLDER])
    checks = [conclude(stage) for stage in check_stages(bank.questions, bank_verifiers())]
    rules = [conclude(stage) for stage in (rules_stage(bank), duplicates_stage(bank.questions))]
    problems = [problem for verdict in (*rules, *checks) for problem in verdict.problems]
    executed = sum(verdict.run for verdict in checks)
    skipped = sum(located.question.check is not None for located in bank.questions) - executed
    print("\n".join(problems))  # noqa: T201 - a command's output
    summary = f"{len(bank.questions)} questions, {executed} executed, {skipped} need Postgres, {len(problems)} problems"
    print(summary)  # noqa: T201
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
