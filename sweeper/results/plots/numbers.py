"""Writes the numbers of a picture as CSV: a row for each point, with columns named after the axes."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.results.plots.style import Picture, Trace, axis_name

_MARKUP = re.compile(r"<[^>]*>")


def as_csv(picture: Picture) -> bytes:
    """Return the numbers of a picture as CSV, in full precision."""
    rows = list(numbers_of(picture))
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _said(value) for name, value in row.items()} for row in rows)
    return file.getvalue().encode()


def numbers_of(picture: Picture) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a picture: its own `numbers`, or else each point of each trace.

    A row holds the trace's name as `series`, the form of its marks as `drawn`, the trial's `key`, and a column for each
    axis, named after it. If a picture has several panels, the columns `x axis` and `y axis` name the axes instead.
    """
    if picture.numbers is not None:
        yield from picture.numbers
        return
    layout = picture.sketch.layout
    drawn = [trace for trace in picture.sketch.traces if _is_of_numbers(trace)]
    panels = dict.fromkeys((trace.get("xaxis", "x"), trace.get("yaxis", "y")) for trace in drawn)
    for trace in drawn:
        sides = {side: _title(layout, trace.get(f"{side}axis", side)) for side in ("x", "y")}
        places = trace.get("meta", {}).get("places", trace)  # the true places of marks that `apart` moved
        named = sides if len(panels) == 1 and sides["x"] != sides["y"] else {"x": "x", "y": "y"}
        panel = {} if named is sides else {"x axis": sides["x"], "y axis": sides["y"]}
        for at in range(len(trace["x"])):
            if trace["x"][at] is None or trace["y"][at] is None:
                continue
            key = trace.get("customdata", [])[at : at + 1]
            yield {
                "series": _plain(trace.get("name", "")),
                "drawn": _how(trace),
                "key": key[0][0] if key else "",
                **panel,
                **{named[side]: places[side][at] for side in ("x", "y")},
                **_around(trace, named, at),
            }


def _is_of_numbers(trace: Trace) -> bool:
    return (
        trace["type"] in ("scatter", "bar") and trace.get("mode") != "text" and any(v is not None for v in trace["x"])
    )


def _how(trace: Trace) -> str:
    if trace["type"] == "bar":
        return "bars"
    return "area" if "fill" in trace else str(trace.get("mode", "markers")).replace("lines+markers", "points on a line")


def _around(trace: Trace, named: Mapping[str, str], at: int) -> dict[str, float]:
    """Return the ends of a point's intervals."""
    found = {}
    for side in ("x", "y"):
        bars = trace.get(f"error_{side}")
        if bars is not None and at < len(bars["array"]):
            found[f"{named[side]} low"] = trace[side][at] - bars["arrayminus"][at]
            found[f"{named[side]} high"] = trace[side][at] + bars["array"][at]
    return found


def _title(layout: Mapping[str, Any], axis: str) -> str:
    found = layout.get(f"{axis[0]}axis{axis[1:]}", {}).get("title", {}).get("text", "")
    return axis_name(found) or axis


def _plain(name: str) -> str:
    return html.unescape(_MARKUP.sub("", name))


def _said(value: object) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value))
    return html.unescape(value) if isinstance(value, str) else value
