"""Draws trade-offs: which combinations of two resources suffice for some accuracies."""

from __future__ import annotations

from typing import Any

from sweeper.measurements import Goal, Objective
from sweeper.results.plots.accuracies import Row, is_bound
from sweeper.results.plots.marks import (
    COUNTS,
    UPPER_BOUND,
    arrow,
    bound_in_legend,
    counted,
    line,
    marks,
    pale_marks,
    staircase,
    worst,
)
from sweeper.results.plots.points import Points, best_of
from sweeper.results.plots.style import LINES, NotDrawnError, Picture, Trace, axis, number, place_on, sketch

#: Pairs of resources to trade against each other: the x axis, the y axis.
TRADES = (("breadth", "depth"), ("depth", "time"), ("breadth", "time"))


def trade_off(points: Points, x: str, y: str) -> Picture:
    """Draw, for each accuracy, the settings that reach it and that no other one beats in two resources.

    Raises:
        NotDrawnError: If all settings have the same value of one resource, or none reaches an accuracy.
    """
    rows = points.with_all("accuracy", x, y)
    for name in (x, y):
        if len({row[name] for row in rows}) == 1:
            raise NotDrawnError(f"all settings have the same {name}: {number(rows[0][name])}")
    resources = [Objective(y, Goal.MINIMIZE), Objective(x, Goal.MINIMIZE)]
    curves = [
        (place, level, best_of([row for row in rows if row["accuracy"] >= level], resources))
        for place, level in enumerate(points.accuracies)
        if any(row["accuracy"] >= level for row in rows)
    ]
    unreached = [f"{level:g}" for level in points.accuracies if not any(row["accuracy"] >= level for row in rows)]
    if not curves:
        best = max(row["accuracy"] for row in rows)
        raise NotDrawnError(f"no setting of task {points.task!r} reaches {' or '.join(unreached)}; the best {best:.3g}")
    seen = {row["key"] for _, _, best in curves for row in best}
    traces = pale_marks(points, [row for row in rows if row["key"] not in seen], x, y)
    corner = (worst(rows, resources[1]), worst(rows, resources[0]))
    smallest = {name: min(row[name] for row in rows) for name in (x, y)}
    bounds: dict[str, list[Row]] = {x: [], y: []}
    # Markers shrink from the lowest accuracy to the highest, so that a setting on several curves shows all of them.
    for place, level, best in curves:
        bounding = [any(is_bound(row, name, smallest[name]) for name in (x, y)) for row in best]
        for name, own in bounds.items():
            own += [row for row in best if is_bound(row, name, smallest[name])]
        traces += _curve(points, place, level, [(row[x], row[y]) for row in best], corner)
        traces.append(_settings_of(points, place, level, best, bounding, (x, y)))
    counts = counted(rows, x, y, traces, aside=3)
    across, up = (
        axis(name, [row[name] for row in rows], Goal.MINIMIZE, has_arrows=bool(bounds[name])) for name in (x, y)
    )
    places = {
        (place_on(across, row[x]), place_on(up, row[y]), name == x): None for name, own in bounds.items() for row in own
    }
    looks = sketch(
        [*traces, *([bound_in_legend()] if places else []), *counts],
        showlegend=True,
        xaxis=across,
        yaxis=up,
        annotations=[arrow(*place, to_left=to_left) for *place, to_left in places],
    )
    caption = (
        f"Each line joins the settings that need least {x} and {y} of all that reach an accuracy; "
        "what lies above and to the right of it reaches that accuracy too, or should."
        f"{BOUNDS if places else ''}{f' No setting reaches {_either(unreached)}.' if unreached else ''}"
        f"{COUNTS if counts else ''}"
    )
    return Picture(f"trade-{x}-{y}", f"{y.capitalize()} against {x} at matched accuracy", caption, looks)


#: Sentence of a caption about points that are the smallest setting tried.
BOUNDS = (
    " An open point with an arrow is the smallest that was tried, in the arrow's direction: an upper bound of the need."
)


def _either(names: list[str]) -> str:
    return " or ".join(names)


def _curve(
    points: Points, place: int, level: float, places: list[tuple[float, float]], corner: tuple[float, float]
) -> list[Trace]:
    colour, _, dash = LINES[place]
    name = f"accuracy ≥ {level:g}"
    steps = staircase(places, corner)
    return [line(steps, color=colour, dash=dash, name=name, legendgroup=name, showlegend=False)]


def _settings_of(
    points: Points, place: int, level: float, best: list[Row], bounding: list[bool], pair: tuple[str, str]
) -> Trace:
    colour, symbol, _ = LINES[place]
    size = 9 + 5 * (len(points.accuracies) - 1 - place)
    how: dict[str, Any] = {
        "symbol": [f"{symbol}-open" if is_one else symbol for is_one in bounding],
        "size": size,
        "color": colour,
        "line": {"width": 2, "color": colour},
    }
    name = f"accuracy ≥ {level:g}"
    trace = marks(points, best, *pair, marker=how, name=name, legendgroup=name)
    trace["text"] = [text + UPPER_BOUND * is_one for text, is_one in zip(trace["text"], bounding, strict=True)]
    return trace
