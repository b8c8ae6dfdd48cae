"""Templates on observability: whom an alert reaches, which lines a log keeps, and where to look for stale data."""

from __future__ import annotations

import random
from inspect import getsource

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

Route = tuple[dict[str, str], str, bool, "list[Route]"]
"""Matchers, receiver, whether to continue, and child routes."""


def whom_it_reaches(
    route: Route,
    labels: dict[str, str],
    *,
    every: bool = False,
    first: bool = False,
    parents: bool = False,
    flat: bool = False,
) -> list[str]:
    """Return the receivers of an alert, as Alertmanager walks a route.

    The flags are beliefs: every match counts, `continue` has no effect, parents get it as well, child routes of child
    routes do not count.
    """
    matchers, receiver, _, children = route
    if any(labels.get(name) != value for name, value in matchers.items()):
        return []
    found: list[str] = []
    for child in children:
        seen = (*child[:3], []) if flat else child
        reached = whom_it_reaches(seen, labels, every=every, first=first, parents=parents, flat=flat)
        found += reached
        if reached and not every and (first or not child[2]):
            break
    return [*found, receiver] if parents or not found else found


_SHOW = """from __future__ import annotations

{}

def show(found):
    print(", ".join(sorted(set(found))))

"""


@template(
    name="whom-the-alert-reaches",
    topic=Topic.OBSERVABILITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("alertmanager", "alerting", "routing"),
    title="Prometheus documentation, Alertmanager configuration, Route-related settings",
    url="https://prometheus.io/docs/alerting/latest/configuration/#route",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def whom_the_alert_reaches(rng: random.Random) -> Draft:
    """Follow an alert through the routes of Alertmanager: order, child routes, continue and the fallback."""
    team, other = rng.sample(("bi", "ml", "dw", "hr"), 2)
    labels = {
        "team": team,
        "severity": rng.choice(("page", "page", "ticket")),
        "env": rng.choice(("prod", "prod", "dev")),
    }
    goes_on = rng.choice(("team", "severity", "team", "both", "none"))
    severity, nested = rng.choice(("page", labels["severity"])), rng.choice(("page", "page", "ticket"))
    routes: list[Route] = [
        (
            {"team": team},
            f"{team}-chat",
            goes_on in {"team", "both"},
            [({"severity": nested}, f"{team}-{nested}", False, [])],
        ),
        ({"severity": severity}, "on-call" if severity == "page" else "tickets", goes_on in {"severity", "both"}, []),
        rng.choice(
            (
                ({"team": other}, f"{other}-chat", False, []),
                ({"env": "dev"}, "dev", False, []),
                ({"env": "prod"}, "prod", False, []),
            )
        ),
    ]
    rng.shuffle(routes)
    root: Route = ({}, "mail", False, routes)
    call = "show(whom_it_reaches(root, labels{}))"
    shown = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return Draft(
        prompt=f"An alert has the labels {shown}. Which receivers does Alertmanager notify?",
        code="\n".join(["route:", "  receiver: mail", "  routes:", *_route_lines(routes, "  ")]),
        language="yaml",
        setup=_SHOW.format(getsource(whom_it_reaches)) + f"root, labels = {root}, {labels}",
        run=call.format(""),
        why="Routes are tried from the top; the first that matches takes the alert, unless it says `continue`. In it, "
        "the deepest match counts.",
        misconceptions=_route_mistakes(rng, call),
        explanation=(
            "Alertmanager goes down the tree: the first matching child takes the alert, `continue: true` lets later "
            "siblings match too, and a node notifies only if none of its children matches. `amtool config routes "
            "test` shows whom a set of labels reaches."
        ),
    )


def _route_lines(routes: list[Route], indent: str) -> list[str]:
    lines = []
    for matchers, receiver, goes_on, children in routes:
        ((name, value),) = matchers.items()
        lines += [f'{indent}- matchers: [{name}="{value}"]', f"{indent}  receiver: {receiver}"]
        lines += [f"{indent}  continue: true"] if goes_on else []
        lines += [f"{indent}  routes:", *_route_lines(children, f"{indent}  ")] if children else []
    return lines


def _route_mistakes(rng: random.Random, call: str) -> list[Misconception]:
    mistakes = [
        Misconception(
            "every-match-counts",
            "That notifies every route that matches. Without `continue: true` the first match takes the alert.",
            run=call.format(", every=True"),
        ),
        Misconception(
            "first-match-only",
            "That stops at the first match. With `continue: true` later routes beside it are tried as well.",
            run=call.format(", first=True"),
        ),
        Misconception(
            "parents-get-it-too",
            "That notifies the nodes on the way as well. A node notifies only if none of its child routes matches.",
            run=call.format(", parents=True"),
        ),
        Misconception(
            "child-routes-overlooked",
            "That stops at the first level. A child route that matches takes the alert from its parent.",
            run=call.format(", flat=True"),
        ),
        Misconception(
            "last-match-wins",
            "That reads the routes from the bottom. They are tried from the top.",
            run="root = (*root[:3], root[3][::-1])\n" + call.format(""),
        ),
        Misconception(
            "root-gets-everything",
            "That adds `mail`. The root's receiver is for alerts that no other route takes.",
            run="show([*whom_it_reaches(root, labels), 'mail'])",
        ),
        Misconception(
            "falls-back-to-the-root",
            "That is the fallback, for alerts that match no route below. This one matches.",
            value="mail",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_LOGGING = """
import logging
from logging import DEBUG, INFO, WARNING, ERROR

class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())

manager = logging.Manager(logging.RootLogger(WARNING))  # of its own, so that nobody else's loggers change

def getLogger(name=None):
    return manager.getLogger(name) if name else manager.root

console, logfile = Lines(), Lines()
"""
_LINES = (("debug", "connected"), ("info", "started"), ("warning", "slow"), ("error", "refused"))


@template(
    name="lines-of-a-log-handler",
    topic=Topic.OBSERVABILITY,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("python", "logging", "log-levels"),
    title="Python documentation, logging, Logger.propagate",
    url="https://docs.python.org/3/library/logging.html#logging.Logger.propagate",
    form=QuestionForm.READ,
    rated=(2, 2, 2),
)
def lines_of_a_log_handler(rng: random.Random) -> Draft:
    """List the lines that a handler gets: levels of loggers, levels of handlers, and propagation."""
    handler, owner = rng.choice((("console", "root"), ("console", "root"), ("logfile", "etl")))
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    settings = [f"{rng.choice(('etl', 'etl', 'load'))}.setLevel({rng.choice(levels[:3])})"]
    settings += [f"root.setLevel({rng.choice(levels[1:])})"] if rng.choice((True, False)) else []
    settings += [f"{handler}.setLevel({rng.choice(levels[1:])})"] if rng.choice((True, False)) else []
    settings += ["etl.propagate = False"] if rng.choice((True, False, False)) else []
    rng.shuffle(settings)
    calls = [f'load.{level}("{text}")' for level, text in rng.sample(_LINES, 3)]
    before = "\n".join(
        (
            "root = getLogger()",
            'etl = getLogger("etl")',
            'load = getLogger("etl.load")',
            "root.addHandler(console)",
            "etl.addHandler(logfile)",
            *settings,
        )
    )
    after = "\n".join(calls) + f"\nprint(', '.join({handler}.lines) or 'no line')"
    return Draft(
        prompt=(
            "Python's `logging`, with no other configuration; `console` and `logfile` are two new handlers. Which "
            f"lines does `{handler}` write?"
        ),
        code="\n".join((before, "", *calls)),
        language="python",
        setup=f"{_LOGGING}\n{before}",
        run=after,
        why="The level of `load`, or of the nearest logger above with one, decides whether a line is made. From there "
        "up only levels of handlers and `propagate` stop it.",
        misconceptions=_log_mistakes(rng, handler, owner, settings, after),
        explanation=(
            "A line passes two gates: the effective level of the logger that is called, and the level of each handler. "
            "Levels of loggers further up are not asked again. So set levels on loggers to choose what is made, and on "
            "handlers to choose where it goes."
        ),
    )


def _log_mistakes(rng: random.Random, handler: str, owner: str, settings: list[str], after: str) -> list[Misconception]:
    mistakes = [
        Misconception(
            "loggers-above-filter",
            f"That asks the level of `{owner}` too. The line goes to the handlers above; their loggers' levels do not "
            "count.",
            run=f"{handler}.setLevel(max({handler}.level, {owner}.level))\n{after}",
        ),
        Misconception(
            "handler-takes-all",
            f"That gives `{handler}` all that is logged. A handler has a level of its own.",
            run=f"{handler}.setLevel(DEBUG)\n{after}",
        ),
        Misconception(
            "every-call-makes-a-line",
            "That lets each call make a line. One below the effective level of its logger makes none.",
            run=f"load.setLevel(DEBUG)\n{after}",
        ),
        Misconception(
            "root-decides",
            "That goes by the root's level. It counts only where no logger below has a level.",
            run=f"load.setLevel(root.level)\n{after}",
        ),
        Misconception(
            "propagate-overlooked",
            "That overlooks `propagate = False`: lines stop at `etl`, before the handlers of the root.",
            run=f"etl.propagate = True\n{after}",
        ),
        Misconception(
            "own-handlers-only",
            "That takes only handlers of `load` itself. Lines go up to the handlers of `etl` and of the root as well.",
            value="no line",
        ),
    ]
    if not any(setting.startswith("load.") for setting in settings):
        mistakes.append(
            Misconception(
                "warning-without-a-level",
                "That takes a logger without a level for one at WARNING. It has the level of the nearest one above.",
                run=f"load.setLevel(WARNING)\n{after}",
            )
        )
    rng.shuffle(mistakes)
    return mistakes


_CHAINS = (
    ("web_raw", "crm_raw", "orders", "customers", "sales", "revenue", "stock_raw"),
    ("app_raw", "pay_raw", "visits", "payments", "sessions", "funnel", "ads_raw"),
    ("gps_raw", "truck_raw", "trips", "trucks", "routes", "delays", "fuel_raw"),
    ("till_raw", "shop_raw", "receipts", "shops", "baskets", "margins", "staff_raw"),
)
"""Two raw tables, what is built from each, their join, what somebody looks at, and a table beside all that."""


def first_to_check(table: str, reads: dict[str, list[str]], behind: list[str]) -> str:
    """Return the table above, or the one itself, that is behind although all that it reads is up to date."""
    late = [one for one in reads[table] if one in behind]
    return first_to_check(late[0], reads, behind) if late else table


@template(
    name="first-table-that-is-behind",
    topic=Topic.OBSERVABILITY,
    level=Level.BEGINNER,
    engine=CheckEngine.PYTHON,
    tags=("lineage", "freshness", "debugging"),
    title="OpenLineage specification, Core concepts, Core Lineage Model",
    url="https://github.com/OpenLineage/OpenLineage/blob/main/spec/OpenLineage.md",
    form=QuestionForm.NEXT_STEP,
    rated=(1, 1, 2),
)
def first_table_that_is_behind(rng: random.Random) -> Draft:
    """Find the job to look at first when a report is behind: by lineage and the newest row of each table."""
    raw, other_raw, clean, other_clean, joined, report, beside = rng.choice(_CHAINS)
    if rng.choice((True, False)):
        raw, other_raw, clean, other_clean = other_raw, raw, other_clean, clean
    reads = {
        raw: [],
        other_raw: [],
        clean: [raw],
        other_clean: [other_raw],
        joined: [clean, other_clean],
        report: [joined],
    }
    path = [raw, clean, joined, report]
    culprit = rng.choice(path)
    behind = path[path.index(culprit) :]
    hour = rng.randint(8, 20)
    late = f"{hour - rng.choice((3, 4)):02}:{rng.choice((10, 20, 40))}"
    newest = {table: late if table in behind else f"{hour - 1:02}:{rng.randint(50, 59)}" for table in reads}
    if rng.choice((True, False)):
        reads[beside], newest[beside] = [], f"{hour - 6:02}:{rng.choice((15, 30, 50))}"
    tables = rng.sample(sorted(reads), len(reads))
    width = max(map(len, tables)) + 1
    lines = [f"{table:{width}}{newest[table]:>5}  {', '.join(reads[table]) or 'a source'}" for table in tables]
    return Draft(
        prompt=(
            f"At {hour:02}:00 users of `{report}` miss the rows since {late}. All jobs run every five minutes and are "
            "green. Which table's job do you check first?"
        ),
        code="\n".join([f"{'table':{width}}newest reads", *lines]),
        language="text",
        setup=getsource(first_to_check),
        run=f"print(first_to_check({report!r}, {reads}, {behind}))",
        why=f"`{culprit}` is behind, and "
        + ("it is the first table of the chain" if culprit == raw else "all that it reads is up to date")
        + (": what follows it is behind for that reason." if culprit != report else ", so its own job loses the rows."),
        misconceptions=_lineage_mistakes(rng, (report, culprit, beside), reads, behind),
        explanation=(
            "Go up the lineage from what the user sees, as long as something read is behind: the fault lies in the "
            "first job whose inputs are up to date and whose output is not. A green job tells that it ended, not that "
            "it moved data; compare the newest rows."
        ),
    )


def _lineage_mistakes(
    rng: random.Random, names: tuple[str, str, str], reads: dict[str, list[str]], behind: list[str]
) -> list[Misconception]:
    report, culprit, beside = names
    mistakes = [
        Misconception(f"guesses-{table.replace('_', '-')}", _why_not_first(table, reads, behind), value=table)
        for table in reads
        if table not in {culprit, beside, report}
    ]
    rng.shuffle(mistakes)
    tempting = [
        Misconception(
            "oldest-table", f"`{beside}` is behind too, but nothing that `{report}` reads comes from it.", value=beside
        )
    ] * (beside in reads)
    if report != culprit:
        why = f"`{report}` shows what it reads, and `{reads[report][0]}` is behind as well. Go further up."
        tempting.append(Misconception("where-it-hurts", why, value=report))
    return [*tempting, *mistakes]


def _why_not_first(table: str, reads: dict[str, list[str]], behind: list[str]) -> str:
    if table not in behind:
        return f"`{table}` is up to date, so its job moves data."
    late = next(one for one in reads[table] if one in behind)
    return f"`{table}` is behind since `{late}` is, which it reads. Go further up."
