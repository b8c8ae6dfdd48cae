"""Templates on commits to lakehouse tables: what a copy of a table holds, and which of several jobs are refused."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_COPIES = {
    "view": "CREATE VIEW {copy}\n     AS SELECT * FROM {table}",
    "clone": "CREATE TABLE {copy}\n     SHALLOW CLONE {table}",
    "old clone": "CREATE TABLE {copy}\n     SHALLOW CLONE {table}\n     VERSION AS OF 0",
    "select": "CREATE TABLE {copy}\n     AS SELECT * FROM {table}",
}
"""Ways to get a second name for the rows of a table."""

_REPLAY = """
def rows(of, kind=kind, skip=()):
    source, copy, versions = 0, 0, []
    for where, operation, count in steps:
        if operation in skip:
            continue
        if operation == "COPY":
            copy = versions[0] if kind == "old clone" else source
        elif where == "source" or kind in ("view", "one table"):
            source = versions[0] if operation == "RESTORE" else source + count
            versions.append(source)
        else:
            copy += count
    print(source if of == "source" or kind in ("view", "one table") else copy)

other = {"source": "copy", "copy": "source"}[asked]
"""

_Step = tuple[str, str, int]
"""Where (source or copy), what, and by how many rows."""


def _mistakes_about_copies(asked: str, kind: str) -> tuple[Misconception, ...]:
    """Return the ways to mix up views, clones and copies."""
    first = Misconception(
        "clone-stays-tied-to-its-source",
        "That lets writes to one show in the other. A clone shares old files, but each table has a log of its own.",
        run='rows(asked, kind="one table")',
    )
    if kind == "select":
        first = Misconception(
            first.name,
            "That lets writes to one show in the other. CREATE TABLE AS copies the rows once.",
            run=first.run,
        )
    if kind == "view":
        first = Misconception(
            "view-keeps-what-it-saw",
            "That is what the table held when the view was made. A view runs its query each time it is read.",
            run='rows(asked, kind="select")',
        )
    version = Misconception(
        "version-does-not-matter",
        "That clones the table as it was at that moment. VERSION AS OF 0 takes it as it was created.",
        run='rows(asked, kind="clone")',
    )
    if kind != "old clone":
        version = Misconception(
            "second-name-shows-the-first-version",
            "That starts from the table as it was created. Without VERSION AS OF, the current rows count.",
            run='rows(asked, kind="old clone")',
        )
    name = "the copy" if asked == "source" else "the table it was made from"
    return (
        first,
        version,
        Misconception("reads-the-other-one", f"That is what {name} holds in the end.", run="rows(other)"),
        Misconception(
            "restore-has-no-effect",
            "That leaves RESTORE out. It makes an old version the current one again.",
            run='rows(asked, skip=("RESTORE",))',
        ),
        Misconception(
            "later-writes-do-not-count",
            "That stops when the second name was created. What is written later counts where it is written.",
            run="at = [step[1] for step in steps].index('COPY')\nsteps = steps[:at + 1]\nrows(asked)",
        ),
        Misconception(
            "deleted-rows-still-count",
            "That counts deleted rows, whose old files still lie there. The current version leaves them out.",
            run='rows(asked, skip=("DELETE",))',
        ),
    )


@template(
    name="rows-of-a-clone-or-view",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("delta-lake", "clone", "views"),
    title="Delta Lake documentation, Table utility commands, Shallow clone a Delta table",
    url="https://docs.delta.io/delta-utility/",
    rated=(2, 2, 2),
)
def rows_of_a_clone_or_view(rng: random.Random) -> Draft:
    """Count the rows of a view, a clone or a copy after writes on either side."""
    table, copy = rng.choice((("orders", "test"), ("users", "trial"), ("trips", "sandbox"), ("claims", "demo")))
    kind = rng.choice(tuple(_COPIES))
    counts = [10 * number for number in rng.sample(range(1, 10), 3)]
    steps: list[_Step] = [("source", "INSERT", 100 * rng.randint(3, 9))]
    steps.append(("source", *_write(rng, counts[0])))
    steps.insert(rng.choice((1, 2, 2)), ("copy", "COPY", 0))
    steps.append(("source", *_write(rng, counts[1])))
    if kind != "view":
        steps.insert(rng.choice((-1, len(steps))), ("copy", *_write(rng, counts[2])))
    if rng.choice((True, False, False)):
        steps.append(("source", "RESTORE", 0))
    asked = "copy" if kind == "view" else rng.choice(("source", "copy", "copy"))
    lines = [f"1  {table} is created: {steps[0][2]} rows"]
    for number, (where, operation, count) in enumerate(steps[1:], 2):
        name = copy if where == "copy" else table
        texts = {
            "COPY": _COPIES[kind].format(table=table, copy=copy),
            "RESTORE": f"RESTORE TABLE {name}\n     TO VERSION AS OF 0",
        }
        lines.append(f"{number}  " + texts.get(operation, f"{operation} on {name}: {abs(count)} rows"))
    return Draft(
        prompt=(
            "These steps run one after the other on Delta tables, and nothing is vacuumed. "
            f"What does `SELECT count(*) FROM {copy if asked == 'copy' else table}` return at the end?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"steps = {steps}\nasked, kind = {asked!r}, {kind!r}\n{_REPLAY}",
        run="rows(asked)",
        why={
            "view": f"A view has no rows of its own: it shows what `{table}` holds when it is read.",
            "select": "Both tables start alike, and from then on each goes its own way.",
        }.get(kind, "A clone starts from one version of its source. After that, each table has its own commits."),
        misconceptions=_mistakes_about_copies(asked, kind),
        explanation=(
            "A view follows its table, and CREATE TABLE AS copies the rows. A shallow clone copies only the list of "
            "files: it is made at once and goes its own way, but breaks when VACUUM on the source deletes files that "
            "it still lists. Use it for tests, not as a backup."
        ),
    )


def _write(rng: random.Random, count: int) -> tuple[str, int]:
    """Return an insert or a delete of so many rows."""
    return rng.choice((("INSERT", count), ("DELETE", -count)))


_CONFLICTS = """
def meet(one, other):
    return "any" in (one, other) or one == other

def hurts(winner, job):
    (did, where), (does, here) = winner[:2], job[:2]
    if does == "INSERT" or not meet(where, here):
        return False
    return does != "OPTIMIZE" or did != "INSERT"

def refused(hurts=hurts, by="commit", refused_count=False):
    lost = []
    order = sorted(jobs, key=lambda job: job[3 if by == "commit" else 2])
    for at, job in enumerate(order):
        rivals = [
            one for one in order[:at]
            if (refused_count or one not in lost) and one[2] < job[3] and job[2] < one[3]
        ]
        if any(hurts(one, job) for one in rivals):
            lost.append(job)
    numbers = [number for number, job in enumerate(jobs, 1) if job in lost]
    *most, last = numbers or ["none"]
    print(f"{', '.join(map(str, most))} and {last}" if most else f"only {last}" if numbers else last)
"""

_WRITES = ("INSERT", "OPTIMIZE", "MERGE", "DELETE", "UPDATE")


def _mistakes_about_conflicts() -> tuple[Misconception, ...]:
    """Return the ways to misjudge which jobs are refused."""
    return (
        Misconception(
            "inserts-harm-no-one",
            "That forgets inserts. Under serializable isolation, a job that read a day fails if rows were added to it.",
            run='refused(lambda one, job: one[0] != "INSERT" and hurts(one, job))',
        ),
        Misconception(
            "compaction-harms-no-one",
            "That forgets OPTIMIZE. It changes no rows but removes files that the other job has read or rewrites.",
            run='refused(lambda one, job: "OPTIMIZE" not in (one[0], job[0]) and hurts(one, job))',
        ),
        Misconception(
            "first-to-start-wins",
            "That lets the job win that started first. What counts is which commits first.",
            run='refused(by="start")',
        ),
        Misconception(
            "any-overlap-conflicts",
            "That refuses every job that overlaps another. Jobs on different days of the table do not meet.",
            run='refused(lambda one, job: job[0] != "INSERT")',
        ),
        Misconception(
            "refused-jobs-count",
            "That counts a job that was itself refused. It committed nothing, so nobody conflicts with it.",
            run="refused(refused_count=True)",
        ),
        Misconception(
            "inserts-are-refused-too",
            "That refuses an INSERT. It read nothing, so nothing that others commit can spoil it.",
            run='refused(lambda one, job: hurts(one, job) or (job[0] == "INSERT" and meet(one[1], job[1])))',
        ),
        Misconception(
            "compaction-suffers-from-inserts",
            "That lets new files spoil OPTIMIZE. It replaces the files that it read; new ones may lie beside.",
            run='refused(lambda one, job: hurts(one, job) or (job[0] == "OPTIMIZE" and meet(one[1], job[1])))',
        ),
    )


@template(
    name="delta-jobs-that-are-refused",
    topic=Topic.DATA_WAREHOUSE_LAKEHOUSE,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    form=QuestionForm.READ,
    tags=("delta-lake", "concurrency", "isolation"),
    title="Delta Lake documentation, Concurrency control, Write conflicts",
    url="https://docs.delta.io/concurrency-control/",
    rated=(3, 3, 3),
)
def delta_jobs_that_are_refused(rng: random.Random) -> Draft:
    """Find the jobs whose commits are refused, among inserts, compactions and rewrites that overlap in time."""
    starts, ends = (0, 10, 20, 30), list[int]()
    for start in starts:
        ends.append(rng.choice([end for end in range(start + 5, 60, 5) if end not in (*starts, *ends)]))
    first, second = rng.sample(range(2, 9), 2)
    jobs = []
    for start, end in zip(starts, ends, strict=True):
        kind = rng.choice(_WRITES)
        wide = kind in {"MERGE", "UPDATE"} and rng.choice((True, False, False))
        jobs.append((kind, "any" if wide else str(rng.choice((first, first, second))), start, end))
    lines = [
        f"{number}  {kind:9} {'all days' if day == 'any' else f'day {day}':9} 10:{start:02}-10:{end:02}"
        for number, (kind, day, start, end) in enumerate(jobs, 1)
    ]
    mistakes = _mistakes_about_conflicts()
    return Draft(
        prompt=(
            "A Delta table is partitioned by day; isolation is serializable, without deletion vectors. All jobs but "
            "INSERT rewrite the files of their days, from the snapshot at their start, and commit at their end. "
            "Which are refused for a conflict?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"jobs = {jobs}\n{_CONFLICTS}",
        run="refused()",
        why="A job is refused if another has committed since its start and changed files that it read or replaces.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "The first to commit wins. A job that read files is refused if a commit in between removed them or, when "
            "serializable, added to the partitions it read. Put the partition in the condition of each MERGE, compact "
            "days that nobody writes, and retry what is refused."
        ),
    )
