"""Templates on orchestration: a pool whose tasks need several slots, and limits that hold a task back."""

from __future__ import annotations

import random

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_POOL = """
def started(order, skip=True, width=None):
    # tasks: (name, minutes of waiting, weight, slots)
    left, names = free, []
    for name, _, _, slots in order:
        slots = width or slots
        if slots <= left:
            left -= slots
            names.append(name)
        elif not skip:
            break
    show(names)

def show(names):
    print(", ".join(sorted(names)) or "none of the four")

by_weight = sorted(tasks, key=lambda task: -task[2])
"""


@template(
    name="wide-task-in-a-busy-pool",
    topic=Topic.ORCHESTRATION,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("pools", "priorities", "starvation"),
    title="Apache Airflow 3 documentation, Pools, Using multiple pool slots",
    url="https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/pools.html",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def wide_task_in_a_busy_pool(rng: random.Random) -> Draft:
    """Tell which tasks start in a pool with few free slots, when one that needs many waits before them."""
    free = rng.choice((2, 3))
    total = free + rng.choice((2, 3))
    wide = rng.choice(("rebuild", "vacuum", "backup", "retrain", "compact"))
    small = rng.choice(("load", "sync", "copy", "scan"))
    subjects = rng.sample(("orders", "users", "stock", "rates"), 3)
    weights = rng.sample((10, 20, 30, 40), 4)
    widths = [rng.choice((1, 1, 2)) for _ in range(3)]
    waits = rng.sample(range(5, 60, 5), 4)
    tasks = [
        (f"{small}_{subject}", waited, weight, width)
        for subject, waited, weight, width in zip(subjects, waits, weights, widths, strict=False)
    ]
    tasks.append((wide, waits[3], rng.choice((50, 50, 25)), rng.randint(free + 1, total)))
    tasks.sort()
    rows = "\n".join(f"{name:12}{waited:6}{weight:8}{slots:7}" for name, waited, weight, slots in tasks)
    mistakes = _pool_mistakes(wide)
    return Draft(
        prompt=(
            f"Airflow 3: the pool `dwh` has {total} slots. Tasks that run for another hour hold {total - free} of "
            "them. These four tasks are ready to run in it, and no other limit matters. Which does the scheduler start "
            "now?"
        ),
        code=f"{'task':12}{'min':>6}{'weight':>8}{'slots':>7}\n{rows}\n\nmin: minutes of waiting",
        language="text",
        setup=f"tasks, free = {tasks!r}, {free}{_POOL}",
        run="started(by_weight)",
        why=(
            f"It goes by weight and skips what does not fit: `{wide}` waits, and smaller tasks take the {free} free "
            "slots as long as they fit."
        ),
        misconceptions=rng.sample(mistakes, len(mistakes)),
        explanation=(
            "The scheduler goes through ready tasks by weight; one that needs more slots than are free is skipped, and "
            "smaller tasks go ahead. Slots are not saved up, so a wide task can starve. Give it a pool of its own or "
            "fewer slots, and watch the metric `pool.starving_tasks`."
        ),
    )


def _pool_mistakes(wide: str) -> list[Misconception]:
    return [
        Misconception(
            "slots-are-saved-up",
            f"That keeps free slots for `{wide}`. The scheduler reserves nothing: whatever fits starts.",
            run="started(by_weight, skip=False)",
        ),
        Misconception(
            "weight-preempts",
            f"That pushes running tasks aside for `{wide}`. The weight only orders tasks that wait.",
            run=f"show([{wide!r}])",
        ),
        Misconception(
            "one-slot-per-task",
            f"That gives each task one slot. `{wide}` needs all of its slots free at the same time.",
            run="started(by_weight, width=1)",
        ),
        Misconception(
            "longest-wait-first",
            "That goes by the time of waiting. The weight decides first.",
            run="started(sorted(tasks, key=lambda task: -task[1]))",
        ),
        Misconception(
            "low-weight-first",
            "That starts with the lowest weight. The highest one goes first.",
            run="started(by_weight[::-1])",
        ),
    ]


_LIMITS = """
def used(limit):
    running, queued, deferred = counts[scopes[limit]]
    return running + queued + deferred * (limit == "pool" and include)

def full():
    return [limit for limit in limits if used(limit) >= limits[limit]]
"""
_SCOPES = {
    "parallelism": "all tasks",
    "pool": "pool",
    "max_active_tasks": "this run",
    "max_active_tis_per_dag": "this task",
}
_COUNTS = dict[str, tuple[int, int, int]]


def _counts(rng: random.Random) -> _COUNTS:
    """Draw how many tasks run, are queued and are deferred, in scopes that contain each other."""
    task = (rng.randint(1, 2), rng.randint(0, 1), rng.randint(0, 2))
    run = (rng.randint(1, 3), rng.randint(0, 1), rng.randint(0, 3))
    dag = tuple(one + two + rng.randint(0, 1) for one, two in zip(task, run, strict=True))
    pool = tuple(one + rng.randint(0, 1) for one in dag)
    everything = tuple(one + rng.randint(2, 4) for one in pool)
    return {
        "all tasks": (everything[0], everything[1], everything[2]),
        "pool": (pool[0], pool[1], pool[2]),
        "all runs": (dag[0], dag[1], dag[2]),
        "this run": run,
        "this task": task,
    }


def _limits(rng: random.Random, counts: _COUNTS, binding: str, *, include: bool) -> dict[str, int]:
    """Draw limits of which one alone is reached; others are, if the wrong tasks are counted."""
    limits = {}
    for limit, scope in _SCOPES.items():
        running, queued, deferred = counts[scope]
        used = running + queued + deferred * (include and limit == "pool")
        if limit == binding:
            limits[limit] = used
        elif limit == "max_active_tasks":
            limits[limit] = max(used + 1, sum(counts["all runs"][:2]) - rng.randint(0, 1))
        else:
            limits[limit] = used + rng.randint(1, max(1, deferred))
    return limits


def _limit_mistakes(
    rng: random.Random, limits: dict[str, int], counts: _COUNTS, *, include: bool
) -> list[Misconception]:
    """Return for each limit why it does not hold the task back."""
    whys = {}
    for limit, scope in _SCOPES.items():
        running, queued, deferred = counts[scope]
        used = running + queued + deferred * (include and limit == "pool")
        whys[limit] = f"It counts {used} of {limits[limit]}: {running} running and {queued} queued"
        if limit == "pool":
            whys[limit] += f", and {deferred} deferred" if include else "; this pool does not count deferred ones"
        elif limit == "max_active_tasks":
            whys[limit] += " in this run. It does not count other runs, nor deferred tasks"
        elif limit == "max_active_tis_per_dag":
            whys[limit] += ", of this task alone. Deferred ones do not count"
        else:
            whys[limit] += ". Deferred tasks hold no slot of the executor"
    mistakes = [
        Misconception(f"{limit.replace('_', '-')}-taken-for-full", f"{why}.", value=limit)
        for limit, why in whys.items()
    ]
    return rng.sample(mistakes, len(mistakes))


@template(
    name="limit-that-holds-a-task-back",
    topic=Topic.ORCHESTRATION,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("airflow", "concurrency", "pools", "deferrable"),
    title="Apache Airflow 3 documentation, Configuration Reference, max_active_tasks_per_dag; Pools",
    url="https://airflow.apache.org/docs/apache-airflow/stable/configurations-ref.html#max-active-tasks-per-dag",
    form=QuestionForm.NEXT_STEP,
    rated=(4, 4, 3),
)
def limit_that_holds_a_task_back(rng: random.Random) -> Draft:
    """Find the limit that keeps a scheduled task from being queued, from counts of running and waiting tasks."""
    counts, binding, include = _counts(rng), rng.choice(list(_SCOPES)), rng.choice((True, False, False))
    limits = _limits(rng, counts, binding, include=include)
    task = rng.choice(("copy_day", "load_shop", "call_api", "fit_model"))
    pool = rng.choice(("dwh", "api", "gpu"))
    shown = {
        "all tasks": "all DAGs",
        "pool": f"pool {pool}",
        "all runs": "DAG, all runs",
        "this run": "DAG, this run",
        "this task": f"{task}, all runs",
    }
    texts = {
        "parallelism": "`parallelism`",
        "pool": f"the slots of `{pool}`",
        "max_active_tasks": "`max_active_tasks`",
        "max_active_tis_per_dag": "`max_active_tis_per_dag`",
    }
    return Draft(
        prompt=(
            f"Airflow 3, one scheduler: an instance of `{task}` has been `scheduled` for an hour, though workers are "
            f"idle. The pool {'counts' if include else 'does not count'} deferred tasks. Which of its limits holds the "
            "task back?"
        ),
        code="\n".join(
            [
                f"{'parallelism':24}{limits['parallelism']:>4}",
                f"{f'slots of pool {pool}':24}{limits['pool']:>4}",
                f"{'max_active_tasks':24}{limits['max_active_tasks']:>4}",
                f"{'max_active_tis_per_dag':24}{limits['max_active_tis_per_dag']:>4}",
                "",
                f"{'':19} run queue defer",
                *(
                    f"{shown[scope]:19}{running:4}{queued:6}{deferred:6}"
                    for scope, (running, queued, deferred) in counts.items()
                ),
            ]
        ),
        language="text",
        setup=f"limits, counts, scopes, include = {limits!r}, {counts!r}, {_SCOPES!r}, {include}{_LIMITS}",
        run="print(*full())",
        texts=texts,
        why=f"Tasks that count use {limits[binding]} of {limits[binding]}. All other limits leave room.",
        misconceptions=_limit_mistakes(rng, limits, counts, include=include),
        explanation=(
            "All limits count running and queued tasks; deferred ones count only in a pool that includes them. In "
            "Airflow 3 `max_active_tasks` is for each run, `max_active_tis_per_dag` for one task in all runs. The log "
            "of the scheduler names the limit for each task that it passes over."
        ),
    )
