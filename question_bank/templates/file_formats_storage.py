"""Templates on file formats: folders, CSV, compaction, and what a crash leaves behind."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_PARTITIONS = (
    ("region", ("eu", "us", "jp", "br"), "amount"),
    ("source", ("web", "app", "pos", "api"), "price"),
    ("team", ("ads", "crm", "ops", "hr"), "cost"),
    ("kind", ("view", "cart", "buy", "back"), "value"),
)


@template(
    name="folders-left-after-pruning",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.BEGINNER,
    engine=CheckEngine.DUCKDB,
    tags=("partitioning", "pruning", "hive-layout"),
    title="DuckDB documentation, Hive Partitioning, Filter Pushdown",
    url="https://duckdb.org/docs/stable/data/partitioning/hive_partitioning",
    rated=(1, 1, 2),
)
def folders_left_after_pruning(rng: random.Random) -> Draft:
    """Count the files or megabytes that a query reads from folders named after column values."""
    column, names, measure = rng.choice(_PARTITIONS)
    table, first = rng.choice(("sales", "events", "stats", "facts")), rng.randint(1, 24)
    days, kinds = [first, first + 1, first + 2], rng.sample(names, 2)
    folders = [(day, kind) for day in days for kind in kinds]
    folders += rng.sample(folders, rng.randint(1, 2))
    files = [
        (f"day={day:02}/{column}={kind}/{chr(97 + folders[:at].count((day, kind)))}.parquet", rng.choice((20, 50, 100)))
        for at, (day, kind) in enumerate(folders)
    ]
    files.sort()
    sign, bound, wanted = rng.choice((">", ">=", "<", "<=")), days[1], rng.choice(kinds)
    count = rng.choice((True, False))
    what = "count(*)" if count else "coalesce(sum(mb), 0)"
    query = f"SELECT {what} FROM files WHERE {{}}"
    day, kind = "regexp_extract(path, 'day=([0-9]+)', 1)::INT", f"regexp_extract(path, '{column}=([a-z]+)', 1)"
    values = ", ".join(f"('{path}', {size})" for path, size in files)
    return Draft(
        prompt=(
            f"The folders of the Parquet files of `{table}` are named after the columns `day` and `{column}`. The "
            "engine prunes by folder names and uses no statistics. "
            + ("How many files does it open?" if count else "How many MB are in the files that it opens?")
        ),
        code="\n".join(
            [f"{path:28}{size:>4} MB" for path, size in files]
            + ["", f"SELECT sum({measure}) FROM {table}"]
            + [f"WHERE day {sign} {bound} AND {column} = '{wanted}'", f"  AND {measure} > 100;"]
        ),
        language="text",
        setup=f"CREATE TABLE files (path TEXT, mb INT); INSERT INTO files VALUES {values}",
        option="{}" if count else "{} MB",
        run=query.format(f"{day} {sign} {bound} AND {kind} = '{wanted}'"),
        why=f"Both folder levels prune: `day` {sign} {bound} and `{column}` = '{wanted}'. `{measure}` prunes nothing.",
        misconceptions=_pruning_mistakes(
            query, (f"{day} {{}} {bound}", f"{kind} = '{wanted}'"), sign, (column, wanted)
        ),
        explanation=(
            "A folder `name=value` holds one value of that column, so a filter on it skips whole folders before any "
            "file is opened. A filter on a column inside the files skips none of them without statistics. "
            "Partition by what "
            "queries filter on."
        ),
    )


def _pruning_mistakes(
    query: str, conditions: tuple[str, str], sign: str, folder: tuple[str, str]
) -> tuple[Misconception, ...]:
    (day, kind), (column, wanted) = conditions, folder
    other = {">": ">=", ">=": ">", "<": "<=", "<=": "<"}[sign]
    return (
        Misconception(
            "outer-folder-only",
            f"That prunes by `day` alone. The name of the inner folder counts too: only `{column}` {wanted} is read.",
            run=query.format(day.format(sign)),
        ),
        Misconception(
            "bound-in-or-out",
            f"That {'counts' if '=' in other else 'leaves out'} the day of the bound itself. The operator is `{sign}`.",
            run=query.format(f"{day.format(other)} AND {kind}"),
        ),
        Misconception(
            "inner-folder-only",
            f"That prunes by `{column}` alone. The days that fail the condition on `day` are skipped as well.",
            run=query.format(kind),
        ),
        Misconception(
            "no-pruning",
            "These are all files. Folder names tell which ones cannot hold matching rows, so those stay closed.",
            run=query.format("true"),
        ),
    )


_CSV_TEXTS = ('"a,b"', '"NY, US"', '"1,5"', '"x,,y"', '"Ek, Jo"')
_CSV_DIGITS = ('"007"', '"0"', '"3.0"', '"0049"', '"12"')
_CSV_CODE = """
w = csv.writer(f{0})
w.writerow(row)
f.seek(0)
r = csv.reader(f{0})
""".strip()


@template(
    name="csv-round-trip",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("csv", "data-types", "quoting"),
    title="Python 3 documentation, csv, Module Contents",
    url="https://docs.python.org/3/library/csv.html",
    rated=(2, 2, 2),
)
def csv_round_trip(rng: random.Random) -> Draft:
    """Tell which values come back when a row goes through a CSV file."""
    number = rng.choice((str(rng.randint(2, 99)), f"{rng.randint(1, 9)}.5"))
    cells = [rng.choice(_CSV_TEXTS), rng.choice(_CSV_DIGITS), number, "None"]
    rng.shuffle(cells)
    typed = rng.choice((True, False))
    option, other = (", quoting=q", "") if typed else ("", ", quoting=q")
    row = f"row = [{', '.join(cells)}]"
    lines = ["import csv, io", row, *["q = csv.QUOTE_NONNUMERIC"] * typed, "f = io.StringIO()"]
    return Draft(
        prompt="A row is written as CSV and read back. What does this Python program print?",
        code="\n".join([*lines, _CSV_CODE.format(option), "print(next(r))"]),
        language="python",
        setup=f"import csv, io\nq = csv.QUOTE_NONNUMERIC\n{row}\nf = io.StringIO()",
        run=f"{_CSV_CODE.format(option)}\nprint(next(r))",
        why="Quotes protect the comma. None is an empty string, and what is not in quotes is read as a float."
        if typed
        else "Quotes protect the comma. Everything else is text: numbers are strings, and None is an empty one.",
        misconceptions=_csv_mistakes(rng, option, other, typed=typed),
        explanation=(
            "CSV carries text, no types and no NULL. Quoting protects separators inside a value, not the difference "
            'between 7 and "7" or between None and "". Agree on types and on a NULL marker outside the file, or use '
            "a format with a schema."
        ),
    )


def _csv_mistakes(rng: random.Random, option: str, other: str, *, typed: bool) -> list[Misconception]:
    read = _CSV_CODE.format(option)
    digits = "c.replace('.', '').isdigit()"
    mistakes = [
        Misconception(
            "types-lost" if typed else "types-kept",
            "That gives the number back as a string. QUOTE_NONNUMERIC reads what is not in quotes as a float."
            if typed
            else "That gives the number back as one. The reader makes strings, whatever they look like.",
            run=f"{_CSV_CODE.format(other)}\nprint(next(r))",
        ),
        Misconception(
            "none-kept",
            "That keeps None. It is written as an empty field, which is read as an empty string.",
            run=f"{read}\nprint([None if a is None else b for a, b in zip(row, next(r))])",
        ),
        Misconception(
            "none-by-name",
            "That writes None by its name. Python's csv writes it as an empty field.",
            run=f"{read}\nprint(['None' if a is None else b for a, b in zip(row, next(r))])",
        ),
        Misconception(
            "everything-kept",
            "That is the row before it was written. The file keeps neither None nor the type of a number.",
            run="print(row)",
        ),
        Misconception(
            "reader-guesses-types",
            "That lets the reader guess types from digits. Python's csv never guesses.",
            run=f"{read}\nprint([float(c) if isinstance(c, str) and {digits} else c for c in next(r)])",
        ),
        Misconception(
            "comma-always-splits",
            "That splits at each comma. The writer quotes a value that holds one, and the reader undoes it.",
            run="print(','.join('' if c is None else str(c) for c in row).split(','))",
        ),
    ]
    return rng.sample(mistakes, len(mistakes))


_COMPACT = """
def compact(partitions, small, target):
    files = 0
    for sizes in partitions:
        chosen = [size for size in sizes if size < small]
        files += len(sizes) - len(chosen)
        rest = sum(chosen)
        while rest > 0:
            files, rest = files + 1, rest - target
    return files

def pack(partitions, small, target):
    files = 0
    for sizes in partitions:
        room = 0
        for size in sizes:
            if size >= small:
                files += 1
            elif size <= room:
                room -= size
            else:
                files, room = files + 1, target - size
    return files
"""


@template(
    name="compaction-per-partition",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("compaction", "small-files", "partitioning"),
    title="Apache Iceberg documentation, Maintenance, Compact data files",
    url="https://iceberg.apache.org/docs/latest/maintenance/#compact-data-files",
    rated=(2, 2, 2),
)
def compaction_per_partition(rng: random.Random) -> Draft:
    """Count the files that are left when small files are compacted in each partition."""
    target = rng.choice((100, 200))
    small = target * 8 // 10
    kind, first = rng.choice(("day", "hour", "week", "shop")), rng.randint(1, 20)
    partitions = []
    for count in rng.choice(((3, 3, 2), (4, 2, 2), (3, 2), (4, 3), (3, 1), (2, 2, 1), (2, 2, 2, 2))):
        sizes = [target // 10 * rng.randint(1, 7) for _ in range(count)]
        if count > 1 and rng.random() < 0.5:  # noqa: PLR2004 - one file in two partitions is large
            sizes[0] = target // 10 * rng.randint(8, 10)
        partitions.append(rng.sample(sizes, count))
    rng.shuffle(partitions)
    lines = [f"{kind}={first + at:02}  {'  '.join(map(str, sizes))}" for at, sizes in enumerate(partitions)]
    whole = [size for sizes in partitions for size in sizes]
    return Draft(
        prompt=(
            f"These are the Parquet files of a table in MB, by partition. A compaction takes the files below {small} "
            f"MB and writes their rows into new files, as few as possible, of at most {target} MB. How many files does "
            "the table have afterwards?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"{_COMPACT}\npartitions, whole = {partitions}, {whole}",
        run=f"print(compact(partitions, {small}, {target}))",
        why=f"Each partition keeps its files of {small} MB or more and gets new ones for the sum of the rest.",
        misconceptions=_compaction_mistakes(kind, small, target),
        explanation=(
            "Compaction works inside partitions, so many thin partitions stay many small files, whatever the target "
            "size is. If most files are still small afterwards, partition more coarsely instead of compacting "
            "more often."
        ),
    )


def _compaction_mistakes(kind: str, small: int, target: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "across-partitions",
            f"That fills files with rows of several partitions. A file belongs to one value of `{kind}`, so each "
            "partition ends with a file that is not full.",
            run=f"print(compact([whole], {small}, {target}))",
        ),
        Misconception(
            "forgets-untouched-files",
            f"These are the new files only. Those of {small} MB or more were left alone and still count.",
            run=f"print(compact([[s for s in sizes if s < {small}] for sizes in partitions], {small}, {target}))",
        ),
        Misconception(
            "total-by-target",
            f"That divides all megabytes by {target}. Large files stay as they are, and partitions are not mixed.",
            run=f"print(compact([whole], {target + 1}, {target}))",
        ),
        Misconception(
            "files-stay-whole",
            "That puts whole files together as long as they fit. Rows are rewritten, so an input may be split.",
            run=f"print(pack(partitions, {small}, {target}))",
        ),
        Misconception(
            "one-file-per-partition",
            "That expects one file for each partition, however many megabytes it holds.",
            run="print(len(partitions))",
        ),
    )


_STORE = """
def play(count):
    objects = dict.fromkeys(before, "old")
    pointer = None
    for what, *paths in steps[:count]:
        if what == "PUT":
            objects[paths[0]] = "new"
        elif what == "DELETE":
            del objects[paths[0]]
        elif what == "COPY":
            objects[paths[1]] = objects[paths[0]]
        else:
            pointer = paths[0]
    return objects, pointer

def read(count, folder=None):
    objects, pointer = play(count)
    folder = folder or (pointer or "v1" if pointed else table)
    return [kind for path, kind in objects.items() if path.split("/")[0] == folder]

def tell(kinds):
    print(f"{kinds.count('old')} old, {kinds.count('new')} new")
"""
_Step = tuple[str, ...]


def _writer(rng: random.Random, folder: str) -> tuple[list[str], list[_Step], bool]:
    """Draw what a folder holds, the steps that replace it, and whether readers follow a pointer."""
    old, new = rng.randint(2, 3), rng.randint(2, 3)
    way = rng.choice(("delete first", "write first", "pointer", "copy", "overwrite"))
    place = "v1" if way == "pointer" else folder
    before = [f"{place}/{name}" for name in "abc"[:old]]
    deletes: list[_Step] = [("DELETE", path) for path in before]
    if way == "overwrite":
        rest: list[_Step] = [("DELETE", path) for path in before[new:]]
        return before, [*(("PUT", f"{folder}/{name}") for name in "abc"[:new]), *rest], False
    target = {"pointer": "v2", "copy": "tmp"}.get(way, folder)
    puts: list[_Step] = [("PUT", f"{target}/{name}") for name in "xyz"[:new]]
    if way == "delete first":
        return before, [*deletes, *puts], False
    if way == "write first":
        return before, [*puts, *deletes], False
    if way == "pointer":
        return before, [*puts, ("POINT", "v2"), *deletes], True
    copies: list[_Step] = [("COPY", f"tmp/{name}", f"{folder}/{name}") for name in "xyz"[:new]]
    return before, [*puts, *deletes, *copies], False


def _said(step: _Step) -> str:
    if step[0] == "POINT":
        return f'PUT current ("{step[1]}")'
    return f"{step[0]} {' to '.join(step[1:])}"


def _crash_mistakes(rng: random.Random, count: int, total: int) -> list[Misconception]:
    """Return mistakes that are executed, in any order, before the one that needs no run."""
    executed = [
        Misconception(
            "crash-undoes-the-job",
            "That undoes the whole job. S3 has no transaction over several objects: what was done stays.",
            run="tell(read(0))",
        ),
        Misconception(
            "job-ends-anyway",
            "That is the end that was planned. Nobody does the remaining steps.",
            run=f"tell(read({total}))",
        ),
        Misconception(
            "every-folder-is-read",
            "That counts files outside the folder that the query reads.",
            run=f"tell(list(play({count})[0].values()))",
        ),
        Misconception(
            "last-step-undone",
            f"That takes step {count} back. It had ended before the crash, and each step counts alone.",
            run=f"tell(read({count - 1}))",
        ),
        Misconception(
            "overwritten-stays",
            "That keeps replaced or deleted files. A PUT under the same name replaces the object, and a deleted one is "
            "no longer listed.",
            run=f"tell(['old'] * len(before) + [kind for kind in read({count}) if kind == 'new'])",
        ),
    ]
    last = Misconception(
        "nothing-until-the-end",
        "That hides the folder until the job has ended. Each PUT and DELETE is seen at once.",
        value="0 old, 0 new",
    )
    return [*rng.sample(executed, len(executed)), last]


@template(
    name="reader-after-a-crashed-writer",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("object-storage", "atomicity", "crashes"),
    title="Amazon S3 User Guide, What is Amazon S3: Amazon S3 data consistency model",
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html#ConsistencyModel",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def reader_after_a_crashed_writer(rng: random.Random) -> Draft:
    """Tell which files a query reads after the job that replaces them died between two steps."""
    folder = rng.choice(("day=05", "day=17", "shop=7", "region=eu", "hour=14"))
    before, steps, pointed = _writer(rng, folder)
    count = rng.randint(1, len(steps) - 1)
    how = "reads `current` and then the folder named there" if pointed else f"reads the folder `{folder}`"
    return Draft(
        prompt=(
            f"A job replaces the Parquet files {', '.join(path.split('/')[1] for path in before)} of "
            f"`{before[0].split('/')[0]}` in S3{' (the object `current` says `v1`)' if pointed else ''}. It dies right "
            f"after step {count}, and nobody restarts it. A query {how}. Which files does it read?"
        ),
        code="\n".join(f"{number} {_said(step)}" for number, step in enumerate(steps, 1)),
        language="text",
        setup=f"before, steps, table, pointed = {before!r}, {steps!r}, {folder!r}, {pointed}{_STORE}",
        run=f"tell(read({count}))",
        why=(
            "The query follows the pointer, which changes in one step; files of the other folder do not matter."
            if pointed
            else f"What was done up to step {count} stays, and the rest is never done; the query reads what is there."
        ),
        misconceptions=_crash_mistakes(rng, count, len(steps)),
        explanation=(
            "Each request to S3 takes effect at once and alone, and a rename is a copy and a delete for each object. "
            "So write new files under new names, and let a single small write switch readers over: a pointer, or the "
            "commit of a table format such as Iceberg or Delta."
        ),
    )
