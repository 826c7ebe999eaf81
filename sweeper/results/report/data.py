"""Gathers the data for a report's script: trials, points, figures and drawings, as values that JSON holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sweeper.analysis import columns, sheet
from sweeper.analysis.fronts import Front
from sweeper.analysis.points import added_units_of, own_units_of
from sweeper.errors import SweepError
from sweeper.measurements import MEASUREMENTS, WALLS
from sweeper.results.plots import style
from sweeper.results.plots.scene import MOST_CONNECTIONS
from sweeper.results.plots.thumbnail import BYTES_A_CONNECTION, BYTES_A_NETWORK, small_svg
from sweeper.results.sweep_tables import SweepTables
from sweeper.training.network_file import describe_bytes

#: Most networks to draw, spread evenly over the fronts, at least one of each; one takes hundredths of a second.
MOST_NETWORKS = 400

#: Most characters of all drawings together. A mail may have 10 MB, and plotly takes half of them.
_DRAWN = 2_200_000

#: Least number of connections to draw of each network, however many networks there are.
_LEAST_CONNECTIONS = 40

#: Reasons why a network of a front is not drawn.
NOT_STORED = "Its network is not stored in MLflow; `sweeper mirror` stores it where the sweep ran."
NOT_DRAWN = "Its network is not drawn, to keep this file small; `sweeper show` draws it."


def report_data(
    sweep: SweepTables, fronts: Sequence[Front], drawn: Sequence[Mapping[str, Sequence[style.Picture]]]
) -> dict[str, Any]:
    """Return all data for the page's script; arrays are still plotly's own.

    Args:
        sweep: The sweep that the report is about.
        fronts: The fronts over all objectives, one for each task.
        drawn: For each section of the report, its pictures by the task's label.
    """
    points = sweep.points()
    own_units = own_units_of(points)
    measured = list((*MEASUREMENTS, *added_units_of(points)) if own_units is None else own_units)
    return {
        "trials": _trials(sweep, fronts),
        "points": {row["key"]: _point(row, measured) for row in points.to_pylist() if row["replicates"] > 1},
        "figures": {
            f"{task}/{one.name}": one.figure.to_plotly_json()
            for section in drawn
            for task, some in section.items()
            for one in some
        },
        "flat": {
            f"{task}/{one.name}": {**one.flat.figure.to_plotly_json(), "caption": one.flat.caption}
            for section in drawn
            for task, some in section.items()
            for one in some
            if one.flat is not None
        },
        "themes": [style.template(dark=dark).to_plotly_json() for dark in (False, True)],
        "networks": dict(_networks(sweep, fronts)) if own_units is None else {},
        "walls": {name: wall.axis for name, wall in WALLS.items()} if own_units is None else {},
    }


def _point(row: Mapping[str, Any], measured: Iterable[str]) -> dict[str, Any]:
    """Return the keys of all trials of a setting with several seeds, and its means and spreads."""
    means = {name: row[name] for name in measured if row[name] is not None}
    spreads = {name: row[f"{name}_sd"] for name in measured if row.get(f"{name}_sd") is not None}
    return {"keys": row["keys"], "means": means, "spreads": spreads}


def _networks(sweep: SweepTables, fronts: Sequence[Front]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the key of each trial on a front, with its drawing or the reason why there is none."""
    members = [front.table["key"].to_pylist() for front in fronts]
    count = sum(map(len, members))
    chosen = {key for keys in members for key in _spread(keys, max(1, MOST_NETWORKS * len(keys) // max(1, count)))}
    room = _DRAWN // max(1, min(count, MOST_NETWORKS)) - BYTES_A_NETWORK
    most = min(MOST_CONNECTIONS, max(_LEAST_CONNECTIONS, room // BYTES_A_CONNECTION))
    for index, row in enumerate(row for front in fronts for row in front.table.select(["key", "keys"]).to_pylist()):
        own = row["key"]
        yield own, _drawing(sweep, own, f"n{index}", most) if own in chosen else {"missing": NOT_DRAWN}
        for key in row["keys"]:
            if key != own:
                yield key, {"missing": f"A replicate of trial {own}, which is drawn for all of them."}


def _drawing(sweep: SweepTables, key: str, name: str, most: int) -> dict[str, str]:
    try:
        data = sweep.network(key)
        if data is None:
            return {"missing": NOT_STORED}
        shown = describe_bytes(data, f"the network of trial {key}", key)
    except SweepError as error:  # damaged or of another version; the page still shows its numbers
        return {"missing": str(error)}
    return {"svg": small_svg(shown.graph, name, shown.measurement, most)}


def _spread(keys: Sequence[str], most: int) -> list[str]:
    """Return at most `most` evenly spaced keys, with the first and, if `most` is above one, the last among them."""
    if len(keys) <= most:
        return list(keys)
    return [keys[round(i * (len(keys) - 1) / max(1, most - 1))] for i in range(most)]


def _trials(sweep: SweepTables, fronts: Sequence[Front]) -> dict[str, Any]:
    """Return all finished trials by column, with the data for showing, sorting and filtering them."""
    table = sweep.trials()
    own_units, added = own_units_of(table), added_units_of(table)

    def unit(name: str) -> str:
        return added.get(name, columns.unit(name)) if own_units is None else own_units.get(name, "")

    axes = {name for record in sweep.records for name in record.axes}
    shown = {"key", "task", "outcome", "seed", "channels_per_layer", *axes, *(f"setting.{axis}" for axis in axes)}
    shown |= {o.name for o in sweep.objectives} | {*sheet.USUAL, *sheet.TESTED, *(own_units or added)}
    goals = {objective.name: objective.goal.value for objective in sweep.objectives}
    members = {key for front in fronts for keys in front.table["keys"].to_pylist() for key in keys}
    found = []
    for field in table.schema:
        values = table[field.name].to_pylist()
        kind = _kind(str(field.type))
        if field.name == "reason":
            values = [sheet.last_line(value or "") for value in values]
        elif kind == "list":
            values = [None if value is None else " ".join(map(str, value)) for value in values]
        found.append({
            "name": field.name,
            "title": columns.title(field.name),
            "unit": "" if kind == "list" else unit(field.name),
            "kind": kind,
            "goal": goals.get(field.name, ""),
            "shown": field.name in shown and any(value not in (None, "") for value in values),
            "values": values,
        })
    return {"columns": found, "rows": table.num_rows, "members": sorted(members)}


def _kind(arrow: str) -> str:
    """Return the kind of a column in conditions: `number`, `word`, `bool` or `list`."""
    return {"double": "number", "int64": "number", "bool": "bool", "string": "word"}.get(arrow, "list")
