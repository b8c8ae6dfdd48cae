"""Draws the picture of /stats. Importing this module imports matplotlib, which takes a second: do so only to draw."""

from __future__ import annotations

from bot.charts import streak, timeline
from bot.charts.canvas import WIDTH, Box, Canvas
from bot.charts.streak import draw_streak
from bot.charts.timeline import draw_timeline
from bot.charts.topics import draw_topics, ranked, topics_height
from domain.history import ProgressHistory

_MARGIN, _GAP = 24, 20


def draw_progress(history: ProgressHistory, aim: float) -> bytes:
    """Return a PNG, 1080 px wide and as high as its topics need: curves over time, topics, and the streak's calendar.

    The same history gives the same bytes. It uses nothing global, so that threads may draw at the same time.

    Args:
        history: with at least one answer.
        aim: the share of right answers that questions are chosen for, from 0 to 1.

    Raises:
        ValueError: nothing was answered yet, so that there is nothing to draw.
    """
    if not history.answers:
        raise ValueError("nothing was answered yet")
    topics = ranked(history.topics)
    heights = [timeline.HEIGHT, topics_height(topics), streak.HEIGHT]
    canvas = Canvas(sum(heights) + 2 * _GAP + 2 * _MARGIN)
    boxes = []
    top = _MARGIN
    for height in heights:
        boxes.append(Box(_MARGIN, top, WIDTH - 2 * _MARGIN, height))
        top += height + _GAP
    draw_timeline(canvas, boxes[0], history, aim)
    draw_topics(canvas, boxes[1], topics)
    draw_streak(canvas, boxes[2], history)
    return canvas.png()
