"""Templates on batch processing: rebuilds after corrections, and how Spark plans its tasks."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_ROLLING = """
def outputs(source, window=window):
    return [sum(source[max(0, day - window + 1):day + 1]) for day in range(days)]

def changed(window=window):
    before = [1] * days
    after = [1 + (day + 1 in corrected) for day in range(days)]
    return sum(a != b for a, b in zip(outputs(before, window), outputs(after, window)))
"""


def _rolling_window_rebuild_mistakes(window: int, days: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "only-the-corrected-days",
            f"Later days hold the corrected ones in their window too, for {window - 1} more days each.",
            run="print(len(corrected))",
        ),
        Misconception(
            "everything-after",
            f"A window of {window} days forgets: a corrected day leaves it after {window - 1} more days. Only a "
            "running "
            "total from the start would change to the end.",
            run="print(days - corrected[0] + 1)",
        ),
        Misconception(
            "overlap-and-end-ignored",
            f"That takes {window} days for each correction, though windows may overlap or end after day {days}.",
            run="print(len(corrected) * window)",
        ),
        Misconception(
            "one-day-too-many",
            f"The window of {window} days includes the day itself, so a correction reaches {window - 1} days further, "
            f"not {window}.",
            run=f"print(changed({window + 1}))",
        ),
        Misconception(
            "own-day-forgotten",
            f"The corrected day itself changes as well: with the {window - 1} days after it, that makes {window} "
            "days, not "
            f"{window - 1}.",
            run=f"print(changed({window - 1}))",
        ),
        Misconception(
            "window-looks-ahead",
            "That rebuilds the days before a correction. The window looks back, so the days after it are the ones to "
            "change.",
            run="corrected = [days + 1 - day for day in corrected]\nprint(changed())",
        ),
    )


@template(
    name="rolling-window-rebuild",
    topic=Topic.BATCH_PROCESSING,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("backfill", "rolling-window", "reprocessing"),
    title="PostgreSQL 18 documentation, 4.2.8 Window Function Calls",
    url="https://www.postgresql.org/docs/18/sql-expressions.html#SYNTAX-WINDOW-FUNCTIONS",
)
def rolling_window_rebuild(rng: random.Random) -> Draft:
    """Find how many days of a rolling sum must be built again after corrections of the source."""
    window = rng.choice((3, 4, 5, 6, 7, 10, 14))
    days = rng.choice((28, 30, 31))
    what = rng.choice(("revenue", "visits", "sales", "signups", "energy use"))
    count = rng.randint(1, 3)
    corrected = sorted(rng.sample(range(window, days + 1), count))
    listed = " and ".join(map(str, corrected)) if count < 3 else f"{corrected[0]}, {corrected[1]} and {corrected[2]}"  # noqa: PLR2004
    mistakes = _rolling_window_rebuild_mistakes(window, days)
    return Draft(
        prompt=(
            f"A table holds for each day of a month of {days} days the {what} of that day and the {window - 1} days "
            f"before it (a rolling sum over {window} days). All {days} days are built. Now the source is corrected for "
            f"{'day' if count == 1 else 'days'} {listed}, always upwards. How many days of the table must be built "
            "again?"
        ),
        setup=f"days, window, corrected = {days}, {window}, {corrected}{_ROLLING}",
        run="print(changed())",
        why=(
            f"Each correction changes its own day and up to {window - 1} days after it, until day {days}; a day in two "
            "such ranges counts once."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "A corrected input day reaches every output whose window holds it: that day and `window - 1` days after "
            "it. "
            "Plan a backfill by output days, cut off at the last one, and build overlapping days once."
        ),
    )


_COALESCE = """
def tasks(sizes=sizes, fill_past=False):
    count, current = 1, 0
    for number, size in enumerate(sizes):
        full = current >= target if fill_past else number > 0 and current + size > target
        if full:
            count, current = count + 1, 0
        current += size
    return count

def cut():
    for size in sizes:
        while size > 0:
            yield min(size, target)
            size -= target

def first_fit(sizes):
    bins = []
    for size in sizes:
        place = next((n for n, used in enumerate(bins) if used + size <= target), len(bins))
        bins[place:place + 1] = [(bins[place] if place < len(bins) else 0) + size]
    return len(bins)
"""


def _aqe_coalesce_neighbours_mistakes(total: int, sizes: list[int], target: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "total-by-target",
            f"That is {total} / {target}, rounded up. Spark joins whole neighbouring partitions, so most tasks stay "
            "below "
            "the target.",
            run="print(-(-sum(sizes) // target))",
        ),
        Misconception(
            "packed-in-any-order",
            "That packs partitions from anywhere into one task. Spark joins neighbours only, since a task reads one "
            "range of partition numbers.",
            run="print(first_fit(sorted(sizes, reverse=True)))",
        ),
        Misconception(
            "fills-past-the-target",
            "That closes a task after it has passed the target. Spark closes it before, if the next partition would "
            "pass it.",
            run="print(tasks(fill_past=True))",
        ),
        Misconception(
            "splits-the-large-one",
            f"That cuts the partition of {max(sizes)} MB. Coalescing only joins; a large partition stays a task of its "
            "own.",
            run="print(tasks(cut()))",
        ),
        Misconception(
            "nothing-joined",
            f"That is one task for each of the {len(sizes)} partitions, as without AQE. Small neighbours are joined.",
            run="print(len(sizes))",
        ),
    )


@template(
    name="aqe-coalesce-neighbours",
    topic=Topic.BATCH_PROCESSING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("spark", "aqe", "shuffle-partitions"),
    title="Apache Spark documentation, SQL Performance Tuning, Coalescing Post Shuffle Partitions",
    url="https://spark.apache.org/docs/latest/sql-performance-tuning.html#coalescing-post-shuffle-partitions",
)
def aqe_coalesce_neighbours(rng: random.Random) -> Draft:
    """Count the tasks after Spark has joined small neighbouring shuffle partitions."""
    target = rng.choice((64, 100, 128))
    sizes = [
        rng.choice((rng.randint(5, target // 3), rng.randint(target // 3, target))) for _ in range(rng.randint(8, 11))
    ]
    sizes[rng.randrange(len(sizes))] = target + rng.randint(10, target)
    total = sum(sizes)
    mistakes = _aqe_coalesce_neighbours_mistakes(total, sizes, target)
    lines = [" ".join(map(str, sizes[place : place + 6])) for place in range(0, len(sizes), 6)]
    return Draft(
        prompt=(
            f"Spark 4 runs an aggregation after a shuffle. The sizes in MB that AQE sees for the {len(sizes)} shuffle "
            "partitions are shown in order of their number. AQE is on, `coalescePartitions.parallelismFirst` is false "
            f"and `advisoryPartitionSizeInBytes` is {target} MB; the rest is default. How many tasks read the shuffle?"
        ),
        code="\n".join(lines),
        language="text",
        setup=f"target, sizes = {target}, {sizes}{_COALESCE}",
        run="print(tasks())",
        why=f"In order, a task takes partitions until the next one would lift it above {target} MB.",
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "AQE joins neighbouring shuffle partitions up to the advisory size and never splits or reorders them here. "
            "Set shuffle partitions rather high and let AQE join; with parallelismFirst true (default) it aims at many "
            "tasks instead and may ignore the advisory size."
        ),
    )


_ALLOCATION = """
def wanted(grow=lambda step: step * 2, first_round=True):
    total, step = initial, 1
    for second in range(1, now + 1):
        later = second - backlog
        if later >= 0 and later % sustained == 0 and (later > 0 or first_round):
            total, step = min(most, total + step), grow(step)
    return total
"""


def _dynamic_allocation_rounds_mistakes(
    initial: int, backlog: int, sustained: int, rounds: int
) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "one-more-each-round",
            "That adds one executor a round. The number that is added doubles from round to round: 1, 2, 4, 8.",
            run="print(wanted(lambda step: step))",
        ),
        Misconception(
            "doubles-the-total",
            "That doubles the whole number in each round. What doubles is the step, and it starts with 1.",
            run=f"print(min(most, initial * 2 ** {rounds}))",
        ),
        Misconception(
            "forgets-the-first-round",
            f"That leaves out a round: the first request comes after {backlog} s already, the next ones {sustained} s "
            "apart.",
            run="print(wanted(first_round=False))",
        ),
        Misconception(
            "all-at-once",
            "Spark doesn't ask for the maximum at once. It feels its way up in rounds, as long as tasks go on waiting.",
            run="print(most)",
        ),
        Misconception(
            "only-the-new-ones",
            f"Those are the executors that were added; the {initial} from the start count too.",
            run="print(wanted() - initial)",
        ),
    )


@template(
    name="dynamic-allocation-rounds",
    topic=Topic.BATCH_PROCESSING,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("spark", "dynamic-allocation", "executors"),
    title="Apache Spark documentation, Job Scheduling, Request Policy",
    url="https://spark.apache.org/docs/latest/job-scheduling.html#request-policy",
)
def dynamic_allocation_rounds(rng: random.Random) -> Draft:
    """Count the executors that Spark has asked for while its tasks wait."""
    backlog = rng.choice((1, 2, 3, 5, 10))
    sustained = rng.choice((2, 3, 4, 5, 10))
    initial = rng.choice((1, 2, 3, 4, 5, 8, 10))
    rounds = rng.randint(3, 6)
    now = backlog + (rounds - 1) * sustained + rng.randint(1, sustained - 1)
    most = rng.choice((40, 50, 60, 100))
    mistakes = _dynamic_allocation_rounds_mistakes(initial, backlog, sustained, rounds)
    return Draft(
        prompt=(
            "A Spark job with dynamic allocation has the settings below (names without `spark.dynamicAllocation.`). "
            "From second 0 on thousands of tasks wait, and they go on waiting. How many executors does Spark want in "
            "all "
            f"at second {now}, whether they have started or not?"
        ),
        code=(
            f"initialExecutors                  {initial}\nmaxExecutors                      {most}\n"
            f"schedulerBacklogTimeout           {backlog}s\nsustainedSchedulerBacklogTimeout  {sustained}s"
        ),
        language="text",
        setup=f"initial, most, backlog, sustained, now = {initial}, {most}, {backlog}, {sustained}, {now}{_ALLOCATION}",
        run="print(wanted())",
        why=(
            f"By then there were {rounds} rounds, which add 1, 2, 4 and so on: {initial} + {2**rounds - 1}, at most "
            f"{most}."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Spark asks carefully at first and then faster: each round adds twice as many as the one before. A short "
            "job may end before the cluster has grown; raise initialExecutors or minExecutors for it."
        ),
    )


_SPLITS = """
def splits():
    for size in files:
        while size > 0:
            yield min(size, target)
            size -= target

def tasks(cost=cost, order=lambda parts: sorted(parts, reverse=True), look_back=False):
    bins = []
    for part in order(splits()):
        candidates = range(len(bins)) if look_back else range(len(bins))[-1:]
        place = next((n for n in candidates if bins[n] + part <= target), None)
        if place is None:
            bins.append(0)
            place = -1
        bins[place] += part + cost
    return len(bins)
"""


def _file_scan_split_packing_mistakes(total: int, target: int, cost: int) -> tuple[Misconception, ...]:
    return (
        Misconception(
            "total-by-target",
            f"That is {total} / {target}, rounded up. Splits are packed whole, and each one adds the open cost to its "
            "task.",
            run="print(-(-sum(files) // target))",
        ),
        Misconception(
            "open-cost-ignored",
            f"That packs by size alone. Each split that is already in a task takes {cost} MB more of its room.",
            run="print(tasks(cost=0))",
        ),
        Misconception(
            "looks-back-for-room",
            "That puts small splits into gaps of earlier tasks. Spark goes on with the current task only (next fit).",
            run="print(tasks(look_back=True))",
        ),
        Misconception(
            "in-listing-order",
            "That packs in the order of the listing. Spark sorts the splits from large to small before.",
            run="print(tasks(order=list))",
        ),
        Misconception(
            "task-per-split",
            "That gives each split a task. Several small ones go into one task while they fit.",
            run="print(len(list(splits())))",
        ),
        Misconception(
            "task-per-file",
            f"That gives each file a task. Files above {target} MB are split, and small pieces share a task.",
            run="print(len(files))",
        ),
    )


@template(
    name="file-scan-split-packing",
    topic=Topic.BATCH_PROCESSING,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("spark", "file-splits", "small-files"),
    title="Apache Spark documentation, SQL Performance Tuning, Other Configuration Options",
    url="https://spark.apache.org/docs/latest/sql-performance-tuning.html",
)
def file_scan_split_packing(rng: random.Random) -> Draft:
    """Count the tasks of a Spark file scan from the sizes of its files."""
    target, cost = rng.choice(((128, 4), (128, 8), (256, 16), (64, 4)))
    files = [rng.randint(target // 8, target // 2) for _ in range(rng.randint(4, 6))]
    files += [target + rng.randint(target // 4, target) for _ in range(rng.randint(1, 2))]
    rng.shuffle(files)
    total = sum(files)
    mistakes = _file_scan_split_packing_mistakes(total, target, cost)
    return Draft(
        prompt=(
            "Spark 4 reads these Parquet files of a table without buckets; the sizes in MB are in order of the paths. "
            f"`spark.sql.files.maxPartitionBytes` is {target} MB, `openCostInBytes` {cost} MB and `minPartitionNum` 1. "
            "Spark packs the splits by next fit. How many tasks does the scan have?"
        ),
        code=" ".join(map(str, files)),
        language="text",
        setup=f"target, cost, files = {target}, {cost}, {files}{_SPLITS}",
        run="print(tasks())",
        why=(
            f"Files are cut at {target} MB, and the pieces sorted from large to small. A task takes the next piece if "
            f"it fits; each piece that is already in it takes {cost} MB more."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "Spark plans scan tasks by bytes, not by files: cut at maxSplitBytes, sort, pack with next fit, each piece "
            "charged openCostInBytes. A higher open cost gives small files more tasks; to cut the listing and opening "
            "itself, compact them."
        ),
    )
