"""The middle part of the picture: each topic as a bar, the strongest first."""

from __future__ import annotations

from collections.abc import Sequence

from bot.charts.canvas import BLUE, MUTED, SMALL, TITLE, TRACK, Box, Canvas
from domain.models import TopicScore

_HEAD, _ROW, _FOOT = 76, 40, 22
_BAR = 20


def topics_height(topics: Sequence[TopicScore]) -> int:
    """Return the height of what `draw_topics` draws, in pixels."""
    return _HEAD + _ROW * len(topics) + _FOOT


def ranked(topics: Sequence[TopicScore]) -> list[TopicScore]:
    """Return the topics that were answered, the largest share of right answers first."""
    answered = [score for score in topics if score.answered]
    return sorted(answered, key=lambda score: (-score.correct / score.answered, -score.answered, score.topic))


def draw_topics(canvas: Canvas, box: Box, topics: Sequence[TopicScore]) -> None:
    """Draw a row for each topic: its name, a bar of the share right, the share and the counts."""
    canvas.card(box)
    inner = box.inside(36, 0, 36, 0)
    canvas.write(inner.left, box.top + 44, "Topics", size=TITLE, bold=True)
    canvas.write(inner.right, box.top + 44, "right / answered", size=SMALL, colour=MUTED, align="right")
    counts = [f"{score.correct:,} / {score.answered:,}" for score in topics]
    names_end = inner.left + max((canvas.width_of(score.topic.label, size=SMALL) for score in topics), default=0)
    shares_end = inner.right - max((canvas.width_of(words, size=SMALL) for words in counts), default=0) - 24
    bar_left, bar_right = names_end + 26, shares_end - canvas.width_of("100%", size=SMALL, bold=True) - 20
    for row, (score, words) in enumerate(zip(topics, counts, strict=True)):
        y = box.top + _HEAD + _ROW * (row + 0.5)
        share = score.correct / score.answered
        track = Box(bar_left, y - _BAR / 2, bar_right - bar_left, _BAR)
        canvas.write(inner.left, y, score.topic.label, size=SMALL)
        canvas.rounded(track, TRACK, _BAR / 2)
        if score.correct:
            canvas.rounded(Box(track.left, track.top, max(_BAR, share * track.width), _BAR), BLUE, _BAR / 2)
        canvas.write(shares_end, y, f"{share:.0%}", size=SMALL, bold=True, align="right")
        canvas.write(inner.right, y, words, size=SMALL, colour=MUTED, align="right")
