"""The look of pictures: colours, letters, axes, and hover texts.

Traces and annotations carry no colour of ink or paper. The template holds these colours, so that another template turns
a picture from light to dark.
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

if TYPE_CHECKING:  # plotly loads only when a picture is drawn, because a list of pictures does not need it
    import plotly.graph_objects as go

#: Colours by Okabe and Ito, which colour-blind readers can tell apart too and which stand out from white and black.
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
#: Colour of marks and lines in the background.
PALE = "#8a94a0"
#: Transparent.
CLEAR = "rgba(0,0,0,0)"

PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, PALE)

#: Colour, marker and dashes of the lines of a picture, in order. Each of the three alone tells the lines apart.
LINES = ((BLUE, "circle", "solid"), (VERMILLION, "square", "dash"), (GREEN, "diamond", "dot"), (PURPLE, "x", "dashdot"))

#: Colour scale of values: ordered for colour-blind readers and in grey too, and visible on light and dark paper.
SCALE = ((0.0, BLUE), (0.5, "#8c8b78"), (1.0, ORANGE))

#: Letter sizes in pixels: of axes, their titles and legends; of words in a picture; of the smallest words.
TEXT_SIZE, SMALL_SIZE, LEAST_SIZE = 12, 11, 10

#: Height of a picture of one panel, in pixels; other pictures set their own.
HEIGHT = 430

#: Least height of a picture of one panel, in pixels; and of any other picture, as a share of its own height.
_LEAST_HEIGHT, _SQUEEZED = 120, 0.8

_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"

#: Template of a hover text that is the point's own text alone.
ITS_TEXT = "%{text}<extra></extra>"

#: Largest range of counts on an axis that has a tick for each count.
_MOST_COUNTS = 6

#: Most characters in a line of an axis' title, so that it fits on a narrow page.
_LONGEST_TITLE = 34

#: The column of accuracy, and its name in psychophysics, which axes show.
_ACCURACY, _PROPORTION = "accuracy", "proportion correct"

#: Free room beyond the outermost values, without and with arrows, as a share of the axis' span.
_ROOM, _ARROW_ROOM = 0.06, 0.16

#: Least ratio of the largest value to the smallest at which an axis is logarithmic.
_DECADES = 50


#: A trace of plotly in plain values: its `type` and the entries of that type.
Trace = dict[str, Any]


@dataclass(frozen=True)
class Sketch:
    """The content of a picture in plain values.

    Attributes:
        traces: Traces, the lowest first.
        layout: Plotly's layout, without the common style.
        least_width, least_height: Least size at which words do not overlap, in pixels.
    """

    traces: Sequence[Trace]
    layout: Mapping[str, Any]
    least_width: int
    least_height: int


@dataclass(frozen=True)
class Picture:
    """A picture and its words.

    Attributes:
        name: Its name on the command line, such as `front-breadth`.
        title: Headline.
        caption: Says what it shows and how to read it, in one or two sentences.
        sketch: Its content. A trial's point carries the trial's key as first entry of `customdata`.
        flat: A 2D version for printed files and browsers without WebGL; None if the picture itself is 2D.
        numbers: Its data as rows, if the positions of marks do not show them; else None.
    """

    name: str
    title: str
    caption: str
    sketch: Sketch
    flat: Picture | None = None
    numbers: Sequence[Mapping[str, Any]] | None = None

    @cached_property
    def figure(self) -> go.Figure:
        """The picture as a plotly figure, in the common style for light paper.

        The background is transparent, and the figure is as wide as its page. `themed` returns it for dark paper.
        """
        import plotly.graph_objects as go

        return go.Figure(list(self.sketch.traces), {"template": template(dark=False), **self.sketch.layout})


class NotDrawnError(QueryError):
    """The trials of a sweep do not suffice for a picture."""


def template(*, dark: bool) -> go.layout.Template:
    """Return the template of all pictures: colours and letters for light or dark paper."""
    ink, soft, grid = ("#e6eaee", "#aab4be", "#37414b") if dark else ("#1f2933", "#52606d", "#dde3e9")
    paper = "#1f2933" if dark else "#ffffff"
    behind = "20, 24, 29" if dark else "255, 255, 255"  # background of words that lie over lines
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
    """Return a copy of a picture for light or dark paper; the background stays transparent."""
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
    """Return the content of a picture that is as wide as its page.

    Args:
        traces: Traces, the lowest first.
        height: Default height in pixels.
        least_width: Least width in pixels.
        least_height: Least height in pixels; None for the least height of one panel, or most of another `height`.
        layout: Further entries of plotly's layout.
    """
    if least_height is None:
        least_height = _LEAST_HEIGHT if height == HEIGHT else round(_SQUEEZED * height)
    return Sketch(traces, {"height": height, "autosize": True, **layout}, least_width, least_height)


def shown(name: object) -> str:
    """Escape a text for plotly, whose markup is a kind of HTML."""
    return html.escape(str(name), quote=False)


def number(value: float) -> str:
    """Format a number with four significant digits, or thousands separators."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def axis_title(name: str, goal: Goal | None = None, units: Mapping[str, str] | None = None) -> str:
    """Return the title of an axis: `breadth ↓ (channels)`, or for accuracy `proportion correct ↑`.

    Args:
        name: Name of a column.
        goal: Goal of an objective; None for other columns.
        units: Units of a user's own function by name; None for lattices.
    """
    if name == _ACCURACY and units is None:
        return f"{_PROPORTION}{f' {goal.arrow}' if goal else ''}"
    return _said_of(name, goal, units)


def _said_of(name: str, goal: Goal | None, units: Mapping[str, str] | None) -> str:
    """Return name, direction and unit of a measurement."""
    unit = _unit(name, units)
    return f"{shown(name)}{f' {goal.arrow}' if goal else ''}{f' ({unit})' if unit else ''}"


def axis_name(title: str) -> str:
    """Return the column's name that an axis' title begins with, without escapes."""
    name = html.unescape(re.split(r" [↑↓]| \(", title.replace("<br>", " "), maxsplit=1)[0])
    return _ACCURACY if name == _PROPORTION else name


def wrapped(title: str, most: int = _LONGEST_TITLE) -> str:
    """Break a title before its unit if it is too long for a narrow page."""
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
    """Return an axis for values: with title and unit, logarithmic if values span decades, with room for the markers.

    Args:
        name: Name of a column.
        values: All values in the picture.
        goal: Goal of an objective; None for other columns.
        units: Units of a user's own function by name; None for lattices.
        has_arrows: Whether to leave room for arrows beyond the least value.
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
    """Return the coordinate of a value for an annotation: plotly wants logarithms there, but not in traces."""
    return math.log10(value) if layout.get("type") == "log" else value


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return whether values span decades."""
    return min(values) > 0 and max(values) / min(values) >= _DECADES


def is_counted(name: str, values: Sequence[float], units: Mapping[str, str] | None = None) -> bool:
    """Return whether values are a few counts, such as 2 and 3 layers, between which no tick makes sense."""
    is_whole = all(float(value).is_integer() for value in values)
    is_share = _unit(name, units).startswith(("share", _PROPORTION))
    return is_whole and max(values) - min(values) <= _MOST_COUNTS and not is_share


def hover(
    row: Mapping[str, Any],
    objectives: Sequence[Objective],
    axes: Mapping[str, str],
    units: Mapping[str, str] | None = None,
) -> str:
    """Return the hover text of a setting: key, objectives with spread and unit, axes, channels per layer, seeds.

    Args:
        row: A row of a table of points.
        objectives: The objectives in order.
        axes: Columns of the axes, and their names.
        units: Units of a user's own function by name; None for lattices.
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
