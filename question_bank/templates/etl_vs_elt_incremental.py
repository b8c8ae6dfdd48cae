"""Templates on ETL and ELT: high-water marks, incremental models and joins that are kept up to date."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_STEP = 10
"""Minutes between the runs of a job with a high-water mark."""

_NEXT_MARK = "max([mark] + [at for _, at in got])"


@template(
    name="watermark-overlap-lost-rows",
    topic=Topic.ETL_VS_ELT,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("incremental-load", "watermark", "late-data"),
    title="dbt documentation, Configure incremental models, Filtering rows on an incremental run",
    url="https://docs.getdbt.com/docs/build/incremental-models",
    rated=(2, 2, 2),
)
def watermark_overlap_lost_rows(rng: random.Random) -> Draft:
    """Find the rows that a high-water mark with an overlap never reads."""
    overlap, hour = rng.choice((2, 3, 5)), rng.randint(8, 18)
    table = rng.choice(("orders", "payments", "tickets", "claims", "scans"))
    rows = _late_rows(rng, overlap)
    loop = (
        "mark, target = 0, set()\n"
        "for now in (10, 20, 30):\n"
        f"    got = [(i, at) for i, at, end in rows if end <= now and at > mark - {overlap}]\n"
        "    target |= {i for i, _ in got}\n"
        f"    mark = {_NEXT_MARK}\n"
    )
    ask = "print(', '.join(str(i) for i, _, _ in rows if i not in target) or 'none')"
    return Draft(
        prompt=(
            f"A job reads `{table}` at {hour}:10, {hour}:20 and {hour}:30, and `mark` starts at {hour}:00. It takes "
            f"the visible rows with `updated_at > mark - {overlap} min`, then sets `mark` to the latest `updated_at` "
            "it has read. A row is visible once committed. Which ids does it never read?"
        ),
        code="id  updated_at  committed at\n"
        + "\n".join(f"{i:<4}{f'{hour}:{at:02}':<12}{f'{hour}:{end:02}'}" for i, at, end in rows),
        language="text",
        setup=f"rows = {rows}",
        run=loop + ask,
        why=_watermark_why(_lost(rows, overlap), overlap),
        misconceptions=_watermark_mistakes(rng, overlap, loop, ask),
        explanation=(
            "A row whose transaction commits late shows up behind the high-water mark. An overlap helps only if it is "
            "longer than the mark can run ahead of the slowest commit; with an upsert it costs nothing but reads. "
            "Log-based CDC, which follows commit order, needs none."
        ),
    )


def _watermark_why(lost: set[int], overlap: int) -> str:
    """Say why rows are lost, or why none is."""
    if not lost:
        return f"No late row was so far behind the mark that the overlap of {overlap} minutes did not reach it."
    they = "it" if len(lost) == 1 else "they"
    return f"When {they} could first be read, `mark` was already {overlap} minutes ahead or more."


def _watermark_mistakes(rng: random.Random, overlap: int, loop: str, ask: str) -> list[Misconception]:
    """Return what people take the filter for, in any order."""
    mistakes = [
        Misconception(
            "overlap-overlooked",
            f"That compares with `mark` itself. The filter goes back {overlap} minutes behind it and so saves some "
            "of the late rows.",
            run=loop.replace(f"mark - {overlap}", "mark") + ask,
        ),
        Misconception(
            "mark-is-the-run-time",
            "That sets the mark to the minute of the run. It is the latest `updated_at` that was read, which lies "
            "earlier and so lets more rows pass.",
            run=loop.replace(_NEXT_MARK, "now") + ask,
        ),
        Misconception(
            "every-late-row-is-lost",
            f"Those took more than {overlap} minutes to commit. What counts is how far `mark` had moved past "
            "`updated_at` at the first run that could see the row.",
            run=f"print(', '.join(str(i) for i, at, end in rows if end - at > {overlap}) or 'none')",
        ),
        Misconception(
            "late-for-its-run-is-lost",
            "Those were not visible to the first run after their `updated_at`. The next run still takes them, if "
            "`mark` is not too far ahead.",
            run="print(', '.join(str(i) for i, at, end in rows if -(-at // 10) * 10 < end) or 'none')",
        ),
        Misconception(
            "mark-lags-a-run",
            "That filters with the mark of the run before the last one. `mark` is moved at the end of each run, "
            "so the next one already uses it.",
            run=loop.replace("mark, target =", "last, mark, target = 0,")
            .replace(f"mark - {overlap}", f"last - {overlap}")
            .replace("    mark =", "    last, mark = mark,")
            + ask,
        ),
        Misconception(
            "nothing-is-lost",
            "Every row is visible by the last run, but the filter turns away rows that lie too far behind the mark by "
            "then.",
            value="none",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


def _late_rows(rng: random.Random, overlap: int) -> list[tuple[int, int, int]]:
    """Draw six rows as (id, time stamp, minute of the commit) until they tell the misconceptions apart."""
    none_lost = rng.random() < 0.15  # noqa: PLR2004 - so that a lost row is not taken for granted
    while True:
        slow = rng.sample(range(6), 3)
        rows = []
        for number, at in enumerate(sorted(rng.sample(range(2, 3 * _STEP - 1), 6))):
            lag = rng.randint(overlap + 1, 2 * _STEP) if number in slow else 0
            rows.append((number + 1, at, min(at + lag, 3 * _STEP - 1)))
        if any(moment % _STEP == 0 for _, at, end in rows for moment in (at, end)):
            continue  # whether a run sees what is committed in its very minute is not the question
        lost, strict = _lost(rows, overlap), _lost(rows, 0)
        late = {number for number, at, end in rows if end - at > overlap}
        if bool(lost) != none_lost and lost not in (strict, late):
            return rows


def _lost(rows: list[tuple[int, int, int]], overlap: int) -> set[int]:
    """Say which rows the job misses, only to choose telling ones: the answer comes from what is executed."""
    mark, missed = 0, {number for number, _, _ in rows}
    for now in (_STEP, 2 * _STEP, 3 * _STEP):
        got = [(number, at) for number, at, end in rows if end <= now and at > mark - overlap]
        missed -= {number for number, _ in got}
        mark = max([mark, *(at for _, at in got)])
    return missed


_CONDITIONS = {
    "later": "updated_at > (\n  SELECT max(updated_at)\n  FROM {{ this }})",
    "same": "updated_at >= (\n  SELECT max(updated_at)\n  FROM {{ this }})",
    "hour": "updated_at > (\n  SELECT max(updated_at)\n    - interval '1 hour'\n  FROM {{ this }})",
}
_EVENTS = {"later": "10:05", "tie": "10:00", "late": "09:50", "very late": "08:00", "deleted": ""}


def _after_next_run(strategy: str, condition: str) -> str:
    """Return the SQL for what a model holds of row 7 after its next run."""
    picked = _CONDITIONS[condition].replace("{{ this }}", "model") if condition != "all" else "true"
    batch = f"SELECT * FROM source WHERE {picked}"
    done = {
        "append": "SELECT * FROM model UNION ALL SELECT * FROM batch",
        "merge": "SELECT * FROM model ANTI JOIN batch USING (id) UNION ALL SELECT * FROM batch",
        "table": "SELECT * FROM source",
    }[strategy]
    return (
        f"WITH batch AS ({batch}), done AS ({done}) "
        "SELECT coalesce(string_agg(state, ' + ' ORDER BY state), 'none') FROM done WHERE id = 7"
    )


def _passes(condition: str, event: str) -> bool:
    """Say whether the filter lets the changed row through."""
    return _EVENTS[event] > {"later": "10:00", "same": "09:59", "hour": "09:00"}[condition]


def _held(strategy: str, condition: str, event: str) -> str:
    """Say what the model holds, only to choose: the answer comes from what is executed."""
    if strategy == "table":
        return "none" if event == "deleted" else "new"
    if not _passes(condition, event):
        return "old"
    return "both" if strategy == "append" else "new"


def _next_run_why(strategy: str, condition: str, event: str) -> str:
    if strategy == "table":
        return "`--full-refresh` rebuilds the whole table without the filter, so the model holds what the source holds."
    if event == "deleted":
        return "An incremental run reads what is in the source. A deleted row is not, so nothing touches its old row."
    at = _EVENTS[event]
    if not _passes(condition, event):
        return f"The filter turns {at} away, with 10:00 as the latest in the model. So the run never sees the change."
    if strategy == "append":
        return f"The filter lets {at} through, and `append` adds the row: it looks for no old one."
    return f"The filter lets {at} through, and the unique key makes dbt replace the old row."


@template(
    name="incremental-model-next-run",
    topic=Topic.ETL_VS_ELT,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("dbt", "incremental-models", "late-data"),
    title="dbt documentation, Configure incremental models, Filtering rows on an incremental run",
    url="https://docs.getdbt.com/docs/build/incremental-models",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 2, 2),
)
def incremental_model_next_run(rng: random.Random) -> Draft:
    """Find what an incremental model holds of a row that changed on time, late, at the same moment, or is gone."""
    table, before, after = rng.choice(
        (
            ("orders", "open", "paid"),
            ("tickets", "new", "closed"),
            ("parcels", "packed", "sent"),
            ("trips", "booked", "ended"),
            ("invoices", "draft", "sent"),
            ("users", "trial", "active"),
        )
    )
    strategy, refresh, way, condition, event = _draw_next_run(rng)
    why = _next_run_why(way, condition, event)
    both = " + ".join(sorted((before, after)))
    key = "" if strategy == "append" else ",\n  unique_key='id'"
    news = f"becomes `{after}`, with `updated_at` {_EVENTS[event]}"
    if event == "deleted":
        news = f"becomes `{after}` at 10:05 and is deleted at 10:10"
    return Draft(
        prompt=(
            f"The latest `updated_at` in this dbt model is 10:00; its row 7 is `{before}`, of 09:30. Then row 7 of "
            f"`{table}` {news}. What does the model hold of row 7 after the next "
            f"`dbt run{' --full-refresh' if refresh else ''}`?"
        ),
        code=(
            f"{{{{ config(\n  materialized='incremental',\n  incremental_strategy=\n    '{strategy}'{key}) }}}}\n"
            f"SELECT * FROM {{{{ ref('{table}') }}}}\n{{% if is_incremental() %}}\n"
            f"WHERE {_CONDITIONS[condition]}\n{{% endif %}}"
        ),
        language="sql",
        setup=_next_run_setup(before, after, _EVENTS[event]),
        run=_after_next_run(way, condition),
        why=why,
        misconceptions=_next_run_mistakes(rng, way, condition, (both, after, before), why),
        explanation=(
            "Two things decide: which rows the filter lets through, and whether a key replaces the old row. Take a "
            "unique key and a filter that looks back as far as changes come late; for deletes, take a flag in the "
            "source, snapshots, or a full refresh now and then."
        ),
        texts={
            "none": "No row",
            before: f"One row: {before}",
            after: f"One row: {after}",
            both: f"Two rows: {before} and {after}",
        },
    )


def _draw_next_run(rng: random.Random) -> tuple[str, bool, str, str, str]:
    """Draw a strategy, whether the model is rebuilt, the way that makes, a condition and an event.

    What the model holds is drawn first: of free draws only one in nine would hold both rows.
    """
    wanted = rng.choice(("old", "old", "new", "new", "both", "both", "none"))
    while True:
        strategy, condition = rng.choice(("append", "merge", "delete+insert")), rng.choice(tuple(_CONDITIONS))
        event, refresh = rng.choice(tuple(_EVENTS)), rng.random() < 0.2  # noqa: PLR2004 - now and then
        way = "table" if refresh else "append" if strategy == "append" else "merge"
        if _held(way, condition, event) == wanted:
            return strategy, refresh, way, condition, event


def _next_run_mistakes(
    rng: random.Random, way: str, condition: str, held: tuple[str, ...], why: str
) -> list[Misconception]:
    """Return mistakes that are executed, in any order, before the other things that the model may hold."""
    beliefs = {
        "keys-are-always-replaced": ("merge", condition),
        "rows-are-only-added": ("append", condition),
        "every-change-is-seen": (way, "all"),
        "only-later-rows-are-seen": (way, "later"),
        "the-model-is-rebuilt": ("table", "all"),
    }
    executed = [Misconception(name, why, run=_after_next_run(*belief)) for name, belief in beliefs.items()]
    return [
        *rng.sample(executed, len(executed)),
        *(Misconception(f"it-holds-{value.replace(' + ', '-and-')}", why, value=value) for value in held),
        Misconception("the-row-is-dropped", why, value="none"),
    ]


def _next_run_setup(before: str, after: str, at: str) -> str:
    """Return a model of two rows, and its source after the change; without a time the row is deleted."""
    changed = f"INSERT INTO source VALUES (7, '{after}', TIME '{at}:00');" if at else ""
    return (
        "CREATE TABLE model (id INT, state TEXT, updated_at TIME);"
        f"INSERT INTO model VALUES (7, '{before}', TIME '09:30:00'), (8, '{before}', TIME '10:00:00');"
        f"CREATE TABLE source AS FROM model WHERE id <> 7;{changed}"
    )


_JOIN_SCENES = (
    ("orders", "payments"),
    ("parcels", "scans"),
    ("tickets", "notes"),
    ("trips", "ratings"),
    ("claims", "letters"),
    ("flights", "delays"),
)
_DELTAS: Mapping[str, Sequence[tuple[str, str]]] = {
    "full": (("{l}_new", "{r}"), ("{l}_old", "{r}_new")),
    "full the other way": (("{l}_new", "{r}_old"), ("{l}", "{r}_new")),
    "twice": (("{l}_new", "{r}"), ("{l}", "{r}_new")),
    "gap": (("{l}_new", "{r}_old"), ("{l}_old", "{r}_new")),
    "left": (("{l}_new", "{r}"),),
    "right": (("{l}", "{r}_new"),),
    "new": (("{l}_new", "{r}_new"),),
}
"""Ways to bring a join up to date: which pairs of inputs are joined and added."""

_JOIN_ENDS = {
    "1111": "Nothing: it holds each pair once",
    "1121": "New {l} with new {r}: twice",
    "1101": "New {l} with new {r}: missing",
    "1011": "Old {l} with new {r}: missing",
    "1110": "New {l} with old {r}: missing",
    "1010": "Pairs of old and new rows: missing",
}
"""How often pairs of old with old, old with new, new with new and new with old rows are in the result."""

_JOIN_WHYS = {
    "1111": "Each pair with a new row comes from exactly one branch.",
    "1121": "Both branches read today's rows on both sides, so pairs of two new rows come from each.",
    "1101": "Each branch joins new rows with old ones only, so no branch finds pairs of two new rows.",
    "1011": "Only new {l} are joined. Today's {r} of older {l} never come in.",
    "1110": "Only new {r} are joined. Today's {l} whose {r} came before never come in.",
    "1010": "Only new rows are joined with each other. A new row also meets rows that were there before.",
}


@template(
    name="join-kept-up-to-date",
    topic=Topic.ETL_VS_ELT,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.DUCKDB,
    tags=("incremental-models", "joins", "view-maintenance"),
    title="DBSP: Automatic Incremental View Maintenance for Rich Query Languages, incremental joins",
    url="https://arxiv.org/abs/2203.16684",
    form=QuestionForm.CODE_REVIEW,
    rated=(2, 2, 2),
)
def join_kept_up_to_date(rng: random.Random) -> Draft:
    """Review the INSERT that maintains a join from the new rows of both sides."""
    left, right = rng.choice(_JOIN_SCENES)
    shown = rng.choice(("full", "full the other way", "twice", "twice", "gap", "gap", "left", "right", "new"))
    pairs = list(_DELTAS[shown])
    rng.shuffle(pairs)
    branches = [f"SELECT * FROM {one}\nJOIN {other} USING (id)".format(l=left, r=right) for one, other in pairs]
    end = {"full the other way": "full"}.get(shown, shown)
    key = {"full": "1111", "twice": "1121", "gap": "1101", "left": "1011", "right": "1110", "new": "1010"}[end]
    story = _JOIN_WHYS[key].format(l=left, r=right)
    mistakes = [
        Misconception(f"takes-it-for-{way}".replace(" ", "-"), story, run=_pairs_held(way, left, right))
        for way in _DELTAS
        if way != shown
    ]
    return Draft(
        prompt=(
            f"`joined` joins `{left}` and `{right}`, which only grow, in any order. `_new` means today's rows, `_old` "
            "all before, the plain name both. Yesterday `joined` was right. What is wrong with it after this INSERT?"
        ),
        code="INSERT INTO joined\n" + "\nUNION ALL\n".join(branches) + ";",
        language="sql",
        setup=_join_setup(left, right),
        run=_pairs_held(shown, left, right),
        why=story,
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "For added rows, the change of a join is new x all plus old x new (or new x old plus all x new). "
            "All x new on both sides counts pairs of two new rows twice, old on both sides loses them, and a filter "
            "on one input alone misses late rows of the other. Compare with a full rebuild now and then."
        ),
        texts={value: text.format(l=left, r=right) for value, text in _JOIN_ENDS.items()},
    )


def _join_setup(left: str, right: str) -> str:
    """Return tables with one pair of each kind: ids 1 to 4 are old and old, old and new, new and new, new and old."""
    ids = {f"{left}_old": (1, 2), f"{left}_new": (3, 4), f"{right}_old": (1, 4), f"{right}_new": (2, 3)}
    tables = "".join(f"CREATE TABLE {name} AS SELECT unnest({list(rows)}) AS id;" for name, rows in ids.items())
    views = "".join(f"CREATE VIEW {name} AS FROM {name}_old UNION ALL FROM {name}_new;" for name in (left, right))
    return tables + views


def _pairs_held(way: str, left: str, right: str) -> str:
    """Return the SQL for how often each pair is in the result, by id."""
    parts = [("{l}_old", "{r}_old"), *_DELTAS[way]]
    union = " UNION ALL ".join(f"SELECT id FROM {one} JOIN {other} USING (id)" for one, other in parts)
    held = union.format(l=left, r=right)
    return (
        f"WITH held AS ({held}) SELECT string_agg((SELECT count(*) FROM held WHERE held.id = pair)::TEXT, '' "
        "ORDER BY pair) FROM range(1, 5) AS r(pair)"
    )
