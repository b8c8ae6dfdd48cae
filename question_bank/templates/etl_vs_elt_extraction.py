"""Templates on ETL and ELT: loads that die between two steps, and what a change stream carries."""

from __future__ import annotations

import random
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template


def trace(steps: tuple[str, ...], crash: int, *, upsert: bool) -> tuple[int, int, bool, int]:
    """Follow the rows of a run that dies, and the next run: what a drawing executes.

    Returns:
        How often the target and staging hold them at the crash, whether the cursor is saved then, and how often the
        target holds them in the end.
    """
    target, staging, saved = 0, 0, False
    at_crash = (0, 0, False)
    for attempt in (1, 2):
        fetched = 0 if saved else 1
        for number, step in enumerate(steps, 1):
            if step == "truncate":
                staging = 0
            elif step == "stage":
                staging += fetched
            elif step == "load":
                target = 1 if upsert and target + staging else target + staging
            else:
                saved = True
            if attempt == 1 and number == crash:
                at_crash = (target, staging, saved)
                break
    return (*at_crash, target)


_STEP_ORDERS = (
    ("stage", "load", "truncate", "save"),
    ("stage", "load", "save", "truncate"),
    ("stage", "save", "load", "truncate"),
    ("save", "stage", "load", "truncate"),
    ("truncate", "stage", "load", "save"),
    ("truncate", "stage", "save", "load"),
    ("truncate", "save", "stage", "load"),
)
_TABLES = (
    "orders",
    "users",
    "scans",
    "bills",
    "trips",
    "claims",
    "visits",
    "prices",
    "refunds",
    "tickets",
    "parcels",
    "leads",
)
_TIMES = {"0": "Not at all", "1": "Once", "2": "Twice", "3": "Three times"}


def _crash_why(steps: tuple[str, ...], crash: int, *, upsert: bool) -> str:
    """Say what is where at the crash, and what the next run makes of it."""
    target, staging, saved, end = trace(steps, crash, upsert=upsert)
    first = "empties `staging`, " if steps[0] == "truncate" else ""
    again = "fetches nothing" if saved else "fetches the rows again"
    left = {0: "no copy", 1: "one copy"}
    return (
        f"At the crash there is {left[target]} in the target and {left[staging]} in `staging`; the cursor is "
        f"{'' if saved else 'not '}saved. The next run {first}{again} and {'upserts' if upsert else 'inserts'} what is "
        f"staged: they {f'are there {_TIMES[str(end)].lower()}' if end else 'never arrive'}."
    )


@template(
    name="load-dies-between-steps",
    topic=Topic.ETL_VS_ELT,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("staging", "cursors", "idempotency"),
    title="Airflow 3 documentation, Best Practices, Creating a task",
    url="https://airflow.apache.org/docs/apache-airflow/stable/best-practices.html",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 2, 2),
)
def load_dies_between_steps(rng: random.Random) -> Draft:
    """Find how often rows are in the target, when a load died between two of its steps."""
    wanted = rng.choice((0, 1, 1, 2, 2, 3))
    while True:
        steps, upsert = rng.choice(_STEP_ORDERS), rng.random() < 0.3  # noqa: PLR2004 - inserts more often
        crash = rng.randint(1, 3)
        _, staging, saved, end = trace(steps, crash, upsert=upsert)
        twice_staged = staging and not saved and steps[0] != "truncate"
        if end == wanted and not (upsert and twice_staged):  # an upsert of two equal keys fails in some engines
            break
    table = rng.choice(_TABLES)
    verb = "upsert" if upsert else "insert"
    lines = {
        "truncate": 'truncate("staging")',
        "stage": 'insert(rows, "staging")',
        "load": f'{verb}("staging", "{table}")',
        "save": "save_cursor(rows)",
    }
    why = _crash_why(steps, crash, upsert=upsert)
    names = {"0": "it-is-lost", "1": "a-rerun-repairs-it", "2": "a-rerun-repeats-it", "3": "staging-adds-up-too"}
    return Draft(
        prompt=(
            f"Each line of this load commits alone; `{verb}` {'goes by the key' if upsert else 'checks no key'}. A run "
            f"dies right after `{lines[steps[crash - 1]]}`. The next run succeeds; the source has no newer rows. How "
            f"often are the rows of the first run in `{table}`?"
        ),
        code="\n".join(("rows = fetch(after=read_cursor())", *(lines[step] for step in steps))),
        language="python",
        setup=getsource(trace),
        run=f"print(trace({steps}, {crash}, upsert={upsert})[-1])",
        why=why,
        misconceptions=[Misconception(names[value], why, value=value) for value in _TIMES if value != str(end)],
        explanation=(
            "Save the cursor last, in one transaction with the load if you can, and empty staging first, not last. "
            "Then a run that dies is simply repeated. An upsert by key makes the repetition harmless; it cannot bring "
            "back rows behind a cursor that was saved too early."
        ),
        texts=_TIMES,
    )


def old_values(identity: str, change: str) -> str:
    """Return which old values PostgreSQL sends of a row: what a drawing executes.

    Args:
        identity: ``id`` or ``email`` for an index, ``full`` or ``none``.
        change: the column that an UPDATE sets, or ``insert`` or ``delete``.
    """
    if change == "insert":
        return "nothing"
    if identity in ("full", "none"):
        return {"full": "row", "none": "fails"}[identity]
    return identity if change in ("delete", identity) else "nothing"


_OLD_VALUES = {
    "id": "Only the old `id`",
    "email": "Only the old `email`",
    "row": "The whole old row",
    "nothing": "The new row alone",
    "fails": "None: the statement fails",
}


def _old_values_why(identity: str, change: str) -> str:
    if change == "insert":
        return "An INSERT has no old row, and so needs no replica identity."
    if identity == "none":
        return "Without a replica identity, PostgreSQL refuses an UPDATE or DELETE of a table that publishes them."
    if identity == "full":
        return "REPLICA IDENTITY FULL logs the old values of all columns, for each UPDATE and DELETE."
    if change == "delete":
        return f"A DELETE carries the columns of the replica identity, here `{identity}`, so that the row can be found."
    if change == identity:
        return f"The UPDATE changes the column of the replica identity, `{identity}`, so its old value is sent along."
    return f"The replica identity is `{identity}`. An UPDATE that leaves it alone sends the new row only."


@template(
    name="replica-identity-old-values",
    topic=Topic.ETL_VS_ELT,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("cdc", "replica-identity", "logical-decoding"),
    title="PostgreSQL 18 documentation, ALTER TABLE, REPLICA IDENTITY",
    url="https://www.postgresql.org/docs/18/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def replica_identity_old_values(rng: random.Random) -> Draft:
    """Find which old values a change stream carries, by replica identity and statement."""
    wanted = rng.choice(tuple(_OLD_VALUES))
    while True:
        setting = rng.choice(("default", "default", "no key", "index", "FULL", "NOTHING"))
        change = rng.choice(("state", "state", "id", "email", "delete", "insert"))
        identity = {"default": "id", "no key": "none", "index": "email", "FULL": "full", "NOTHING": "none"}[setting]
        if old_values(identity, change) == wanted:
            break
    table = rng.choice(("users", "clients", "guests", "members", "drivers", "sellers"))
    number = rng.randint(2, 99)
    key = "" if setting == "no key" else " PRIMARY KEY"
    choice = f"USING INDEX\n  {table}_email_key" if setting == "index" else setting
    alter = "" if setting in ("default", "no key") else f"ALTER TABLE {table}\n  REPLICA IDENTITY {choice};\n"
    values = {"state": "'gone'", "id": f"{number + 100}", "email": "'new@x.org'"}
    statement = {
        "delete": f"DELETE FROM {table}\nWHERE id = {number};",
        "insert": f"INSERT INTO {table} VALUES\n  ({number}, 'a@x.org', 'new');",
    }.get(change, f"UPDATE {table}\nSET {change} = {values.get(change)}\nWHERE id = {number};")
    why = _old_values_why(identity, change)
    mistakes = [Misconception(f"sends-{value}", why, value=value) for value in ("row", "nothing", "fails")]
    keys = [Misconception(f"sends-{value}", why, value=value) for value in ("id", "email")]
    return Draft(
        prompt=(
            f"PostgreSQL 18 publishes all kinds of changes of the table `{table}`, and a CDC tool reads them through "
            "`pgoutput`. Which old values does it get for the last statement?"
        ),
        code=(
            f"CREATE TABLE {table} (\n  id INT{key},\n  email TEXT NOT NULL UNIQUE,\n  state TEXT);\n"
            f"{alter}\n{statement}"
        ),
        language="sql",
        setup=getsource(old_values),
        run=f"print(old_values({identity!r}, {change!r}))",
        why=why,
        misconceptions=[*keys[:: rng.choice((1, -1))], *rng.sample(mistakes, len(mistakes))],
        explanation=(
            "By default the identity is the primary key: deletes carry it alone, and updates only the new row unless "
            "the key changes. Whoever needs the state before, to compare or to undo, needs FULL, at the price of more "
            "WAL. A published table without an identity refuses updates and deletes."
        ),
        texts=_OLD_VALUES,
    )
