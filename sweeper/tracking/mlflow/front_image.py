"""Draws a small PNG of a front for MLflow's page with matplotlib, because the driver has no browser for plotly."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sweeper.analysis.columns import unit
from sweeper.analysis.fronts import Front
from sweeper.measurements import Objective

#: Colours: a blue by Okabe and Ito, ink, and grid lines.
_POINT, _INK, _GRID = "#0072B2", "#1f2933", "#dde3e9"

_DPI = 80
_PANEL = (3.1, 2.6)  # inches


def draw_front(front: Front) -> bytes:
    """Draw the points of a front, the first objective against each of the others.

    The same front gives the same bytes.

    Args:
        front: A front with at least one point.
    """
    first, *others = front.objectives
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's own matplotlibrc
        matplotlib.rcParams.update({"font.size": 8, "axes.edgecolor": _INK, "text.parse_math": False})
        panels = max(1, len(others))
        figure = Figure(figsize=(_PANEL[0] * panels, _PANEL[1]), dpi=_DPI, facecolor="white", layout="constrained")
        for index, other in enumerate(others or [first]):
            _panel(figure.add_subplot(1, panels, index + 1), front, other, first)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _panel(axes: Axes, front: Front, across: Objective, up: Objective) -> None:
    x, y = (front.table[objective.name].to_pylist() for objective in (across, up))
    axes.set_axisbelow(True)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.scatter(x, y, s=22, color=_POINT, edgecolors="white", linewidths=0.5)
    axes.margins(0.08)
    axes.set_xlabel(_label(across))
    axes.set_ylabel(_label(up))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _label(objective: Objective) -> str:
    named = f"{objective.name} {objective.goal.arrow}"
    return f"{named} ({its})" if (its := unit(objective.name)) else named
