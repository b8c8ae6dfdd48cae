"""Templates on data quality: what gets past the tests between two dbt models."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from inspect import getsource

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template


def two_builds(stg_kind: str, test: str, gate: str, mart_kind: str, fix: str, belief: str = "") -> str:
    """Return which of the rows 7 and 8 of day 1 and 9 of day 2 are in `mart` after two nights.

    Args:
        stg_kind: `table`, or `later` for an incremental model that takes days after its latest.
        test: whether it reads `all` rows, or those of `today`.
        gate: `error`, or `warn` where a failed test holds nothing up.
        mart_kind: `table`, `later`, or `today` for an incremental model that takes the day of the run.
        fix: what is done to row 7 between the builds, such as `delete raw`.
        belief: that a failed test `undoes` its model, or `drops` the rows.
    """
    stg = mart = [(6, 0, "right")]
    raw = [*stg, (7, 1, "wrong"), (8, 1, "right")]
    for day in (1, 2):
        latest = max(at for _, at, _ in stg)
        before, stg = stg, raw if stg_kind == "table" else stg + [row for row in raw if row[1] > latest]
        failed = [row for row in stg if row[2] == "wrong" and (test == "all" or row[1] == day)]
        if belief == "drops":
            stg, failed = [row for row in stg if row not in failed], []
        if failed and belief == "undoes":
            stg = before
        if not failed or gate == "warn":
            latest = max(at for _, at, _ in mart)
            took = [row for row in stg if (row[1] > latest if mart_kind == "later" else row[1] == day)]
            mart = stg if mart_kind == "table" else mart + took
        new = [(7, 1, "right")] if fix.startswith("correct") else []
        if fix.endswith("raw"):
            raw = [row for row in raw if row[2] == "right"] + new
        if fix.endswith("stg") and (7, 1, "wrong") in stg:
            stg = [row for row in stg if row[2] == "right"] + new
        raw, fix = [*raw, (9, 2, "right")], ""
    return ", ".join(f"{number} {state}" for number, at, state in sorted(mart) if at) or "none"


@dataclass(frozen=True)
class _Project:
    """What the two models and the test between them are, and what becomes of the wrong row by day."""

    stg_kind: str
    test: str
    gate: str
    mart_kind: str
    fix: str

    def run(self, belief: str = "") -> str:
        """Return what finds out how it ends."""
        facts = (self.stg_kind, self.test, self.gate, self.mart_kind, self.fix, belief)
        return f"print(two_builds{facts})"

    @property
    def end(self) -> str:
        """How it ends, only to choose: the answer comes from what is executed."""
        return two_builds(self.stg_kind, self.test, self.gate, self.mart_kind, self.fix)

    @property
    def in_stg(self) -> str:
        """What `stg` holds of the row in the second night."""
        if not self.fix:
            return "the row is still wrong"
        if self.stg_kind == "table":
            gone = "gone" if self.fix.startswith("delete") else "right"
            return f"`stg` is rebuilt from `raw`: the row is {gone if self.fix.endswith('raw') else 'wrong again'}"
        return (
            "`stg` keeps your change" if self.fix.endswith("stg") else "`stg` reads no old day, so its row stays wrong"
        )

    @property
    def easy(self) -> bool:
        """Whether one rule tells the answer."""
        if self.gate == "warn":
            return not self.fix or self.end != "7 wrong, 8 right, 9 right"
        if self.stg_kind == "table" and self.test == "all":
            return not self.fix or (self.mart_kind == "table" and self.fix.endswith("raw"))
        return False


_FIXES = {
    "correct raw": "Next morning you correct row {bad} in `raw`.",
    "correct stg": "Next morning you correct row {bad} in `stg`.",
    "delete raw": "Next morning you delete row {bad} from `raw`.",
    "delete stg": "Next morning you delete row {bad} from `stg`.",
    "": "Nobody corrects row {bad}.",
}
_STG = {
    "table": "# stg: table\nSELECT * FROM raw",
    "later": "# stg: incremental, append\nSELECT * FROM raw\nWHERE day > (SELECT max(day)\n             FROM stg)",
}
_MART = {
    "table": "# mart: table\nSELECT * FROM stg",
    "later": "# mart: incremental, append\nSELECT * FROM stg\nWHERE day > (SELECT max(day)\n             FROM mart)",
    "today": "# mart: incremental, append\nSELECT * FROM stg\nWHERE day = :today",
}
_MART_TEXTS = {
    "none": "None of them",
    "9 right": "Row {late} alone",
    "8 right, 9 right": "Rows {good} and {late}",
    "7 wrong, 8 right, 9 right": "All three, {bad} still wrong",
    "7 right, 8 right, 9 right": "All three, {bad} corrected",
}
_MART_TAKES = {
    "none": "That takes a second failed test.",
    "9 right": "That takes a `mart` that misses a day.",
    "8 right, 9 right": "That takes a wrong row that leaves `stg`.",
    "7 wrong, 8 right, 9 right": "That takes a wrong row that meets no test.",
    "7 right, 8 right, 9 right": "That takes a correction that gets to `mart`.",
}
"""What would have to happen for each end."""


def _mart_why(project: _Project) -> str:
    """Say how the wrong row fares, night by night."""
    if project.gate == "warn":
        return (
            f"A warning stops nothing, and in the second night {project.in_stg}."
            if project.mart_kind == "table"
            else "A warning stops nothing: `mart` took the wrong row in the first night. Appending, it keeps it."
        )
    first = "The failed test skips `mart`, not `stg`."
    if project.end == "none":
        return f"{first} Then {project.in_stg}. The test fails again."
    unseen = " The test reads one day." if "wrong" in project.in_stg else ""
    takes = "the new day alone" if project.mart_kind == "today" else "both days"
    return f"{first} Then {project.in_stg}.{unseen} `mart` takes {takes}."


@template(
    name="mart-after-a-failed-test",
    topic=Topic.DATA_QUALITY,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("dbt", "data-tests", "incremental-models", "corrections"),
    title="dbt documentation, About dbt build command, Skipping on failures",
    url="https://docs.getdbt.com/reference/commands/build",
    rated=(3, 3, 3),
)
def mart_after_a_failed_test(rng: random.Random) -> Draft:
    """Follow a wrong row through two nights of two dbt models with a test between them."""
    wanted = rng.choice(tuple(_MART_TEXTS))
    while True:
        project = _Project(
            stg_kind=rng.choice(tuple(_STG)),
            test=rng.choice(("all", "today")),
            gate=rng.choice(("error", "error", "error", "warn")),
            mart_kind=rng.choice(tuple(_MART)),
            fix=rng.choice(tuple(_FIXES)),
        )
        if project.end == wanted and not project.easy:
            break
    bad = rng.choice((7, 11, 40, 52, 80))
    ids = {"bad": bad, "good": bad + 1, "late": bad + 2}
    column, value = rng.choice((("amount", -5), ("price", -20), ("hours", -8), ("qty", -3), ("weight", -40)))
    first, second = rng.choice((("Monday", "Tuesday"), ("Tuesday", "Wednesday"), ("Wednesday", "Thursday")))
    why = _mart_why(project)
    return Draft(
        prompt=(
            f"`dbt build` runs daily at 23:00, so far without a fault. `day` is when a row came. On {first} `raw` "
            f"gets row {bad}, with a wrong `{column}` of {value}, and row {bad + 1}. "
            f"{_FIXES[project.fix].format(**ids)} On {second} `raw` gets row {bad + 2}. "
            f"Which of the three does `mart` hold after {second}'s build?"
        ),
        code="\n".join(
            [
                _STG[project.stg_kind],
                f"\n# test of stg: {column} > 0",
                f"severity: {project.gate}",
                f"where: {'day = :today' if project.test == 'today' else '(none)'}",
                f"\n{_MART[project.mart_kind]}",
            ]
        ),
        language="text",
        setup=getsource(two_builds),
        run=project.run(),
        why=why,
        misconceptions=_mart_mistakes(rng, project, why),
        texts={end: text.format(**ids) for end, text in _MART_TEXTS.items()},
        explanation=(
            "`dbt build` tests a model after it is written: a failed test stops what comes next, and undoes nothing. "
            "Correct a row where the next build reads it. Test all that the next model will take, and let that model "
            "catch up with what it missed."
        ),
    )


def _mart_mistakes(rng: random.Random, project: _Project, why: str) -> list[Misconception]:
    """Return what people take the builds for, in any order; then other ends."""
    where = "stg" if project.fix.endswith("raw") else "raw"
    runs = {
        "a-failed-test-undoes-the-model": (project, "undoes"),
        "a-failed-test-drops-the-rows": (project, "drops"),
        "a-test-reads-all-rows": (replace(project, test="all"), ""),
        "a-test-reads-new-rows": (replace(project, test="today"), ""),
        "a-failed-test-stops-nothing": (replace(project, gate="warn"), ""),
        "a-warning-stops-the-build": (replace(project, gate="error"), ""),
        "a-skipped-day-stays-out": (replace(project, mart_kind="today"), ""),
        "a-model-catches-up": (replace(project, mart_kind="later"), ""),
        "each-build-rebuilds-all": (replace(project, stg_kind="table", mart_kind="table"), ""),
        "any-table-may-be-mended": (replace(project, fix=project.fix and f"{project.fix[:-3]}{where}"), ""),
        "a-change-by-hand-is-lost": (replace(project, fix=""), ""),
    }
    mistakes = []
    for name, (taken, belief) in runs.items():
        facts = (taken.stg_kind, taken.test, taken.gate, taken.mart_kind, taken.fix, belief)
        mistakes.append(Misconception(name, f"{_MART_TAKES[two_builds(*facts)]} {why}", run=taken.run(belief)))
    rest = [
        Misconception(f"it-holds-{end.replace(', ', '-').replace(' ', '-')}", f"{takes} {why}", value=end)
        for end, takes in _MART_TAKES.items()
        if project.fix.startswith("correct") or "7 right" not in end
    ]
    return [*rng.sample(mistakes, len(mistakes)), *rng.sample(rest, len(rest))]
