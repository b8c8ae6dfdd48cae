"""A canvas measured in pixels, and the look that all parts of the picture share.

A picture of 1080 px is seen 360 px wide on a phone: three pixels here are one there, and no letter is smaller than 30.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text

WIDTH = 1080
"""Pixels."""

PAPER = "#EEF2F6"
CARD = "#FFFFFF"
INK = "#17212B"
MUTED = "#5B6B7A"
GRID = "#E3E8EE"
TRACK = "#E9EEF4"
BLUE = "#1F6FD6"
PALE_BLUE = "#A9CDF5"
WASH = "#EAF2FC"
SLATE = "#3A4B5C"
AMBER = "#B56900"
"""Blue and amber are told apart by every kind of colour vision, and differ in lightness from all the greys."""

SMALL, TEXT, TITLE, HUGE = 30, 33, 38, 88
"""Sizes of letters, in pixels."""

_DOTS_PER_INCH = 72  # so that matplotlib's points are pixels
_ABOVE_CARDS = 2
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
_REGULAR = FontProperties(fname=str(_FONTS / "DejaVuSans.ttf"))
_BOLD = FontProperties(fname=str(_FONTS / "DejaVuSans-Bold.ttf"))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, counted from the upper left."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Return where it ends."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Return where it ends below."""
        return self.top + self.height

    def inside(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Box:
        """Return the rectangle that is left within margins."""
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)


class Canvas:
    """What is drawn on: no window, no global state, so that threads may each have one."""

    def __init__(self, height: int) -> None:
        self._height = height
        self.figure = Figure(figsize=(WIDTH / _DOTS_PER_INCH, height / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
        self.figure.set_facecolor(PAPER)
        self._canvas = FigureCanvasAgg(self.figure)

    def card(self, box: Box) -> None:
        """Draw the white ground of a part."""
        self.rounded(box, CARD, 28)

    def rounded(self, box: Box, colour: str, radius: float, edge: str | None = None) -> None:
        """Draw a rectangle with round corners, and its outline if ``edge`` names a colour."""
        radius = min(radius, box.width / 2, box.height / 2)
        patch = FancyBboxPatch(
            (box.left, self._height - box.bottom),
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor=colour,
            edgecolor=edge or "none",
            linewidth=4 if edge else 0,
            transform=None,  # pixels
        )
        self.figure.add_artist(patch)

    def write(  # noqa: PLR0913 - a place and a look
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = TEXT,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
        valign: str = "center_baseline",
    ) -> Text:
        """Write a line, which is never read as markup."""
        text = Text(
            x,
            self._height - y,
            words,
            color=colour,
            fontproperties=font(size, bold=bold),
            horizontalalignment=align,  # type: ignore[arg-type]  # a closed set of words
            verticalalignment=valign,  # type: ignore[arg-type]
            transform=None,
            parse_math=False,
        )
        self.figure.add_artist(text)
        return text

    def width_of(self, words: str, *, size: float = TEXT, bold: bool = False) -> float:
        """Return how long a line would be, in pixels."""
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]  # matplotlib's stubs leave it out
        width, _, _ = renderer.get_text_width_height_descent(words, font(size, bold=bold), ismath=False)
        return float(width)

    def axes(self, box: Box) -> Axes:
        """Return axes without a frame, for a part whose place depends on data."""
        place = (box.left / WIDTH, 1 - box.bottom / self._height, box.width / WIDTH, box.height / self._height)
        axes = self.figure.add_axes(place)
        axes.set_facecolor("none")
        axes.set_zorder(_ABOVE_CARDS)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, labelbottom=False, labelleft=False)
        return axes

    def png(self) -> bytes:
        """Return the picture's file; the same picture is the same bytes."""
        file = io.BytesIO()
        self._canvas.print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]  # likewise
        return file.getvalue()


def font(size: float, *, bold: bool = False) -> FontProperties:
    """Return a font that comes with matplotlib, so that the picture looks the same on every machine."""
    properties = (_BOLD if bold else _REGULAR).copy()
    properties.set_size(size)
    return properties
