"""How a picture is written: format, size, resolution, letters and legend; impossible wishes are refused early."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from sweeper.errors import QueryError
from sweeper.results.plots.style import TEXT_SIZE, Sketch

#: The formats that a browser draws, and all formats.
DRAWN = ("svg", "png", "pdf")
FORMATS = ("html", *DRAWN, "csv")

#: Default width, and bounds of width and height, in pixels.
WIDTH = 900
LEAST_WIDTH, MOST_WIDTH = 300, 4000
LEAST_HEIGHT, MOST_HEIGHT = 120, 4000

#: Bounds of width and height on paper, in millimetres.
LEAST_MM, MOST_MM = 20.0, 1000.0

#: Default resolution of a PNG on paper, and its bounds, in dots per inch.
DPI = 300
LEAST_DPI, MOST_DPI = 50, 2400

#: Default size of letters on paper, and its bounds, in points.
FONT_SIZE = 8.0
LEAST_POINTS, MOST_POINTS = 4.0, 40.0

#: Dots for each pixel of a PNG whose size is in pixels, so that it is sharp on all screens.
_DOTS = 2

#: Most dots that browsers draw along one side.
_MOST_DOTS = 16_000

#: Browser pixels per inch, on any screen.
_PIXELS_AN_INCH = 96.0
_INCHES = {"mm": 1 / 25.4, "cm": 1 / 2.54, "in": 1.0, "pt": 1 / 72, "px": 1 / _PIXELS_AN_INCH}

_LENGTH = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-z]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Length:
    """A length as the user wrote it: a number and its unit, `px` if none was given."""

    value: float
    unit: str = "px"

    @property
    def pixels(self) -> float:
        """The length in browser pixels."""
        return self.value * _INCHES[self.unit] * _PIXELS_AN_INCH

    @property
    def on_paper(self) -> bool:
        """Whether it is a physical length, not one in pixels."""
        return self.unit != "px"

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


def length_in(text: str, option: str) -> Length:
    """Read a length such as `900`, `85mm`, `8.5cm`, `3.3in` or `240pt`.

    Args:
        text: The length as the user wrote it.
        option: The option it was given to: `--width` or `--height`.

    Raises:
        QueryError: If the text is not a length, or the length is out of bounds.
    """
    found = _LENGTH.fullmatch(text.strip())
    unit = found[2].lower() or "px" if found else ""
    if found is None or unit not in _INCHES:
        raise QueryError(
            f"{option} takes pixels or a length in mm, cm, in or pt, but got {text!r}. Write 900, or 85mm."
        )
    length = Length(float(found[1]), unit)
    way = "wide" if option == "--width" else "high"
    if length.on_paper:
        mm = length.value * _INCHES[unit] * 25.4
        if not LEAST_MM - 1e-9 <= mm <= MOST_MM + 1e-9:
            raise QueryError(f"a picture on paper is {LEAST_MM:g} to {MOST_MM:g} mm {way}, but got {option} {text}.")
        return length
    least, most = (LEAST_WIDTH, MOST_WIDTH) if way == "wide" else (LEAST_HEIGHT, MOST_HEIGHT)
    if not (least <= length.value <= most and length.value.is_integer()):
        raise QueryError(
            f"a picture is {least} to {most} pixels {way}, but got {option} {text}. "
            "For paper write a unit, such as 85mm."
        )
    return length


@dataclass(frozen=True)
class PictureFormat:
    """How a picture is written.

    Attributes:
        kind: One of `FORMATS`.
        is_dark: Light ink on dark paper; pages follow the reader's system.
        width: Pages are as wide as their window.
        height: None for the picture's own.
        dpi: Dots per inch of a PNG; None for `DPI` on paper, and two dots per pixel on screens.
        font: Font of all letters; None for the default one.
        font_size: Size of letters in axes and legends, in points; everything else scales with it. None for `FONT_SIZE`
            on paper, and the default size on screens.
        has_legend: Whether the legend is drawn.
    """

    kind: str
    is_dark: bool = False
    width: Length = Length(WIDTH)
    height: Length | None = None
    dpi: float | None = None
    font: str | None = None
    font_size: float | None = None
    has_legend: bool = True

    def __post_init__(self) -> None:
        if self.dpi is not None and not LEAST_DPI <= self.dpi <= MOST_DPI:
            raise QueryError(f"--dpi is {LEAST_DPI} to {MOST_DPI} dots an inch, but got {self.dpi:g}.")
        if self.font_size is not None and not LEAST_POINTS <= self.font_size <= MOST_POINTS:
            raise QueryError(f"--font-size is {LEAST_POINTS:g} to {MOST_POINTS:g} points, but got {self.font_size:g}.")

    @property
    def is_drawn(self) -> bool:
        """Whether a browser draws it."""
        return self.kind in DRAWN

    @property
    def on_paper(self) -> bool:
        """Whether its size is a physical one."""
        return self.width.on_paper or bool(self.height and self.height.on_paper)

    @property
    def _points(self) -> float:
        if self.font_size is not None:
            return self.font_size
        return FONT_SIZE if self.on_paper else TEXT_SIZE * 0.75

    def _said(self, pixels: float) -> str:
        """Return a length, given in pixels before scaling, in words."""
        drawn = pixels * self.scale
        return f"{math.ceil(drawn / _PIXELS_AN_INCH * 25.4)}mm" if self.on_paper else f"{math.ceil(drawn)} pixels"

    @property
    def scale(self) -> float:
        """Factor by which everything is enlarged: letters, marks and lines alike."""
        return self._points / 0.75 / TEXT_SIZE

    @property
    def dots(self) -> float:
        """Dots of a PNG for each browser pixel."""
        return (self.dpi or DPI) / _PIXELS_AN_INCH if self.on_paper or self.dpi else _DOTS

    @property
    def is_measured(self) -> bool:
        """Whether a PNG states its size on paper."""
        return self.on_paper or self.dpi is not None

    def room(self, sketch: Sketch, title: str) -> tuple[float, float]:
        """Return width and height in pixels before scaling; times `scale` they are the requested ones.

        Args:
            sketch: The picture's content.
            title: The picture's name, for messages.

        Raises:
            QueryError: If the picture does not fit into its width or height, or has more dots than a browser draws.
        """
        width = self.width.pixels / self.scale
        if width < sketch.least_width:
            raise QueryError(
                f"{title} with letters of {self._points:g} points is {self._said(sketch.least_width)} wide at least, "
                f"but got --width {self.width}. Choose a larger --width, or a smaller --font-size."
            )
        own, least = float(sketch.layout["height"]), sketch.least_height
        if self.height is None:
            is_free = self.width.on_paper and least < own / 2  # a picture of one panel need not be higher than wide
            height = max(least, min(own, 0.8 * width)) if is_free else own
        else:
            height = self.height.pixels / self.scale
            if height < least:
                raise QueryError(
                    f"{title} with letters of {self._points:g} points is {self._said(least)} high at least, but got "
                    f"--height {self.height}. Leave --height out, or choose a smaller --font-size."
                )
        dots = max(width, height) * self.scale * self.dots
        if self.kind == "png" and dots > _MOST_DOTS:
            raise QueryError(
                f"{title} would be {dots:,.0f} dots long, and browsers draw {_MOST_DOTS:,} at most. "
                "Choose a smaller --dpi."
            )
        return width, height
