"""Templates on orchestration in which a small scheduler runs: states of tasks, catchup, trigger rules."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_SHAPES = (
    ("get_{a} >> clean_{a} >> merge", "get_{b} >> clean_{b} >> merge", "merge >> report", "clean_{b} >> archive"),
    ("start >> [{a}, {b}, {c}]", "[{a}, {b}] >> join >> publish", "{c} >> export"),
    ("extract >> [qa, archive]", "qa >> [load_{a}, load_{b}]", "load_{a} >> mart >> notify"),
    ("load_{a} >> dim_{a} >> fact", "load_{b} >> fact", "fact >> [dash, export]", "load_{a} >> profile"),
    ("raw >> split", "split >> [fit_{a}, fit_{b}]", "[fit_{a}, fit_{b}] >> rank", "raw >> stats >> mail"),
    ("get_{a} >> stage_{a}", "stage_{a} >> [mart, audit]", "get_{b} >> stage_{b} >> mart", "mart >> dash"),
)
_SOURCES = ("orders", "rates", "users", "clicks", "stock", "visits", "fees", "prices")
_READ_CHAINS = """
edges = []
for line in text.splitlines():
    steps = [part.strip(" []").split(", ") for part in line.split(">>")]
    for left, right in zip(steps, steps[1:]):
        edges += [(a, b) for a in left for b in right]
tasks = sorted({task for edge in edges for task in edge})
before = {t: [a for a, b in edges if b == t] for t in tasks}
def finish():
    state = {}
    while len(state) < len(tasks):
        for t in tasks:
            if t not in state and all(a in state for a in before[t]):
                good = all(state[a] == "success" for a in before[t])
                done = "failed" if t == bad else "success"
                state[t] = done if good else "upstream_failed"
    return state
def ancestors(t):
    return {t}.union(*(ancestors(a) for a in before[t]))
states = list(finish().values())
next_ones = [b for a, b in edges if a == bad]
"""


@template(
    name="states-after-a-failure",
    topic=Topic.ORCHESTRATION,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("dag", "failures", "task-states"),
    title="Apache Airflow 3 documentation, Dags, Trigger Rules",
    url="https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html",
    rated=(1, 1, 1),
)
def states_after_a_failure(rng: random.Random) -> Draft:
    """Count the tasks that succeed, or never start, when one task of a DAG fails."""
    first, second, third = rng.sample(_SOURCES, 3)
    lines = [line.format(a=first, b=second, c=third) for line in rng.choice(_SHAPES)]
    text = "\n".join(lines)
    steps = [part.strip(" []").split(", ") for line in lines for part in line.split(">>")]
    tasks = sorted({task for step in steps for task in step})
    with_next = {task for line in lines for part in line.split(">>")[:-1] for task in part.strip(" []").split(", ")}
    bad = rng.choice(sorted(with_next))
    wanted = rng.choice(("success", "upstream_failed"))
    asked = "succeed" if wanted == "success" else "end as `upstream_failed`"
    mistakes = _succeeding_mistakes(bad) if wanted == "success" else _blocked_mistakes(bad)
    return Draft(
        prompt=(
            f"A DAG in Airflow has these {len(tasks)} tasks. All settings are the defaults, retries are off, and there "
            f"are enough workers. `{bad}` fails; every other task that starts succeeds. How many tasks {asked}?"
        ),
        code=text,
        language="python",
        setup=f"text, bad = {text!r}, {bad!r}{_READ_CHAINS}",
        run=f"print(states.count({wanted!r}))",
        why=(f"Everything below `{bad}` becomes `upstream_failed`; tasks that do not depend on it run as usual."),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "With the default trigger rule `all_success`, a failure blocks all tasks below it, directly or through "
            "others; they get `upstream_failed` without starting. Branches beside it run to their end. After a fix, "
            "clear the failed task together with the tasks downstream of it."
        ),
        option=f"{{}} of {len(tasks)}",
    )


def _succeeding_mistakes(bad: str) -> list[Misconception]:
    return [
        Misconception(
            "failure-stops-the-run",
            f"That counts only tasks that `{bad}` needs. A failure does not stop tasks that do not depend on it.",
            run="print(len(ancestors(bad)) - 1)",
        ),
        Misconception(
            "only-next-tasks-blocked",
            f"That blocks only the tasks right after `{bad}`. What follows them is blocked as well.",
            run="print(len(tasks) - 1 - len(next_ones))",
        ),
        Misconception(
            "failure-blocks-nothing",
            f"That lets all tasks but `{bad}` run. By default a task starts only if all tasks before it succeeded.",
            run="print(len(tasks) - 1)",
        ),
        Misconception(
            "counts-the-failed-task",
            f"That counts `{bad}` as well, which has failed.",
            run="print(states.count('success') + 1)",
        ),
        Misconception(
            "failed-run-has-no-success",
            "That gives the state of the run to all its tasks. Each task has its own, and what ran well is `success`.",
            value="0",
        ),
    ]


def _blocked_mistakes(bad: str) -> list[Misconception]:
    return [
        Misconception(
            "only-next-tasks-blocked",
            f"That counts only the tasks right after `{bad}`. The state is handed on to whatever follows them.",
            run="print(len(next_ones))",
        ),
        Misconception(
            "counts-the-failed-task",
            f"That counts `{bad}` too. It did run, so its own state is `failed`.",
            run="print(states.count('upstream_failed') + 1)",
        ),
        Misconception(
            "failure-stops-the-run",
            f"That counts every task that `{bad}` does not need. Those that do not depend on it run as usual.",
            run="print(len(tasks) - len(ancestors(bad)))",
        ),
        Misconception(
            "failure-blocks-nothing",
            f"By default a task starts only if all tasks before it succeeded, so the ones below `{bad}` never start.",
            value="0",
        ),
    ]


_CRONS = (
    (24, "{hour} * * *"),
    (24, "{hour} * * *"),
    (12, "{hour},{second} * * *"),
)
_RUNS = """
from datetime import datetime, timedelta
first = base
while first < start:
    first += step
def count(tick, passed):
    runs = 0
    while passed(tick):
        tick, runs = tick + step, runs + 1
    return runs
"""


@template(
    name="catchup-first-runs",
    topic=Topic.ORCHESTRATION,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("catchup", "data-interval", "scheduling"),
    title="Apache Airflow documentation, Timetables, CronDataIntervalTimetable",
    url="https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/timetable.html",
    rated=(3, 2, 2),
)
def catchup_first_runs(rng: random.Random) -> Draft:
    """Count the runs that catchup creates when a DAG is switched on."""
    hours, cron = rng.choice(_CRONS)
    hour = rng.choice((2, 4, 6, 8))
    day = datetime(2026, rng.randint(1, 11), rng.randint(2, 18), tzinfo=UTC)
    base = day - timedelta(days=1) + timedelta(hours=hour)
    start = day + timedelta(hours=rng.choice((0, 0, 3, 10)))
    days = (rng.randint(3, 5) * hours + 12) // 24
    now = day + timedelta(days=days, hours=rng.choice((1, 5, 9, 13, 21)), minutes=30)
    length = timedelta(hours=hours)
    first = base + -((base - start) // length) * length
    clock = f"{start.year}, {start.month}, {start.day}" + (f", {start.hour}" if start.hour else "")
    schedule = cron.format(hour=hour, second=hour + 12)
    setup = (
        f"from datetime import datetime, timedelta\nbase, start = {_bare(base)}, {_bare(start)}\n"
        f"now, step = {_bare(now)}, timedelta(hours={hours}){_RUNS}"
    )
    return Draft(
        prompt=(
            f"A new Airflow DAG with these arguments is switched on for the first time on {now.day} {now:%B %Y} at "
            f"{now:%H:%M} UTC. How many runs does it get for the time up to then?"
        ),
        code=(
            f"start_date=datetime(\n    {clock}, tzinfo=UTC),\n"
            f'schedule=CronDataIntervalTimetable(\n    "0 {schedule}", timezone="UTC"),\ncatchup=True,'
        ),
        language="python",
        setup=setup,
        run="print(count(first, lambda tick: tick + step <= now))",
        why=(
            f"The first interval begins on {_said(first)}, and the last one that is over by then ends on "
            f"{_said(first + (now - first) // length * length)} UTC."
        ),
        misconceptions=_catchup_mistakes(rng),
        explanation=(
            "With this timetable a run stands for an interval between two cron times and is created when the interval "
            "is over. The first one starts at the first cron time that is not before `start_date`. With catchup on, "
            "each interval that is over by now gets a run, limited by `max_active_runs` at a time."
        ),
    )


def _said(moment: datetime) -> str:
    return f"{moment.day} {moment:%B, %H:%M}"


def _bare(moment: datetime) -> str:
    return f"datetime({moment.year}, {moment.month}, {moment.day}, {moment.hour}, {moment.minute})"


def _catchup_mistakes(rng: random.Random) -> list[Misconception]:
    mistakes = [
        Misconception(
            "run-at-interval-start",
            "That counts each cron time as a run. The interval that began at the last one is not over yet, so it has "
            "no run.",
            run="print(count(first, lambda tick: tick <= now))",
        ),
        Misconception(
            "cron-times-and-the-start",
            "That takes the start date as the begin of an interval of its own and counts the running one as well. "
            "Intervals lie between cron times and must be over.",
            run="print(count(first, lambda tick: tick <= now) + 1)",
        ),
        Misconception(
            "first-interval-left-out",
            "That is one too few. The first run is due one interval after the first cron time, but it is for that "
            "interval.",
            run="print(count(first + step, lambda tick: tick + step <= now))",
        ),
        Misconception(
            "per-calendar-day",
            "That counts calendar days with both ends and a full set of runs for each. The first and the last day are "
            "not whole.",
            run="print(((now.date() - start.date()).days + 1) * (timedelta(days=1) // step))",
        ),
        Misconception(
            "latest-only",
            "Only the latest interval gets a run with `catchup=False`. Here all of them do.",
            value="1",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_RULE_SAYS = {
    "all_success": "needs success everywhere and hands on failures and skips",
    "none_failed": "lets skips pass, but no failure",
    "none_failed_min_one_success": "lets skips pass beside a success, but no failure",
    "one_success": "starts with one success; with skips alone it is skipped",
    "all_done": "starts whatever happened before",
    "one_failed": "starts after a failure and is skipped without one",
}
_DECIDE = """
def decide(rule, ups):
    bad = "failed" in ups or "upstream_failed" in ups
    if rule == "one_failed":
        return "success" if bad else "skipped"
    if rule == "one_success":
        if "success" in ups:
            return "success"
        return "skipped" if set(ups) == {"skipped"} else "upstream_failed"
    if rule == "all_done":
        return "success"
    if bad:
        return "upstream_failed"
    if rule == "all_success":
        return "skipped" if "skipped" in ups else "success"
    if rule == "none_failed_min_one_success":
        return "skipped" if set(ups) == {"skipped"} else "success"
    return "success"
def tell(ups, rules, leaf=True, direct=True):
    join = decide(rules[0], ups)
    last = decide(rules[1], [join] if direct else ups)
    seen = [last] if leaf else [*ups, join, last]
    run = "failed" if {"failed", "upstream_failed"} & set(seen) else "success"
    return f"join {join}, {name} {last}, run {run}"
"""


@template(
    name="trigger-rules-and-run-state",
    topic=Topic.ORCHESTRATION,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("trigger-rules", "skipped-tasks", "dag-run-state"),
    title="Apache Airflow 3 documentation, Dags, Trigger Rules",
    url="https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/dags.html",
    rated=(2, 2, 2),
)
def trigger_rules_and_run_state(rng: random.Random) -> Draft:
    """Follow skipped and failed states through two trigger rules to the state of the run."""
    ups = rng.choice((["failed", "skipped"], ["failed", "skipped"], ["success", "skipped"], ["failed", "success"]))
    ups = [*ups, rng.choice(("success", "skipped", "failed", "skipped"))]
    rng.shuffle(ups)
    regions = rng.sample(("eu", "us", "asia", "web", "app", "shop", "api", "crm"), 3)
    rules = (
        rng.choice(sorted(_RULE_SAYS)),
        rng.choice(("all_success", "all_success", "all_done", "none_failed", "one_failed")),
    )
    name = rng.choice(("mail", "report", "clean", "notify", "close"))
    given = ", ".join(f"`load_{region}` {state}" for region, state in zip(regions, ups, strict=True))
    loads = ", ".join(f"load_{region}" for region in regions)
    decorated = "".join(
        f'@task(trigger_rule="{rule}")\ndef {task}(): ...\n' if rule != "all_success" else f"@task\ndef {task}(): ...\n"
        for task, rule in zip(("join", name), rules, strict=True)
    ).replace(
        '@task(trigger_rule="none_failed_min_one_success")', '@task(trigger_rule=\n  "none_failed_min_one_success")'
    )
    loads_line = f"[{loads}]"
    return Draft(
        prompt=(
            f"In a run of an Airflow DAG the first three tasks ended like this: {given}. The rest of the DAG "
            f"is below; a task that starts succeeds. In which states do `join`, `{name}` and the run end?"
        ),
        code=f"{decorated}\n({loads_line}\n  >> join() >> {name}())",
        language="python",
        setup=f"ups, rules, name = {ups!r}, {rules!r}, {name!r}{_DECIDE}",
        run="print(tell(ups, rules))",
        why=(
            f"`join` {_RULE_SAYS[rules[0]]}. `{name}` {_RULE_SAYS[rules[1]]}. "
            f"The run takes its state from the leaf `{name}`."
        ),
        misconceptions=_trigger_mistakes(rng, name),
        explanation=(
            "`all_success` hands on failures as upstream_failed and skips as skipped; the none_failed rules let skips "
            "pass; all_done runs in any case. The run fails only if a leaf task is failed or upstream_failed, so a "
            "last task that always runs, or is skipped, turns a failed run green."
        ),
    )


def _trigger_mistakes(rng: random.Random, name: str) -> list[Misconception]:
    """Return mistakes about rules and about states, in any order."""
    mistakes = [*_rule_mistakes(name), *_state_mistakes(name)]
    rng.shuffle(mistakes)
    return mistakes


def _rule_mistakes(name: str) -> list[Misconception]:
    return [
        Misconception(
            "skipped-is-success",
            "That takes a skipped task for a successful one. Under `all_success` a skip is handed on, and under "
            "`one_success` it does not count.",
            run="ups = ['success' if up == 'skipped' else up for up in ups]\nprint(tell(ups, rules))",
        ),
        Misconception(
            "skipped-is-failure",
            "That takes a skipped task for a failed one. A skip never leads to upstream_failed where nothing has "
            "failed, and `one_failed` ignores it.",
            run="ups = ['failed' if up == 'skipped' else up for up in ups]\nprint(tell(ups, rules))",
        ),
        Misconception(
            "rules-overlooked",
            "That handles both tasks with the default rule `all_success`. A decorator with another rule changes that.",
            run="print(tell(ups, ('all_success', 'all_success')))",
        ),
        Misconception(
            "rule-looks-at-all-before",
            f"That lets the rule of `{name}` look at the first three tasks. A trigger rule sees only the tasks right "
            "before, here `join`.",
            run="print(tell(ups, rules, direct=False))",
        ),
        Misconception(
            "blocked-is-not-a-failure",
            f"That does not let upstream_failed count as a failure for `{name}`. It does, in every trigger rule.",
            run=(
                "rightly = decide\ndef decide(rule, ups):\n"
                "    return rightly(rule, ['success' if up == 'upstream_failed' else up for up in ups])\n"
                "print(tell(ups, rules))"
            ),
        ),
    ]


def _state_mistakes(name: str) -> list[Misconception]:
    return [
        Misconception(
            "any-failure-fails-the-run",
            f"That lets any failed task fail the run. Only the leaf tasks decide, here `{name}`.",
            run="print(tell(ups, rules, leaf=False))",
        ),
        Misconception(
            "blocked-means-skipped",
            "That marks blocked tasks as skipped. When a failure stands in the way, the state is upstream_failed, "
            "which also fails the run at a leaf.",
            run=(
                "rightly = decide\ndef decide(rule, ups):\n"
                "    return rightly(rule, ups).replace('upstream_failed', 'skipped')\nprint(tell(ups, rules))"
            ),
        ),
        Misconception(
            "blocked-means-failed",
            "That marks `join` as failed. A task that could not start because of a failure before it is "
            "upstream_failed; failed is one that ran.",
            run="print(tell(ups, rules).replace('join upstream_failed', 'join failed'))",
        ),
        Misconception(
            "blocked-leaf-leaves-the-run-green",
            f"That takes the run for a success because `{name}` never ran. A leaf in the state upstream_failed fails "
            "the run.",
            run="print(tell(ups, rules).replace('run failed', 'run success'))",
        ),
    ]
