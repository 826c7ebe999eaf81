"""The picture of imports: packages (rooms) as boxes and imports (doors) as arrows, drawn as SVG.

An arrow leads from a room to a room that its files import. Dark arrows alone show which room reaches which: a pale
arrow leads to a room that dark arrows reach too. Rooms are drawn above the rooms that they import.
"""

from __future__ import annotations

import itertools
import textwrap
from dataclasses import dataclass
from html import escape

from docs.generating.rooms import doors, files_of, purpose_of
from tests.test_layers import GROUND, MODEL, ROOMS

_BOX, _BEND, _HIGH, _GAP, _ROW, _EDGE = 190, 12, 84, 30, 136, 24
_INK, _PALE, _FILL, _PAPER = "#1b3a57", "#c3ced9", "#eef4fa", "#ffffff"


@dataclass(frozen=True)
class Place:
    """Position of a box: its left and upper edge, and its width, in pixels."""

    x: float
    y: float
    width: float = _BOX

    @property
    def middle(self) -> float:
        """The middle between its left and right edge."""
        return self.x + self.width / 2


def graph() -> dict[str, set[str]]:
    """Return which rooms each room imports; the ground floor is left out, since every room imports it."""
    return {
        room: {other for other in ROOMS if other != GROUND and doors()[room, other]} for room in ROOMS if room != GROUND
    }


def needed(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the edges without those that a longer path replaces (the transitive reduction)."""

    def reached(room: str) -> set[str]:
        return edges[room].union(*(reached(other) for other in edges[room]))

    return {
        room: {one for one in others if not any(one in reached(other) for other in others - {one})}
        for room, others in edges.items()
    }


def levels(edges: dict[str, set[str]]) -> dict[str, int]:
    """Return the row of each room, counted from below, as high as the rooms above it allow; the model is in row 0."""
    height: dict[str, int] = {}

    def least(room: str) -> int:
        return max((least(other) + 1 for other in edges[room] - {MODEL}), default=1)

    for room in sorted(edges, key=least, reverse=True):
        above = [height[other] for other, others in edges.items() if room in others]
        height[room] = min(above) - 1 if above else least(room)
    return height | {MODEL: 0}


def routes(edges: dict[str, set[str]], height: dict[str, int]) -> dict[tuple[str, str], list[str]]:
    """Return the nodes of each arrow, from room to room, with one bend in every row between them."""
    return {
        (a, b): [a, *(f"{a} {b} {level}" for level in range(height[a] - 1, height[b], -1)), b]
        for a, others in edges.items()
        for b in sorted(others)
    }


def rows(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return rooms and bends in rows from below, each near its neighbours in the adjacent rows."""
    height = levels(edges)
    found: list[list[str]] = [[] for _ in range(max(height.values()) + 1)]
    joined: dict[str, set[str]] = {room: set() for room in edges}
    for room in edges:
        found[height[room]].append(room)
    for route in routes(edges, height).values():
        for level, bend in zip(range(height[route[0]] - 1, height[route[-1]], -1), route[1:-1], strict=True):
            found[level].append(bend)
        for one, other in itertools.pairwise(route):
            joined.setdefault(one, set()).add(other)
            joined.setdefault(other, set()).add(one)
    for turn in range(24):  # alternately up and down; nodes without neighbours in the row before stay
        for at in range(1, len(found)) if turn % 2 else range(len(found) - 2, -1, -1):
            before = found[at - 1 if turn % 2 else at + 1]
            where = {node: (place + 0.5) / len(before) for place, node in enumerate(before)}
            own = {node: (place + 0.5) / len(found[at]) for place, node in enumerate(found[at])}
            near = {node: [where[other] for other in joined[node] if other in where] or [own[node]] for node in own}
            found[at].sort(key=lambda node: sum(near[node]) / len(near[node]))
    return found


def places() -> tuple[dict[str, Place], float, float]:
    """Return the place of each room and bend, and the width and height of the picture."""
    found = rows(needed(graph()))
    wide = [sum(_BOX if node in ROOMS else _BEND for node in row) + _GAP * len(row) for row in found]
    width = max(wide) - _GAP + 2 * _EDGE
    height = len(found) * _ROW - (_ROW - _HIGH) + 2 * _EDGE
    at: dict[str, Place] = {}
    for level, row in enumerate(found):
        x = (width - wide[level] + _GAP) / 2
        for node in row:
            size = _BOX if node in ROOMS else _BEND
            at[node] = Place(x, height - _EDGE - _HIGH - level * _ROW, size)
            x += size + _GAP
    foot = at[MODEL].y
    at[MODEL] = Place(width - _EDGE - _BOX, foot)
    at[GROUND] = Place(_EDGE, foot, width - 2 * _EDGE - _BOX - _GAP)
    return at, width, height


def picture() -> str:
    """Return the picture as SVG."""
    at, width, height = places()
    edges, kept = graph(), needed(graph())
    pale = [_line([at[a], at[b]], _PALE, 1.2) for a, others in edges.items() for b in sorted(others - kept[a])]
    dark = [_line([at[node] for node in route], _INK, 1.8) for route in routes(kept, levels(kept)).values()]
    if doors()[GROUND, MODEL]:
        y, x = at[MODEL].y + _HIGH / 2, at[MODEL].x
        dark.append(_path(f"M{x - _GAP:g} {y:g}L{x:g} {y:g}", _INK, 1.8))
    boxes = [line for room in ROOMS for line in _box(room, at[room])]
    said = f"{len(ROOMS)} rooms and {len(pale) + len(dark)} doors between them, beside those to the ground floor"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" role="img" aria-label="{said}">',
        f"<title>{said}</title>",
        "<defs>",
        *(_head(color) for color in (_INK, _PALE)),
        "</defs>",
        f'<rect width="{width:g}" height="{height:g}" fill="{_PAPER}"/>',
        *pale,
        *dark,
        *boxes,
        "</svg>",
        "",
    ])


def _head(color: str) -> str:
    return (
        f'<marker id="head{color[1:]}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto" markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="{color}"/></marker>'
    )


def _path(way: str, color: str, thick: float) -> str:
    return f'<path d="{way}" fill="none" stroke="{color}" stroke-width="{thick}" marker-end="url(#head{color[1:]})"/>'


def _line(route: list[Place], color: str, thick: float) -> str:
    """Return a curve from the foot of the first box to the top of the last one, vertical at the bends between."""
    start, *bends, end = route
    towards, back = (bends or [end])[0].middle, (bends or [start])[-1].middle
    x1 = start.middle + max(-0.4, min(0.4, (towards - start.middle) / 700)) * start.width  # shifted towards the target
    x2 = end.middle + max(-0.4, min(0.4, (back - end.middle) / 700)) * end.width
    corners = [
        (x1, start.y + _HIGH),
        *((bend.middle, bend.y + side) for bend in bends for side in (0, _HIGH)),
        (x2, end.y),
    ]
    way = f"M{x1:.0f} {start.y + _HIGH:.0f}"
    for at, ((left, top), (right, foot)) in enumerate(itertools.pairwise(corners)):
        half = (foot - top) / 2
        bent = f"C{left:.0f} {top + half:.0f} {right:.0f} {foot - half:.0f} {right:.0f} {foot:.0f}"
        way += bent if at % 2 == 0 else f"L{right:.0f} {foot:.0f}"
    return _path(way, color, thick)


def _box(room: str, place: Place) -> list[str]:
    count = len(files_of(room))
    lines = textwrap.wrap(purpose_of(room).replace("`", ""), int(place.width / 6.4))
    lines = lines if len(lines) <= 4 else [*lines[:3], lines[3].rstrip(" ,") + " …"]
    left, right, top = place.x + 10, place.x + place.width - 10, place.y + 19
    return [
        f'<rect x="{place.x:g}" y="{place.y:g}" width="{place.width:g}" height="{_HIGH}" rx="6" fill="{_FILL}" '
        f'stroke="{_INK}" stroke-width="1.2"/>',
        f'<text x="{left:g}" y="{top:g}" font-size="14" font-weight="bold" fill="{_INK}">{room}</text>',
        f'<text x="{right:g}" y="{top:g}" font-size="11" text-anchor="end" '
        f'fill="#5a6b7b">{count} file{"s" if count != 1 else ""}</text>',
        *(
            f'<text x="{left:g}" y="{top + 17 + 13 * at:g}" font-size="10.5" fill="#33424f">{escape(line)}</text>'
            for at, line in enumerate(lines)
        ),
    ]
