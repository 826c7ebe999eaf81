"""How pictures look: colours, letters, axes, and what is said of a point under the mouse.

No trace and no annotation carries a colour of ink or paper: those are in the template, so that one template for another
turns a picture from light to dark.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweeper.analysis import columns
from sweeper.errors import QueryError
from sweeper.measurements import Goal, Objective

if TYPE_CHECKING:  # plotly is loaded where a picture is drawn: who lists pictures does without
    import plotly.graph_objects as go

#: Okabe and Ito's colours, which colour-blind readers tell apart too, and which stand out from white and from black.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
#: What is there to compare with.
PALE = "#8a94a0"
#: No colour at all.
CLEAR = "rgba(0,0,0,0)"

PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, PALE)

#: Of the lines of one picture, from the first: colour, marker, dashes. Each alone tells them apart.
LINES = ((BLUE, "circle", "solid"), (VERMILLION, "square", "dash"), (GREEN, "diamond", "dot"), (PURPLE, "x", "dashdot"))

#: A scale of values that stays in order for colour-blind readers and in grey, and never fades into either paper.
SCALE = ((0.0, BLUE), (0.5, "#8c8b78"), (1.0, ORANGE))

#: Pixels of letters: of axes, their titles and legends in all pictures; of words beside what is drawn; of the smallest.
TEXT_SIZE, SMALL_SIZE, LEAST_SIZE = 12, 11, 10

#: Pixels of a picture that may be as high as one likes; others have a height of their own.
HEIGHT = 430

#: Pixels that a picture of one panel is high at least, and the share of a height of its own that another one needs.
_LEAST_HEIGHT, _SQUEEZED = 120, 0.8

_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"

#: What plotly shows of a point under the mouse: its text, and nothing beside.
ITS_TEXT = "%{text}<extra></extra>"

#: Counts that each have a tick of their own.
_MOST_COUNTS = 6

#: Characters of the longest line of an axis' title that a narrow page holds.
_LONGEST_TITLE = 34

#: What readers of psychophysics call the share of images that are answered right.
_ACCURACY, _PROPORTION = "accuracy", "proportion correct"

#: Of what an axis spans: what is left free beyond the outermost values, and where an arrow leads beyond them.
_ROOM, _ARROW_ROOM = 0.06, 0.16

#: From this ratio of the largest to the smallest on, an axis is logarithmic.
_DECADES = 50


#: What plotly calls a trace, in plain values: its `type`, and what that takes.
Trace = dict[str, Any]


@dataclass(frozen=True)
class Sketch:
    """What a picture shows, in plain values.

    Attributes:
        traces: From the lowest to the uppermost.
        layout: As plotly takes it, beside the common style.
        least_width, least_height: Pixels that it needs, so that its words do not run into each other.
    """

    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    least_width: int
    least_height: int


@dataclass(frozen=True)
class Picture:
    """A picture and its words.

    Attributes:
        name: What it is called on the command line, such as `front-breadth`.
        title: Headline.
        caption: What it shows and how it is read, in one or two sentences.
        sketch: Points of trials carry the trial's key as first entry of `customdata`.
        flat: The same on paper, for files that are printed and for browsers without WebGL; None where the picture
            itself is flat.
        numbers: What is drawn, as rows, where the places of marks do not say it themselves.
    """

    name: str
    title: str
    caption: str
    sketch: Sketch
    flat: Picture | None = None
    numbers: Sequence[Mapping[str, Any]] | None = None

    @cached_property
    def figure(self) -> go.Figure:
        """The picture as plotly draws it, in the common style on light paper.

        Paper is transparent, and the width is that of the page; `themed` has it for light or dark paper.
        """
        import plotly.graph_objects as go

        return go.Figure(list(self.sketch.traces), {"template": template(dark=False), **self.sketch.layout})


class NotDrawnError(QueryError):
    """The trials of a sweep do not allow a picture."""


def template(*, dark: bool) -> go.layout.Template:
    """Return ink, paper and letters of all pictures, for light or dark paper."""
    ink, soft, grid = ("#e6eaee", "#aab4be", "#37414b") if dark else ("#1f2933", "#52606d", "#dde3e9")
    paper = "#1f2933" if dark else "#ffffff"
    behind = "20, 24, 29" if dark else "255, 255, 255"  # words that stand on lines
    axis = {
        "gridcolor": grid,
        "linecolor": soft,
        "tickcolor": soft,
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "automargin": True,
        "exponentformat": "SI",
        "minexponent": 4,
        "title": {"standoff": 8, "font": {"size": TEXT_SIZE}},
    }
    space = {
        "title": {"font": {"size": TEXT_SIZE}},
        "gridcolor": "#52606d" if dark else "#b3bdc7",
        "linecolor": soft,
        "backgroundcolor": CLEAR,
        "zeroline": False,
        "showbackground": False,
    }
    import plotly.graph_objects as go

    return go.layout.Template(
        layout={
            "font": {"family": _FONT, "size": TEXT_SIZE, "color": ink},
            "paper_bgcolor": CLEAR,
            "plot_bgcolor": CLEAR,
            "colorway": list(PALETTE),
            "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": paper, "bordercolor": soft, "font": {"color": ink, "size": 12}, "align": "left"},
            "legend": {
                "orientation": "h",
                "tracegroupgap": 0,
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "font": {"size": TEXT_SIZE},
            },
            "annotationdefaults": {"bgcolor": f"rgba({behind}, 0.7)"},
            "xaxis": axis,
            "yaxis": axis,
            "scene": {"xaxis": space, "yaxis": space, "zaxis": space, "bgcolor": CLEAR},
        }
    )


def themed(figure: go.Figure, *, dark: bool) -> go.Figure:
    """Return a copy of a picture for light or for dark paper; the paper itself stays transparent."""
    import plotly.graph_objects as go

    copy = go.Figure(figure)
    copy.update_layout(template=template(dark=dark))
    return copy


def sketch(
    traces: Sequence[Trace],
    height: int = HEIGHT,
    *,
    least_width: int = 200,
    least_height: int | None = None,
    **layout: Any,
) -> Sketch:
    """Return what a picture shows; as wide as its page.

    Args:
        traces: From the lowest to the uppermost.
        height: Pixels where nobody asks for others.
        least_width: Pixels that it needs.
        least_height: The same upwards; None for what a picture of one panel needs, or most of a height of its own.
        layout: As plotly takes it.
    """
    if least_height is None:
        least_height = _LEAST_HEIGHT if height == HEIGHT else round(_SQUEEZED * height)
    return Sketch(traces, {"height": height, "autosize": True, **layout}, least_width, least_height)


def shown(name: object) -> str:
    """Return a text as plotly shows it: its markup is a kind of HTML."""
    return html.escape(str(name), quote=False)


def number(value: float) -> str:
    """Return a number in four digits, as people write it."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def axis_title(name: str, goal: Goal | None = None, units: Mapping[str, str] | None = None) -> str:
    """Return what stands beside an axis: `breadth ↓ (channels)`, or for accuracy `proportion correct ↑`.

    Args:
        name: Of a column.
        goal: Of an objective.
        units: Of a user's own function: what it measures in; None for what we measure.
    """
    if name == _ACCURACY and units is None:
        return f"{_PROPORTION}{f' {goal.arrow}' if goal else ''}"
    return _said_of(name, goal, units)


def _said_of(name: str, goal: Goal | None, units: Mapping[str, str] | None) -> str:
    """Return name, direction and unit of a measurement."""
    unit = _unit(name, units)
    return f"{shown(name)}{f' {goal.arrow}' if goal else ''}{f' ({unit})' if unit else ''}"


def axis_name(title: str) -> str:
    """Return the name that an axis' title begins with, as it was before it was shown."""
    name = html.unescape(re.split(r" [↑↓]| \(", title.replace("<br>", " "), maxsplit=1)[0])
    return _ACCURACY if name == _PROPORTION else name


def wrapped(title: str, most: int = _LONGEST_TITLE) -> str:
    """Break a title before its unit where it is longer than a narrow page is wide."""
    return title if len(title) <= most else title.replace(" (", "<br>(", 1)


def _unit(name: str, units: Mapping[str, str] | None) -> str:
    if units is not None:
        return units.get(name, "")
    unit = columns.unit(name)
    return _PROPORTION if unit == "share" and name.endswith(_ACCURACY) else unit


def axis(
    name: str,
    values: Sequence[float],
    goal: Goal | None = None,
    units: Mapping[str, str] | None = None,
    *,
    has_arrows: bool = False,
) -> dict[str, Any]:
    """Return an axis for values: named, with unit, logarithmic where they span decades, with room for the markers.

    Args:
        name: Of a column.
        values: All that are drawn.
        goal: Of an objective.
        units: Of a user's own function: what it measures in.
        has_arrows: Whether arrows lead from the least of them to what is less.
    """
    layout: dict[str, Any] = {"title": {"text": wrapped(axis_title(name, goal, units))}}
    low, high = min(values), max(values)
    if is_logarithmic(values):
        low, high = math.log10(low), math.log10(high)
        layout |= {"type": "log", "dtick": 1 if high - low > 3 else "D1" if high - low < 1 else "D2"}
    elif is_counted(name, values, units):
        layout["dtick"] = 1
    span = (high - low) or abs(high) or 0.5 / _ROOM
    return layout | {"range": [low - span * (_ARROW_ROOM if has_arrows else _ROOM), high + span * _ROOM]}


def place_on(layout: Mapping[str, Any], value: Any) -> Any:
    """Return where something beside a trace is put on an axis: plotly takes the logarithm there, but not in traces."""
    return math.log10(value) if layout.get("type") == "log" else value


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return whether values span decades."""
    return min(values) > 0 and max(values) / min(values) >= _DECADES


def is_counted(name: str, values: Sequence[float], units: Mapping[str, str] | None = None) -> bool:
    """Return whether values are a few counts, such as 2 and 3 layers: between those no tick makes sense."""
    is_whole = all(float(value).is_integer() for value in values)
    is_share = _unit(name, units).startswith(("share", _PROPORTION))
    return is_whole and max(values) - min(values) <= _MOST_COUNTS and not is_share


def hover(
    row: Mapping[str, Any],
    objectives: Sequence[Objective],
    axes: Mapping[str, str],
    units: Mapping[str, str] | None = None,
) -> str:
    """Return what is said of a setting: objectives with spread and unit, axes, channels per layer, key.

    Args:
        row: Of a table of points.
        objectives: In the order in which they are said.
        axes: Columns of the axes, and their names.
        units: Of a user's own function: what it measures in.
    """
    lines = [f"<b>{shown(row['key'])}</b>"]
    for objective in objectives:
        if (value := row.get(objective.name)) is not None:
            spread = row.get(f"{objective.name}_sd")
            around = f" ± {number(spread)}" if spread is not None else ""
            lines.append(f"{_said_of(objective.name, objective.goal, units)}: {number(value)}{around}")
    for column, name in axes.items():
        if (value := row.get(column)) is not None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            lines.append(f"{shown(name)} = {number(value) if is_number else shown(value)}")
    if channels := row.get("channels_per_layer"):
        lines.append(f"channels, from the image upwards: {' · '.join(map(str, channels))}")
    if (seeds := row.get("replicates") or 1) > 1:
        lines.append(f"mean of {seeds} seeds")
    return "<br>".join(lines)
