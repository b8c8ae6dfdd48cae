"""Templates on orchestration: schedules in two time zones, and the day that a late run loads."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.catalog import CheckEngine, Level, QuestionForm, Topic
from question_bank.templates.base import Draft, Misconception, template

_PAIRS = (
    ("Europe/Berlin", "America/New_York", 6),
    ("Europe/London", "America/New_York", 5),
    ("Europe/London", "America/Chicago", 6),
    ("Europe/Berlin", "America/Phoenix", 8),
    ("Asia/Tokyo", "Europe/Berlin", 8),
    ("Asia/Tokyo", "Europe/London", 9),
)
"""Two places, and how many hours the first is ahead in winter."""

_DATES = ((3, 12), (3, 16), (3, 20), (3, 27), (10, 27), (10, 29), (10, 31), (1, 20), (6, 9), (7, 14))
"""Mostly days between the changes of clocks in North America and in Europe."""

_GAP = """
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo
def utc(local, zone):
    return local - local.replace(tzinfo=ZoneInfo(zone)).utcoffset()
def winter(local, zone, ahead=0):
    offset = datetime(local.year, 1, 15, tzinfo=ZoneInfo(zone)).utcoffset()
    return local - offset - timedelta(hours=ahead)
def tell(gap):
    print(abs(gap) // timedelta(hours=1))
"""


@template(
    name="schedules-in-two-time-zones",
    topic=Topic.ORCHESTRATION,
    level=Level.INTERMEDIATE,
    engine=CheckEngine.PYTHON,
    tags=("time-zones", "daylight-saving", "scheduling"),
    title="Apache Airflow documentation, Time Zones, Time zone aware Dags, Cron schedules",
    url="https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/timezone.html",
    rated=(2, 2, 2),
)
def schedules_in_two_time_zones(rng: random.Random) -> Draft:
    """Find the time between two local schedules on a day on which perhaps only one zone has summer time."""
    east, west, ahead = rng.choice(_PAIRS)
    month, day = rng.choice(_DATES)
    wait, minutes = rng.randint(2, 5), rng.choice((0, 15, 30))
    late = rng.randint(max(2, wait - ahead), 9)
    first = datetime(2026, month, day, late + ahead - wait, minutes)  # noqa: DTZ001 - local times of two zones
    second = datetime(2026, month, day, late, minutes)  # noqa: DTZ001
    a, b = (_place(zone) for zone in (east, west))
    summer = {zone: _is_summer(first, zone) for zone in (east, west)}
    upstream, downstream = rng.choice((("export", "report"), ("ingest", "merge"), ("load", "publish")))
    return Draft(
        prompt=(
            f"Two daily jobs are scheduled in local time, as shown. In winter {a} is {ahead} hours ahead of {b}. On "
            f"{day} {first:%B} 2026, how long after `{upstream}` does `{downstream}` start?"
        ),
        code="\n".join(
            [
                f"{upstream:8}{first:%H:%M} {a}",
                f"{downstream:8}{second:%H:%M} {b}",
                "",
                "summer time in 2026",
                *(f"{_place(zone):10}{_summer_time(zone)}" for zone in (east, west)),
            ]
        ),
        language="text",
        setup=f"{_GAP}a, b = {_bare(first)}, {_bare(second)}\neast, west = {east!r}, {west!r}",
        run="tell(utc(b, west) - utc(a, east))",
        option="{} hours",
        texts={"1": "1 hour"},
        why=f"On that day {_who(summer, a, b)}, so {a} is {_ahead(first, east, west)} hours ahead of {b}.",
        misconceptions=_zone_mistakes(rng, _who(summer, a, b), a, b),
        explanation=(
            "Take the offsets of that very day. Regions change their clocks on different days or never, so the "
            "distance between two local schedules moves by an hour in some weeks. Let the second job wait for the data "
            "of the first instead."
        ),
    )


def _bare(moment: datetime) -> str:
    return f"datetime({moment.year}, {moment.month}, {moment.day}, {moment.hour}, {moment.minute})"


def _place(zone: str) -> str:
    return zone.split("/")[1].replace("_", " ")


def _offset(moment: datetime, zone: str) -> timedelta:
    return moment.replace(tzinfo=ZoneInfo(zone)).utcoffset() or timedelta(0)


def _ahead(moment: datetime, east: str, west: str) -> int:
    return (_offset(moment, east) - _offset(moment, west)) // timedelta(hours=1)


def _is_summer(moment: datetime, zone: str) -> bool:
    return _offset(moment, zone) != _offset(datetime(2026, 1, 15), zone)  # noqa: DTZ001 - local


def _summer_time(zone: str) -> str:
    days = [date(2026, 1, 1) + timedelta(days=count) for count in range(365)]
    noon = [day for day in days if _is_summer(datetime(day.year, day.month, day.day, 12), zone)]  # noqa: DTZ001 - local
    if not noon:
        return "none"
    end = noon[-1] + timedelta(days=1)
    return f"{noon[0].day} {noon[0]:%b} to {end.day} {end:%b}"


def _who(summer: dict[str, bool], a: str, b: str) -> str:
    """Say which of two places has summer time."""
    having = [place for place, has in zip((a, b), summer.values(), strict=True) if has]
    if len(having) == 1:
        return f"only {having[0]} has summer time"
    return "both have summer time" if having else "neither has summer time"


def _zone_mistakes(rng: random.Random, fact: str, a: str, b: str) -> list[Misconception]:
    mistakes = [
        Misconception(
            "winter-offsets-all-year",
            f"That takes the winter offsets of both places. On that day {fact}.",
            run="tell(winter(b, west) - winter(a, east))",
        ),
        Misconception(
            "summer-time-in-the-west-only",
            f"That gives summer time to {b} alone. On that day {fact}.",
            run="tell(winter(b, west, 1) - winter(a, east))",
        ),
        Misconception(
            "summer-time-in-the-east-only",
            f"That gives summer time to {a} alone. On that day {fact}.",
            run="tell(winter(b, west) - winter(a, east, 1))",
        ),
        Misconception(
            "clocks-compared-as-they-are",
            "That subtracts two local times as if both clocks showed the same. Turn both into UTC first.",
            run="tell(b - a)",
        ),
    ]
    return rng.sample(mistakes, len(mistakes))


_RUN = """
from datetime import date, timedelta
def dates(timetable, due):
    start = due - timedelta(days=timetable == "CronDataIntervalTimetable")
    return {"ds": start, "start": start, "end": due, "before": start - timedelta(days=1)}
def tell(what, timetable, due=due):
    print(show(now - timedelta(days=1) if what == "today" else dates(timetable, due)[what]))
def show(day):
    return f"{day.day} {day:%B}"
"""

_FILTERS = {
    "'{{ ds }}'": "ds",
    "'{{ data_interval_start | ds }}'": "start",
    "'{{ data_interval_end | ds }}'": "end",
    "'{{ macros.ds_add(ds, -1) }}'": "before",
    "CURRENT_DATE - 1": "today",
}
_LATER = (
    "fails. You clear it on {now}, and it runs again",
    "waits for a worker. It starts on {now}",
    "is missing. You backfill it on {now}",
)


def _loaded_day_mistakes(rng: random.Random, what: str, timetable: str, other: str) -> list[Misconception]:
    """Return mistakes that are executed, in any order, before those that hold for any run."""
    interval = timetable == "CronDataIntervalTimetable"
    named = (
        "With `CronDataIntervalTimetable` the logical date is the start of the interval that ends when the run is due."
        if interval
        else "With `CronTriggerTimetable` the logical date is the time at which the run is due; there is no interval."
    )
    executed = [
        Misconception("other-timetable", named, run=f"tell({what!r}, {other!r})"),
        Misconception(
            "day-on-which-it-runs",
            "That takes the dates of the day on which the task runs. A run keeps the dates of its schedule."
            if what != "today"
            else "That forgets the minus one.",
            run=f"tell({what!r}, {timetable!r}, due=now)" if what != "today" else "print(show(now))",
        ),
        Misconception(
            "yesterday-of-the-task",
            "That is the day before the task runs. The template is filled in with the dates of the run instead."
            if what != "today"
            else "That uses the dates of the run. `CURRENT_DATE` is evaluated by the database when the query runs.",
            run=f"tell('today', {timetable!r})" if what != "today" else f"tell('ds', {timetable!r})",
        ),
    ]
    fixed = [
        Misconception(
            "end-of-the-interval",
            "That is the day on which the run is due.",
            run=f"tell('end', {timetable!r})",
        ),
        Misconception(
            "one-day-further-back",
            "That goes further back than the filter says.",
            run=f"tell('before', {timetable!r})",
        ),
    ]
    return [*rng.sample(executed, len(executed)), *fixed]


@template(
    name="day-that-a-late-run-loads",
    topic=Topic.ORCHESTRATION,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("airflow", "logical-date", "backfill", "idempotency"),
    title='Airflow 3 documentation, Timetables, Differences between "trigger" and "data interval" timetables',
    url="https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/timetable.html",
    form=QuestionForm.READ,
    rated=(3, 3, 3),
)
def day_that_a_late_run_loads(rng: random.Random) -> Draft:
    """Tell which day a run loads that is cleared, late or backfilled, by its timetable and its filter."""
    timetables = ["CronTriggerTimetable", "CronDataIntervalTimetable"]
    timetable, other = rng.sample(timetables, 2)
    text, what = rng.choice(list(_FILTERS.items()))
    due = datetime(2026, rng.randint(1, 12), rng.randint(4, 20), tzinfo=UTC).date()
    now = due + timedelta(days=rng.randint(2, 6))
    table, hour = rng.choice(("orders", "trips", "payments", "visits")), rng.choice((1, 2, 3, 5))
    where = f"WHERE day = {text}" if what in {"ds", "today"} else f"WHERE day =\n  {text}"
    later = rng.choice(_LATER).format(now=f"{now.day} {now:%B}")
    return Draft(
        prompt=(
            f"Airflow 3, everything in UTC. The run that is due on {due.day} {due:%B} at 0{hour}:00 {later}. Which day "
            f"of `{table}` does it load?"
        ),
        code=f'schedule={timetable}(\n  "0 {hour} * * *", timezone="UTC")\n\nSELECT * FROM {table}\n{where}',
        language="text",
        setup=f"from datetime import date\ndue, now = {due!r}, {now!r}{_RUN}".replace("datetime.date(", "date("),
        run=f"tell({what!r}, {timetable!r})",
        why=(
            "The database evaluates `CURRENT_DATE` when the query runs, whichever run it belongs to."
            if what == "today"
            else f"The run keeps the dates of its schedule, whenever it runs. With `{timetable}` the logical date is "
            + ("the start of the interval before it." if "Interval" in timetable else "the time at which it is due.")
        ),
        misconceptions=_loaded_day_mistakes(rng, what, timetable, other),
        explanation=(
            "Filter by the dates of the run, never by the clock, so that a rerun or a backfill loads the same day. A "
            "plain cron string stood for data intervals in Airflow 2; in Airflow 3 it triggers at the time itself, and "
            "`ds` is one day later."
        ),
    )
