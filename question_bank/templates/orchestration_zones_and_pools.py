"""Templates on orchestration: schedules in two time zones, and a pool whose tasks need several slots."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from domain.catalog import CheckEngine, Level, Topic
from question_bank.templates.base import Draft, Misconception, template

_EAST = ("Europe/Berlin", "Europe/Paris", "Europe/Athens", "Asia/Tokyo", "Asia/Kolkata", "Asia/Singapore")
_WEST = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Phoenix")
_DATES = (*((3, day) for day in range(9, 28)), *((10, day) for day in range(26, 31)), (1, 20), (6, 9), (7, 14), (12, 2))
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
    minutes = gap // timedelta(minutes=1)
    print(f"{minutes // 60} h {minutes % 60:02} min")
"""


@template(
    name="schedules-in-two-time-zones",
    topic=Topic.ORCHESTRATION,
    level=Level.ADVANCED,
    engine=CheckEngine.PYTHON,
    tags=("time-zones", "daylight-saving", "scheduling"),
    title="Apache Airflow documentation, Time Zones, Time zone aware Dags, Cron schedules",
    url="https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/timezone.html",
)
def schedules_in_two_time_zones(rng: random.Random) -> Draft:
    """Find the time between two local schedules on a day on which perhaps only one zone has summer time."""
    while True:
        east, west = rng.choice(_EAST), rng.choice(_WEST)
        if not (east.startswith("Asia") and west == "America/Phoenix"):
            break
    month, day = rng.choice(_DATES)
    early = rng.randrange(4 * 60, 9 * 60, 15)
    first = datetime(2026, month, day, early // 60, early % 60)  # noqa: DTZ001 - local times of two zones
    second = first + timedelta(minutes=rng.choice((30, 45, 60, 90, 120, 150, 180)))
    a, b = (_place(zone) for zone in (east, west))
    summer = {zone: _is_summer(first, zone) for zone in (east, west)}
    upstream, downstream = rng.choice(
        (("export", "report"), ("ingest", "merge"), ("load", "publish"), ("dump", "sync"))
    )
    return Draft(
        prompt=(
            f"Two daily schedules are in local time: `{upstream}` at {first:%H:%M} {east}, `{downstream}` at "
            f"{second:%H:%M} {west}. {_zone_facts(east)} {_zone_facts(west)} On {day} {first:%B} 2026, how long "
            f"after `{upstream}` does `{downstream}` start?"
        ),
        setup=f"{_GAP}a, b = {_bare(first)}, {_bare(second)}\neast, west = {east!r}, {west!r}",
        run="tell(utc(b, west) - utc(a, east))",
        why=f"In UTC they start at {_utc(first, east)} and {_utc(second, west)}: on that day {_who(summer, a, b)}.",
        misconceptions=_zone_mistakes(rng, summer, a, b, f"{_utc(first, east)} and {_utc(second, west)}"),
        explanation=(
            "Turn both local times into UTC with the offsets of that very day, then subtract. Regions change their "
            "clocks on different days or never, so a fixed distance between two local schedules moves by an hour in "
            "some weeks. Let the second job wait for the data of the first instead."
        ),
    )


def _bare(moment: datetime) -> str:
    return f"datetime({moment.year}, {moment.month}, {moment.day}, {moment.hour}, {moment.minute})"


def _place(zone: str) -> str:
    return zone.split("/")[1].replace("_", " ")


def _winter_offset(zone: str) -> timedelta:
    return datetime(2026, 1, 15, tzinfo=ZoneInfo(zone)).utcoffset() or timedelta(0)


def _is_summer(moment: datetime, zone: str) -> bool:
    return moment.replace(tzinfo=ZoneInfo(zone)).utcoffset() != _winter_offset(zone)


def _utc(moment: datetime, zone: str) -> str:
    there = moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return f"{there:%H:%M}" + (" the day before" if there.date() < moment.date() else "")


def _zone_facts(zone: str) -> str:
    """State a zone's offset in winter and its summer time of 2026."""
    minutes = _winter_offset(zone) // timedelta(minutes=1)
    sign = "+" if minutes > 0 else "-"
    offset = f"UTC{sign}{abs(minutes) // 60}" + (f":{abs(minutes) % 60}" if minutes % 60 else "")
    days = [date(2026, 1, 1) + timedelta(days=count) for count in range(365)]
    noon = [day for day in days if _is_summer(datetime(day.year, day.month, day.day, 12), zone)]  # noqa: DTZ001 - local
    if not noon:
        return f"{_place(zone)}: {offset} all year."
    end = noon[-1] + timedelta(days=1)
    return f"{_place(zone)}: {offset}, one hour more from {noon[0].day} {noon[0]:%B} to {end.day} {end:%B}."


def _who(summer: Mapping[str, bool], a: str, b: str) -> str:
    """Say which of two places has summer time."""
    having = [place for place, has in zip((a, b), summer.values(), strict=True) if has]
    if len(having) == 1:
        return f"only {having[0]} has summer time"
    return "both have summer time" if having else "neither has summer time"


def _zone_mistakes(rng: random.Random, summer: Mapping[str, bool], a: str, b: str, in_utc: str) -> list[Misconception]:
    fact = _who(summer, a, b)
    mistakes = [
        Misconception(
            "winter-offsets-all-year",
            f"That takes the winter offsets of both places. On that day {fact}.",
            run="tell(winter(b, west) - winter(a, east))",
        ),
        Misconception(
            "summer-time-in-the-west-only",
            f"That moves only {b} one hour ahead. On that day {fact}.",
            run="tell(winter(b, west, 1) - winter(a, east))",
        ),
        Misconception(
            "summer-time-in-the-east-only",
            f"That moves only {a} one hour ahead or turns the clock the wrong way. On that day {fact}.",
            run="tell(winter(b, west) - winter(a, east, 1))",
        ),
        Misconception(
            "clocks-compared-as-they-are",
            f"That subtracts two local clock times. In UTC the jobs start at {in_utc}.",
            run="tell(b - a)",
        ),
        Misconception(
            "wait-of-the-other-job",
            f"That is the time from the job in {b} to the next one in {a}. In UTC they start at {in_utc}.",
            run="tell(timedelta(hours=24) - (utc(b, west) - utc(a, east)))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes


_POOL = """
def start_of_big(tasks, slots, skip=True, grab=False):
    # tasks: (ready, priority, slots, minutes, name)
    waiting = sorted(tasks, key=lambda task: -task[1])
    running = []
    for now in range(200):
        running = [task for task in running if task[0] > now]
        for task in [one for one in waiting if one[0] <= now]:
            if grab and task[4] == big:
                return now
            if task[2] <= slots - sum(used for _, used in running):
                if task[4] == big:
                    return now
                running.append((now + task[3], task[2]))
                waiting.remove(task)
            elif not skip:
                break
        if not waiting and not running:
            return now
"""


@template(
    name="wide-task-in-a-busy-pool",
    topic=Topic.ORCHESTRATION,
    level=Level.EXPERT,
    engine=CheckEngine.PYTHON,
    tags=("pools", "priorities", "starvation"),
    title="Apache Airflow documentation, Pools, Using multiple pool slots",
    url="https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/pools.html",
)
def wide_task_in_a_busy_pool(rng: random.Random) -> Draft:
    """Find out when a task that needs most slots of a pool gets to run beside small ones of lower priority."""
    slots = rng.choice((3, 4))
    width = rng.choice((slots, slots - 1)) if slots > 3 else slots  # noqa: PLR2004 - two slots of three fit too soon
    big = rng.choice(("rebuild", "vacuum", "backup", "retrain", "compact"))
    ready = rng.choice((1, 2, 3))
    small = rng.choice(("load", "sync", "copy", "scan"))
    names = [f"{small}_{letter}" for letter in "abcdefg"]
    tasks = [(0, 10 - number, 1, rng.randint(4, 9), name) for number, name in enumerate(names[:slots])]
    for number, name in enumerate(names[slots : slots + 3]):
        least, most = ((1, 4), (3, 7), (9, 17))[number]
        tasks.append((rng.randint(least, most), 3 - number, 1, rng.randint(4, 9), name))
    tasks.append((ready, 50, width, 10, big))
    shown = sorted(tasks)
    rows = "\n".join(f"{name:8}{at:6}{weight:7}{used:7}{minutes:9}" for at, weight, used, minutes, name in shown)
    return Draft(
        prompt=(
            f"Airflow 3, weight rule `absolute`: the tasks share a pool of {slots} slots, empty at minute 0; no other "
            "limit matters. The table gives the minute from which a task is ready, its priority weight (a higher "
            "one goes first), its `pool_slots` and its run time. The scheduler acts at once whenever a task "
            f"gets ready or slots get free. At which minute does `{big}` start?"
        ),
        code=f"{'task':8}{'ready':>6}{'weight':>7}{'slots':>7}{'minutes':>9}\n{rows}",
        language="text",
        setup=f"tasks, slots, big = {shown!r}, {slots}, {big!r}{_POOL}",
        run="print(start_of_big(tasks, slots))",
        why=(
            f"The scheduler skips `{big}` while fewer than {width} slots are free, and smaller tasks that fit take "
            "each free slot."
        ),
        misconceptions=_pool_mistakes(rng, big, width, ready),
        explanation=(
            "The scheduler goes through ready tasks by priority; one that needs more slots than are free is skipped, "
            "and smaller tasks of lower priority go ahead. Slots are not saved up, so a wide task can starve. Give it "
            "a pool of its own or fewer slots, and watch the metric `pool.starving_tasks`."
        ),
        option="minute {}",
    )


def _pool_mistakes(rng: random.Random, big: str, width: int, ready: int) -> list[Misconception]:
    mistakes = [
        Misconception(
            "slots-are-saved-up",
            f"That holds freed slots back for `{big}`. The scheduler reserves nothing: lower priorities that fit "
            "start first.",
            run="print(start_of_big(tasks, slots, skip=False))",
        ),
        Misconception(
            "priority-preempts",
            f"That lets the weight push running tasks aside. It only orders tasks that wait; `{big}` is ready at "
            f"minute {ready}, but slots are taken.",
            run="print(start_of_big(tasks, slots, grab=True))",
        ),
        Misconception(
            "one-slot-per-task",
            f"That starts `{big}` with the first free slot. With `pool_slots={width}` it needs {width} free slots at "
            "the same time.",
            run="tasks = [(*task[:2], 1, *task[3:]) for task in tasks]\nprint(start_of_big(tasks, slots))",
        ),
        Misconception(
            "last-of-all",
            f"That waits for the end of every other task in the table. `{big}` starts as soon as {width} slots are "
            "free, and then it goes before smaller ones.",
            run="print(start_of_big([task for task in tasks if task[4] != big], slots))",
        ),
    ]
    rng.shuffle(mistakes)
    return mistakes
