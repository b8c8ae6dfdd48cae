"""Templates on data quality: a robust outlier rule, and the search for rows that differ between two databases."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


@template(
    name="outliers-by-median-and-mad",
    topic=Topic.DATA_QUALITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("anomaly-detection", "outliers", "statistics"),
    title="NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17 Detection of Outliers",
    url="https://www.itl.nist.gov/div898/handbook/eda/section3/eda35h.htm",
)
def outliers_by_median_and_mad(rng: random.Random) -> Draft:
    """Find the days that a rule with the median absolute deviation flags."""
    middle = rng.randint(8, 40) * 10
    factor, sign = rng.choice((3, 4, 5)), rng.choice((">", ">", ">="))
    near = [rng.choice((-1, 1)) * distance for distance in rng.sample(range(1, 7), 3)]
    spread = sorted(abs(distance) for distance in near)[2]
    far = [
        rng.choice((-1, 1)) * rng.choice((spread * factor, spread * factor - 2, spread * factor + 3)),
        rng.choice((-1, 1)) * rng.randint(spread * factor // 2, spread * factor + 1),
        rng.randint(60, 79) * rng.choice((-1, 1)),
    ]
    counts = [middle, *(middle + distance for distance in (*near, *far))]
    rng.shuffle(counts)
    things = rng.choice(("orders", "visits", "files", "claims", "trips", "invoices", "errors"))
    early, late = (", ".join(map(str, part)) for part in (counts[:4], counts[4:]))
    listing = f"{things} = [\n    {early},\n    {late}]"
    rule = (
        f"mid = median({things})\nmad = median(abs(n - mid)\n             for n in {things})\n"
        f"print([n for n in {things}\n       if abs(n - mid) {sign} {factor} * mad])"
    )
    ordered = sorted(counts)[3]
    return Draft(
        prompt=(
            f"A monitor looks at the number of {things} on seven days and prints the days that it takes for outliers. "
            "What is printed?"
        ),
        code=f"from statistics import median\n{listing}\n{rule}",
        language="python",
        setup=f"from statistics import mean, median, stdev\n{listing}",
        run=rule,
        why=(
            f"The median is {ordered}. The median distance from it is "
            f"{sorted(abs(count - ordered) for count in counts)[3]}, and the rule flags what is "
            f"{'more than' if sign == '>' else 'at least'} {factor} times as far."
        ),
        misconceptions=_outlier_mistakes(rng, things, factor, sign, rule),
        explanation=(
            "Mean and standard deviation are pulled along by the outliers that they should find; with seven values no "
            "deviation even reaches three times the sample's standard deviation. Median and MAD ignore how far the "
            "extremes lie. A MAD of 0, when most values are equal, needs a case of its own."
        ),
    )


def _outlier_mistakes(rng: random.Random, things: str, factor: int, sign: str, rule: str) -> list[Misconception]:
    mistakes = [
        Misconception(
            "mean-and-standard-deviation",
            f"That flags what lies {factor} standard deviations from the mean. The outliers themselves blow up the "
            "standard deviation; the rule uses medians.",
            run=f"mid = mean({things})\nprint([n for n in {things} if abs(n - mid) {sign} {factor} * stdev({things})])",
        ),
        Misconception(
            "mean-of-the-deviations",
            "That takes the mean of the distances. The largest ones pull it up; their median stays small.",
            run=rule.replace("mad = median(", "mad = mean("),
        ),
        Misconception(
            "factor-overlooked",
            f"That flags everything further away than one MAD, which is about half of the days. The rule asks for "
            f"{factor} times the MAD.",
            run=rule.replace(f"{factor} * mad", "mad"),
        ),
        Misconception(
            "limit-on-the-other-side",
            f"That treats a distance of exactly {factor} times the MAD the other way. Here the rule says `{sign}`.",
            run=rule.replace(f") {sign} {factor}", f") {'>' if sign == '>=' else '>='} {factor}"),
        ),
        Misconception(
            "only-the-largest",
            "That finds only the most extreme day. The rule tests every day against the same limit.",
            run=f"mid = median({things})\nprint([max({things}, key=lambda n: abs(n - mid))])",
        ),
        Misconception(
            "only-high-values",
            "That looks only above the median. `abs` makes the rule work in both directions.",
            run=rule.replace("if abs(n - mid)", "if n - mid"),
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_SEARCHES = (
    (10_000, 10, 100),
    (100_000, 10, 1_000),
    (1_000_000, 10, 10_000),
    (6_400, 4, 100),
    (64_000, 4, 1_000),
    (12_800, 8, 200),
    (32_000, 8, 500),
    (20_000, 5, 800),
    (50_000, 5, 2_000),
)
"""Keys, segments of a split and the size at which rows are fetched; each size is reached without a remainder."""

_SEARCH = """
def search(low, high, differing, most=most):
    # returns (checksum queries, rows fetched), per side
    inside = [key for key in differing if low <= key < high]
    if not inside:
        return 0, 0
    if high - low <= most:
        return 0, high - low
    size = (high - low) // parts
    queries, rows = parts, 0
    for start in range(low, high, size):
        more, fetched = search(start, start + size, inside, most)
        queries, rows = queries + more, rows + fetched
    return queries, rows
"""


@template(
    name="bisecting-a-table-diff",
    topic=Topic.DATA_QUALITY,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("reconciliation", "checksums", "data-diff"),
    title="data-diff documentation, Technical explanation, Cross-DB Diff",
    url="https://github.com/datafold/data-diff/blob/master/docs/technical-explanation.md",
)
def bisecting_a_table_diff(rng: random.Random) -> Draft:
    """Count the queries or the rows that a comparison by checksums of ever smaller segments needs."""
    keys, parts, most = rng.choice(_SEARCHES)
    segment = keys // parts
    first = rng.randrange(parts) * segment + rng.randrange(segment // most) * most
    near = (first // segment) * segment + rng.randrange(segment // most) * most
    other = rng.randrange(parts) * segment + rng.randrange(segment // most) * most
    starts = [first, rng.choice((first, near)), other]
    differing = sorted({start + rng.randint(2, most - 1) for start in starts})
    ask_rows = rng.random() < 0.5  # noqa: PLR2004 - one question as often as the other
    asked = "rows are fetched from each side" if ask_rows else "checksum queries does each side answer"
    listed = "\n".join(f"           {key:,}" for key in differing).strip()
    return Draft(
        prompt=(
            f"Two copies of a table are compared by key. The whole range is cut into {parts} equal segments, and both "
            "sides compute a checksum of each, one query per segment. A segment whose checksums differ is cut again "
            f"into {parts}; one of at most {most:,} keys is fetched instead. How many {asked}?"
        ),
        code=f"keys       1 to {keys:,}, no gaps\ndiffering  {listed}\n           (other rows are equal)",
        language="text",
        setup=f"keys, parts, most = {keys}, {parts}, {most}\ndiffering = {differing}{_SEARCH}",
        run=f"print(search(1, keys + 1, differing)[{int(ask_rows)}])",
        why=_search_why(differing, parts, most, keys, ask_rows=ask_rows),
        misconceptions=_fetch_mistakes(rng, most) if ask_rows else _query_mistakes(rng, parts),
        explanation=(
            "Cost follows the number of different segments that hold a difference, not the number of differing rows: "
            "neighbours share their segments. So few clustered differences are cheap, and scattered ones approach a "
            "full comparison. More segments per cut mean fewer rounds, but more queries in each."
        ),
    )


def _search_why(differing: list[int], parts: int, most: int, keys: int, *, ask_rows: bool) -> str:
    """Say how many segments matter."""
    if ask_rows:
        last = len({(key - 1) // most for key in differing})
        where = f"one segment of {most:,} keys, which" if last == 1 else f"{last} segments of {most:,} keys, each"
        return f"The {len(differing)} keys lie in {where}{' is' if last == 1 else ''} fetched whole."
    cuts, size = 0, keys
    while size > most:
        cuts += len({(key - 1) // size for key in differing})
        size //= parts
    return f"{cuts} segments are cut, the whole range included, and each cut takes {parts} queries."


def _fetch_mistakes(rng: random.Random, most: int) -> list[Misconception]:
    mistakes = [
        Misconception(
            "one-segment-per-key",
            f"That fetches {most:,} rows for each differing key. Keys in the same last segment share one fetch.",
            run="print(sum(search(1, keys + 1, [key])[1] for key in differing))",
        ),
        Misconception(
            "fetches-differing-rows-only",
            "A checksum does not tell which row of a segment differs, so the whole segment has to be fetched.",
            run="print(len(differing))",
        ),
        Misconception(
            "fetches-after-the-first-cut",
            f"That fetches the segments of the first cut. They have more than {most:,} keys, so they are cut again.",
            run="print(search(1, keys + 1, differing, keys // parts)[1])",
        ),
        Misconception(
            "fetches-one-cut-later",
            f"That cuts once more. A segment of {most:,} keys is within the limit and is fetched.",
            run="print(search(1, keys + 1, differing, most // parts)[1])",
        ),
        Misconception(
            "fetches-everything",
            "That is the whole table. Segments with equal checksums are never fetched.",
            run="print(keys)",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


def _query_mistakes(rng: random.Random, parts: int) -> list[Misconception]:
    mistakes = [
        Misconception(
            "own-path-for-each-key",
            "That walks down for each differing key alone. Keys in the same segment share the queries of its cut.",
            run="print(sum(search(1, keys + 1, [key])[0] for key in differing))",
        ),
        Misconception(
            "a-single-path",
            "That follows one differing segment at each step. Every segment whose checksums differ is cut again.",
            run="print(search(1, keys + 1, differing[:1])[0])",
        ),
        Misconception(
            "only-the-first-cut",
            f"That is the first cut into {parts}. Segments that differ and are too large are cut again.",
            run="print(parts)",
        ),
        Misconception(
            "also-cuts-the-last",
            "That cuts the last segments too. Those within the limit are fetched, with no further checksums.",
            run="print(search(1, keys + 1, differing, most // parts)[0])",
        ),
        Misconception(
            "no-segment-is-left-out",
            "That computes checksums of all segments at each step. Equal segments are left alone.",
            run=(
                "count, size = 0, keys\nwhile size > most:\n"
                "    count, size = count + keys // size * parts, size // parts\nprint(count)"
            ),
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
