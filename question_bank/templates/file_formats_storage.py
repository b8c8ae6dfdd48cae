"""Templates on file formats: folders, CSV, compaction and sort order."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
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
)
def folders_left_after_pruning(rng: random.Random) -> Draft:
    """Count the files or megabytes that a query reads from folders named after column values."""
    column, names, measure = rng.choice(_PARTITIONS)
    table, first = rng.choice(("sales", "events", "stats", "facts")), rng.randint(1, 24)
    days, kinds = [first, first + 1, first + 2], rng.sample(names, 2)
    folders = [(day, kind) for day in days for kind in kinds]
    folders += rng.sample(folders, rng.randint(1, 3))
    files = [
        (f"day={day:02}/{column}={kind}/{chr(97 + folders[:at].count((day, kind)))}.parquet", 10 * rng.randint(2, 12))
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
            f"The Parquet files of `{table}` lie in folders named after the columns `day` and `{column}`. The engine "
            f"prunes by folder names and uses no statistics. "
            + ("How many files must it open?" if count else "How many MB do the files have that it must open?")
        ),
        code="\n".join(
            [f"{path:32}{size:>4} MB" for path, size in files]
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


_CSV_TEXTS = (
    ('"a,b"', '"Oslo, NO"', '"1,5"', '"5\\" disk"', '"x,,y"'),
    ('""', '"-"', '"NULL"', '"n/a"', '"None"'),
    ('"007"', '"0"', '"3.0"', '"00742"', '"12"'),
)
_CSV_CODE = """
import csv, io
f = io.StringIO()
csv.writer(f{0}).writerow(row)
f.seek(0)
back = next(csv.reader(f{0}))
""".strip()
_CSV_EQUAL = "print(sum(a == b\n          for a, b in zip(row, back)))"


@template(
    name="csv-round-trip",
    topic=Topic.FILE_FORMATS_STORAGE,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("csv", "data-types", "quoting"),
    title="Python 3 documentation, csv, Module Contents",
    url="https://docs.python.org/3/library/csv.html",
)
def csv_round_trip(rng: random.Random) -> Draft:
    """Count the values that come back unchanged when a row goes through a CSV file."""
    texts = [rng.choice(cells) for cells in _CSV_TEXTS]
    texts += rng.sample(('"ok"', '"Riga"', '"eur"'), rng.randint(0, 2))
    numbers = [str(rng.randint(1, 99)) for _ in range(rng.randint(1, 2))] + [f"{rng.randint(1, 9)}.5"]
    cells = [*texts, *numbers, *["None"] * rng.randint(1, 2)]
    rng.shuffle(cells)
    typed = rng.choice((True, False))
    option, other = (", quoting=q", "") if typed else ("", ", quoting=q")
    row = "row = [" + ",\n       ".join(", ".join(cells[at : at + 3]) for at in range(0, len(cells), 3)) + "]"
    code = _CSV_CODE.replace("\n", f"\n{row}\n", 1).format(option)
    if typed:
        code = code.replace("\nf = ", "\nq = csv.QUOTE_NONNUMERIC\nf = ")
    why = "strings come back as they were, quotes and commas included"
    return Draft(
        prompt="A row is written as CSV and read back. What does this Python program print?",
        code=f"{code}\n{_CSV_EQUAL}",
        language="python",
        setup=f"import csv, io\nq = csv.QUOTE_NONNUMERIC\n{row}",
        run=f"{_CSV_CODE.format(option)}\n{_CSV_EQUAL}",
        why=f"All {why}, and so do numbers, as floats. None comes back as an empty string."
        if typed
        else f"All {why}. Numbers come back as strings, None as an empty string.",
        misconceptions=_csv_mistakes(option, other, typed=typed),
        explanation=(
            "CSV carries text, no types and no NULL. Quoting protects separators inside a value, not the difference "
            'between 7 and "7" or between None and "". Agree on types and on a NULL marker outside the file, or use '
            "a format with a schema."
        ),
    )


def _csv_mistakes(option: str, other: str, *, typed: bool) -> tuple[Misconception, ...]:
    guess = "[float(c) if c.replace('.', '').isdigit() else c for c in back]"
    joined = "','.join('' if c is None else str(c) for c in row)"
    return (
        Misconception(
            "types-lost" if typed else "types-kept",
            "That takes numbers for strings. QUOTE_NONNUMERIC reads unquoted fields as floats, and 7.0 == 7."
            if typed
            else "That counts the numbers. The reader gives strings, and 7 == '7' is false.",
            run=f"{_CSV_CODE.format(other)}\n{_CSV_EQUAL}",
        ),
        Misconception(
            "none-kept",
            "That counts None. It is written as an empty field, which is read as an empty string.",
            run=f"{_CSV_CODE.format(option)}\nprint(sum(a == b or a is None for a, b in zip(row, back)))",
        ),
        Misconception(
            "everything-kept",
            "That counts the whole row. The file keeps neither None nor, without help, the difference of 7 and '7'.",
            run="print(len(row))",
        ),
        Misconception(
            "reader-guesses-types",
            "That lets the reader guess types from digits, so that '007' becomes 7. Python's csv never guesses.",
            run=f"{_CSV_CODE.format('')}\nback = {guess}\n{_CSV_EQUAL}",
        ),
        Misconception(
            "comma-always-splits",
            "That splits at each comma. The writer quotes a value that holds one, and the reader undoes it.",
            run=f"back = {joined}.split(',')\n{_CSV_EQUAL}",
        ),
    )


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
)
def compaction_per_partition(rng: random.Random) -> Draft:
    """Count the files that are left when small files are compacted in each partition."""
    target = rng.choice((64, 128, 256, 512))
    small, step = target * 3 // 4, target // 32
    kind, first = rng.choice(("day", "hour", "week", "shop")), rng.randint(1, 20)
    partitions = [
        [step * rng.randint(2, 23) for _ in range(rng.randint(1, 5))]
        + [step * rng.randint(25, 32) for _ in range(rng.choice((0, 0, 1, 2)))]
        for _ in range(rng.choice((3, 4)))
    ]
    for sizes in partitions:
        rng.shuffle(sizes)
    lines = [f"{kind}={first + at:02}  {'  '.join(map(str, sizes))}" for at, sizes in enumerate(partitions)]
    whole = [size for sizes in partitions for size in sizes]
    return Draft(
        prompt=(
            f"The code shows the sizes in MB of a table's Parquet files. A compaction takes the files below {small} MB "
            f"and writes their rows into new files, each filled up to {target} MB before the next is begun. Sizes "
            "simply add up. How many files does the table have then?"
        ),
        code="\n".join([f"partitioned by {kind}", *lines]),
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
