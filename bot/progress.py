"""What /stats says in text: a pure function from a learner's history to Telegram's HTML, for a picture's caption."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from difficulty_adapter import WHOLE_WAY
from domain.catalog import Level
from domain.history import ProgressHistory, Tally
from domain.models import TopicScore
from domain.words import plural

LEVEL_MARK = {Level.BEGINNER: "🌱", Level.INTERMEDIATE: "🔧", Level.ADVANCED: "🚀", Level.EXPERT: "🏆"}

BAR = 8
"""Marks of the bar that says how near the next level is."""

TREND_DAYS = 30
TREND_ANSWERS = 10
"""Answers in each of two stretches of days before they are compared."""
TOPIC_ANSWERS = 5
"""Answers in a topic before it is called strong or weak."""


def progress_caption(history: ProgressHistory) -> str:
    """Return what the picture shows, in text; far below the 1024 characters that a caption may have."""
    lines = ["<b>Your progress</b>", "", level_line(history.level, history.points, history.placement_left)]
    if not history.answers:
        return "\n".join([*lines, "", "No answers yet: /quiz!"])
    lines += [*_level_change(history), _streak(history), _right(history), *_trend(history), _last_week(history)]
    lines += [*_strong_and_weak(history.topics), *_reviews(history)]
    return "\n".join(lines)


def level_line(level: Level, points: int, placement_left: int = 0) -> str:
    """Return a level and how near the next one is, or how far it is to the end of the placement."""
    name = f"{LEVEL_MARK[level]} Level: <b>{level.label}</b>"
    if placement_left > 0:
        return f"{name} for now · {_count(placement_left, 'more answer')} to find yours"
    if level is Level.EXPERT:
        return f"{name} · the top"
    filled = min(BAR, max(0, points * BAR // WHOLE_WAY))
    return f"{name}  {'▰' * filled}{'▱' * (BAR - filled)}  to {Level(level + 1).label}"


def _level_change(history: ProgressHistory) -> list[str]:
    before = history.level_before(TREND_DAYS)
    if before is None or before == history.level:
        return []
    mark, way = ("📈", "Up") if history.level > before else ("📉", "Down")
    return [f"{mark} {way} from {before.label} in {TREND_DAYS} days"]


def _streak(history: ProgressHistory) -> str:
    best = f" (best: {_count(history.best_streak, 'day')})" if history.best_streak > history.streak else ""
    freezes = f" · ❄️ {_count(history.freezes_left, 'freeze')}" if history.freezes_left else ""
    return f"🔥 Streak: <b>{_count(history.streak, 'day')}</b>{best}{freezes}"


def _right(history: ProgressHistory) -> str:
    total = history.tally()
    return f"🎯 Right: <b>{total.correct:,} of {total.answered:,}</b> ({total.share:.0%})"


def _trend(history: ProgressHistory) -> list[str]:
    """Compare the latest days with the same number of days before them, if both say something."""
    latest = history.recent(TREND_DAYS)
    if latest.answered < TREND_ANSWERS or latest.answered == len(history.answers):
        return []
    both = history.recent(2 * TREND_DAYS)
    earlier = Tally(both.answered - latest.answered, both.correct - latest.correct)
    now = f"{latest.share:.0%}"
    line = f"📊 Last {TREND_DAYS} days: <b>{now}</b> right"
    if earlier.answered < TREND_ANSWERS:
        return [line]
    then = f"{earlier.share:.0%}"
    if now == then:
        return [f"{line}, as in the {TREND_DAYS} before"]
    return [f"{line}, {'up' if latest.share > earlier.share else 'down'} from {then}"]


def _last_week(history: ProgressHistory) -> str:
    week = history.recent(7)
    if not week.answered:
        return "🗓 Last 7 days: <b>0</b> answered"
    return f"🗓 Last 7 days: <b>{week.answered:,}</b> answered, {week.correct:,} right"


def _strong_and_weak(topics: Iterable[TopicScore]) -> list[str]:
    known = sorted(
        (score for score in topics if score.answered >= TOPIC_ANSWERS),
        key=lambda score: (score.correct / score.answered, score.answered, score.topic),
    )
    if not known or _share(known[0]) == _share(known[-1]):
        return []
    weakest, strongest = known[0], known[-1]
    return [
        f"💪 Strongest: <b>{escape(strongest.topic.label)}</b> ({_share(strongest)})",
        f"🔍 To work on: <b>{escape(weakest.topic.label)}</b> ({_share(weakest)})",
    ]


def _reviews(history: ProgressHistory) -> list[str]:
    if history.reviews_due:
        verb = "waits" if history.reviews_due == 1 else "wait"
        return [f"🔁 <b>{_count(history.reviews_due, 'missed question')}</b> {verb} for you: /review"]
    if history.reviews_later:
        return [f"🔁 {_count(history.reviews_later, 'missed question')} will come back when it is time"]
    return []


def _share(score: TopicScore) -> str:
    return f"{score.correct / score.answered:.0%}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {plural(number, noun)}"
