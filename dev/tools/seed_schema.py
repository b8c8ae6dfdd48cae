"""`make seed`: writes the starter bank into schema.sql, one question of each topic and level, from question_bank/.

With `--check` it changes nothing and fails when the file is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dev.tools.pages import with_part, write_or_check
from domain.catalog import QuestionSource
from question_bank.loader import Located, load_bank
from question_bank.rows import question_columns

SCHEMA = Path(__file__).parents[2] / "schema.sql"
BEGIN, END = "-- seed begin\n", "-- seed end\n"
COLUMNS = (
    "key, content_hash, topic, level, source, prompt, code, language, options, correct_index, explanation, "
    "reference_title, reference_url, tags, form, check_spec, template, seed, state_reason"
)


def starter_questions() -> list[Located]:
    """Return the first question of each topic and level."""
    first: dict[tuple[str, int], Located] = {}
    for located in load_bank().questions:
        first.setdefault((located.topic, located.question.level), located)
    return [first[cell] for cell in sorted(first)]


def literal(value: object) -> str:
    """Return a value as SQL.

    Args:
        value: text, a number, a list of texts or None.
    """
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(literal(item) for item in value)}]::text[]"
    if isinstance(value, str):
        return "'" + str(value).replace("'", "''") + "'"
    return str(int(value))  # type: ignore[call-overload]


def seed() -> str:
    """Return the statement that inserts the starter bank."""
    rows = [
        "(" + ", ".join(literal(v) for v in question_columns(q.question, q.topic, QuestionSource.STATIC)) + ")"
        for q in starter_questions()
    ]
    return f"INSERT INTO questions ({COLUMNS}) VALUES\n" + ",\n".join(rows) + "\nON CONFLICT (key) DO NOTHING;\n"


def main(arguments: list[str]) -> int:
    """Write or check the seed, and return the exit status."""
    return write_or_check(SCHEMA, with_part(SCHEMA, BEGIN, END, seed()), arguments, "make seed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
