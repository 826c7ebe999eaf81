"""The parts of pictures of findings: a page of panels, and lists of effects with their intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from sweeper.results.plots.style import CLEAR, ITS_TEXT, LEAST_SIZE, PALE, SMALL_SIZE, TEXT_SIZE, Sketch, Trace, sketch

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Part

#: Height of a row of panels, and of a row in a list of effects, in pixels.
PANEL, _ENTRY = 300, 22

#: Most characters in a line of an axis' title beside or below a panel.
LONGEST_TITLE = 22

#: Margins in pixels: above, with a legend and without; below, with a colour bar and without.
_LEGEND, _NO_LEGEND, _BAR, _NO_BAR = 72, 16, 110, 48

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


# --- a page of panels -----------------------------------------------------------------------------


@dataclass
class Page:
    """Collects the panels of a picture: rows from the top, columns from the left.

    Attributes:
        rows, columns: Numbers of rows and columns of panels.
        height: Height of all panels together, in pixels.
        caption: Says what the panels show and how to read them.
        above, below: Room in each panel for the words above it, and for its axis' labels below it, in pixels.
        has_legend, has_bar: Whether the page has a legend, and a colour bar.
        named: Names that the legend has so far.
        gap: Distance between columns, as a share of the width.
        least_column: Least width of a column's words, in pixels.
    """

    rows: int
    columns: int
    height: int
    caption: str = ""
    above: int = 52
    below: int = 46
    has_legend: bool = False
    has_bar: bool = False
    traces: list[Trace] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    words: list[dict[str, Any]] = field(default_factory=list)
    axes: dict[str, Any] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    gap: float = 0.1
    least_column: int = 180

    def panel(self, row: int, column: int, x: Mapping[str, Any], y: Mapping[str, Any]) -> dict[str, str]:
        """Add a panel with its axes; return the entries that place a trace in it."""
        at = row * self.columns + column + 1
        suffix = "" if at == 1 else str(at)
        width = (1 - self.gap * (self.columns - 1)) / self.columns
        left = column * (width + self.gap)
        height = 1 / self.rows
        top = 1 - row * height - self.above / self.height
        bottom = 1 - (row + 1) * height + (self.below / self.height if row < self.rows - 1 else 0)
        # Rounded, because plotly refuses a domain that exceeds 1 by a floating-point error.
        across, up = [round(left, 9), round(left + width, 9)], [round(bottom, 9), round(top, 9)]
        self.axes[f"xaxis{suffix}"] = {"domain": across, "anchor": f"y{suffix}", **x}
        self.axes[f"yaxis{suffix}"] = {"domain": up, "anchor": f"x{suffix}", **y}
        return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}

    def write(self, where: Mapping[str, str], lines: Iterable[str], size: int = SMALL_SIZE) -> None:
        """Write lines above a panel."""
        self.words.append({
            "text": "<br>".join(lines),
            "xref": f"{where['xaxis']} domain",
            "yref": f"{where['yaxis']} domain",
            "x": 0,
            "y": 1,
            "xanchor": "left",
            "yanchor": "bottom",
            "yshift": 2,
            "align": "left",
            "showarrow": False,
            "bgcolor": CLEAR,
            "font": {"size": size},
        })

    def line(self, where: Mapping[str, str], value: float, dash: str, colour: str = PALE) -> None:
        """Draw a line from the bottom of a panel to its top."""
        refs = {"xref": where["xaxis"], "yref": f"{where['yaxis']} domain"}
        self.shapes.append({
            "type": "line",
            **refs,
            "x0": value,
            "x1": value,
            "y0": 0,
            "y1": 1,
            "layer": "below",
            "line": {"color": colour, "width": 1.5, "dash": dash},
        })

    def is_new(self, name: str) -> bool:
        """Return whether a name is new to the legend, which shows each once, and remember the name."""
        is_new = name not in self.named
        self.named.add(name)
        return is_new

    def drawn(self) -> Sketch:
        """Return the page as a sketch."""
        top, bottom = _LEGEND if self.has_legend else _NO_LEGEND, _BAR if self.has_bar else _NO_BAR
        return sketch(
            self.traces,
            self.height + top + bottom,
            least_width=self.columns * self.least_column,
            shapes=self.shapes,
            annotations=self.words,
            margin={"l": 56, "r": 16, "t": top, "b": bottom},
            showlegend=self.has_legend,
            legend={"y": 1 + 4 / self.height},
            **self.axes,
        )

    def colour_bar(self, title: str, low: str = "least", high: str = "most") -> dict[str, Any]:
        """Return a colour bar from the least to the most, to stand below all panels."""
        self.has_bar = True
        return {
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": -54 / self.height,
            "yanchor": "top",
            "len": 0.6,
            "thickness": 10,
            "tickvals": [0, 1],
            "ticktext": [low, high],
            "title": {"text": title, "side": "top", "font": {"size": TEXT_SIZE}},
        }


def rules_of(parts: Sequence[Part]) -> list[str]:
    """Return the halting rules of some effects, in order."""
    return list(dict.fromkeys(part.rule for part in parts))


def of_rule(parts: Sequence[Part], rule: str) -> list[Part]:
    """Return the effects under one halting rule."""
    return [part for part in parts if part.rule == rule]


def interval(value: float | None, low: float | None = None, high: float | None = None, form: str = "{:.2f}") -> str:
    """Return a value with its interval as text."""
    if not is_number(value):
        return "not known"
    around = f" ({_said(low, form)} to {_said(high, form)})" if is_number(low) and is_number(high) else ""
    return _said(value, form) + around


def _said(value: float, form: str) -> str:
    """Format a number with a typographic minus sign, and without one before zero."""
    said = form.format(value)
    return (said.lstrip("-") if float(said) == 0 else said).replace("-", "−")


def is_number(value: float | None) -> TypeGuard[float]:
    """Return whether a value is known and finite."""
    return value is not None and math.isfinite(value)


def share(value: float | None) -> str:
    """Return a share as a percentage in text."""
    return f"{_said(100 * value, '{:.0f}')} %" if is_number(value) else "not known"


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, scaled to 0 to 1; equal values share a rank."""
    distinct = sorted(set(values))
    return [distinct.index(value) / max(1, len(distinct) - 1) for value in values]


def apart(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Move points at one place around it, like a sunflower's seeds, so that no point hides another."""
    reach = [0.014 * (max(values) - min(values) or 1.0) for values in (x, y)]
    seen: dict[tuple[float, float], int] = {}
    found: tuple[list[float], list[float]] = ([], [])
    for place in zip(x, y, strict=True):
        nth = seen[place] = seen.get(place, -1) + 1
        away, angle = math.sqrt(nth), nth * _GOLDEN_ANGLE
        found[0].append(place[0] + reach[0] * away * math.cos(angle))
        found[1].append(place[1] + reach[1] * away * math.sin(angle))
    return found


# --- lists of effects -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A line of a list of effects: its name, its value with its interval, and its marker and hover text."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    colour: str
    symbol: str = "circle"
    group: str = ""
    says: str = ""


def list_of(page: Page, column: int, entries: Sequence[Entry], title: str, *, is_first: bool) -> dict[str, str]:
    """Draw effects with intervals in a panel, a line each from the top down; return the entries that place a trace."""
    names = [one.name for one in entries]
    where = page.panel(
        0,
        column,
        {"title": {"text": title}},
        {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": names[::-1],
            "range": [-0.6, len(names) - 0.4],
            "tickfont": {"size": LEAST_SIZE},
            "showticklabels": is_first,
            "ticks": "outside" if is_first else "",
        },
    )
    for group in dict.fromkeys(one.group for one in entries):
        own = [one for one in entries if one.group == group and is_number(one.value)]
        if not own:
            continue
        bars = [
            (one.high - one.value, one.value - one.low)
            if is_number(one.value) and is_number(one.low) and is_number(one.high)
            else (0.0, 0.0)
            for one in own
        ]
        page.traces.append({
            "type": "scatter",
            "mode": "markers",
            "x": [one.value for one in own],
            "y": [one.name for one in own],
            **where,
            "marker": {"color": own[0].colour, "symbol": own[0].symbol, "size": 9},
            "error_x": {
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, up) for up, _ in bars],
                "arrayminus": [max(0.0, down) for _, down in bars],
                "color": own[0].colour,
                "thickness": 1.5,
                "width": 3,
            },
            "name": group,
            "legendgroup": group,
            "showlegend": page.is_new(group),
            "text": [f"<b>{one.name}</b><br>{one.says}" for one in own],
            "hovertemplate": ITS_TEXT,
        })
    return where


def list_page(columns: int, entries: int, words: int) -> Page:
    """Return a page for lists of `entries` lines, with `words` lines of words above each list."""
    above = 8 + 15 * words
    return Page(1, columns, above + _ENTRY * entries, above=above, gap=0.04, has_legend=True)
