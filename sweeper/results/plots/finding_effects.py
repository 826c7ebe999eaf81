"""Draws findings as lists of effects: steps under probes (F3), and steps against human reaction times (F4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.results.plots.panels import Entry, Page, interval, list_of, list_page, share
from sweeper.results.plots.style import (
    BLUE,
    GREEN,
    ITS_TEXT,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILLION,
    NotDrawnError,
)

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Part


# --- F3: occlusion --------------------------------------------------------------------------------

#: Group, colour and marker of each kind of probe.
_KINDS: Mapping[str, tuple[str, str, str]] = {
    "debris": ("occluder", VERMILLION, "square"),
    "occlude_grey": ("occluder", VERMILLION, "square"),
    "occlude_black": ("occluder", VERMILLION, "square"),
    "occlude_beside": ("the same beside, hiding nothing", BLUE, "circle"),
    "contrast": ("less contrast", ORANGE, "diamond"),
    "noise": ("noise", PURPLE, "x"),
    "blank": ("blank", PALE, "cross"),
}
_OTHER = ("other probes", SKY, "triangle-up")


def occlusion(parts: Sequence[Part]) -> Page:
    """Draw how steps rise under each probe, with a panel for each halting rule.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    if not parts:
        raise NotDrawnError("no network of this task decides by itself when to answer")
    listed = [_occlusion_entries(part) for part in parts]
    page = list_page(len(parts), max(map(len, listed)), 3)
    for column, (part, entries) in enumerate(zip(parts, listed, strict=True)):
        where = list_of(page, column, entries, "rise of steps (% of those of whole images)", is_first=not column)
        page.line(where, 0, "solid")
        page.line(where, 100 * part.least, "dot")
        effect = part.effect
        said = interval(100 * effect.value, 100 * effect.low, 100 * effect.high, "{:.1f}")
        page.write(
            where,
            [f"<b>{part.rule}</b>", f"occluder over beside: {said} %", f"{part.networks} networks, {part.seeds} seeds"],
        )
    page.caption = (
        "By how much steps rise over those of whole images under each probe and level: medians over networks, with "
        "their intervals over seeds. The first two lines are the effect, "
        f"{parts[0].numbers['occluder']} at level {parts[0].numbers['level']:g} over the control beside, and the same "
        "among images that the network is as sure of; the third is by how much it is larger than under halved contrast "
        "or as harmful noise. The dotted line is the smallest rise that matters."
    )
    return page


def _occlusion_entries(part: Part) -> list[Entry]:
    numbers, effect = part.numbers, part.effect
    equal, beyond = numbers["at_equal_confidence"], numbers["beyond_any_change"]

    def entry(name: str, values: Sequence[float | None], look: tuple[str, str, str], more: str = "") -> Entry:
        percent = [100 * one if one is not None else None for one in values]
        value, low, high = percent
        group, colour, symbol = look
        return Entry(name, value, low, high, colour, symbol, group, f"{interval(value, low, high, '{:.1f}')} %{more}")

    head = [
        entry("occluder − beside", (effect.value, effect.low, effect.high), ("effect", GREEN, "star")),
        entry("… at equal confidence", _three(equal), ("at equal confidence", GREEN, "star-open")),
        entry("… beyond any change", _three(beyond), ("beyond any change", GREEN, "star-diamond-open")),
    ]
    order = list(_KINDS)
    probes = sorted(
        (one for one in numbers["probes"] if one["probe"] != "whole"),
        key=lambda one: (
            order.index(one["probe"]) if one["probe"] in order else len(order),
            one["probe"],
            one["level"],
        ),
    )
    return head + [
        entry(
            f"{one['probe']} {one['level']:g}",
            (one["rise"], one["low"], one["high"]),
            _KINDS.get(one["probe"], _OTHER),
            f"<br>accuracy {one['accuracy']:.3f}, confidence {one['confidence']:.3f}, steps {one['steps']:.2f}"
            f"<br>{share(one['networks_that_rise'])} of networks rise",
        )
        for one in probes
    ]


def _three(of: Mapping[str, float]) -> tuple[float, float, float]:
    return of["value"], of["low"], of["high"]


# --- F4: reaction times ---------------------------------------------------------------------------

_STEPS = "steps"
_FEED_FORWARD = "steps of feed-forward networks"


def reaction_time(parts: Sequence[Part], described: Sequence[Mapping[str, Any]]) -> Page:
    """Draw how steps and their baselines correlate with human data, with a panel for each halting rule.

    Args:
        parts: Effects over images.
        described: Descriptions over conditions.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    known = {part.rule: part for part in parts if part.numbers}
    over_levels = {str(one["rule"]): one["by_condition"] for one in described}
    rules = list(dict.fromkeys([*known, *over_levels]))
    if not rules:
        raise NotDrawnError(parts[0].why if parts else "people and networks of this task have no images in common")
    listed = {rule: _person_entries(known.get(rule), over_levels.get(rule, ())) for rule in rules}
    names = list(dict.fromkeys(one.name for entries, _ in listed.values() for one in entries))
    page = list_page(len(rules), len(names), 3)
    for column, rule in enumerate(rules):
        entries, ceilings = listed[rule]
        missing = [Entry(name, None, None, None, PALE) for name in names if name not in {one.name for one in entries}]
        title = "rank correlation with people"
        where = list_of(page, column, [*entries, *missing], title, is_first=not column)
        page.line(where, 0, "solid")
        _ceilings(page, where, ceilings)
        part = known.get(rule)
        said = [_beside_ceiling(part)] if part else []
        counted = [f"{part.networks} networks, {part.numbers['images']} images"] if part else ["by condition only"]
        page.write(where, [f"<b>{rule}</b>", *said, *counted])
    meant = next((part.numbers["difficulty"] for part in known.values()), "")
    by_image = (
        f"The rank correlation, within classes and among right answers, of what a network does with an image and human "
        f"difficulty ({meant}): of its steps, and of everything that may do as well. Confidence counts with its sign "
        "turned, brightness and edges by either sign. "
        if known
        else ""
    )
    by_level = (
        "By level: over the levels of a degradation, mean steps against median reaction times; described only. "
        if over_levels
        else ""
    )
    page.caption = (
        f"{by_image}{by_level}Bars are intervals over seeds{' and images' if known else ''}; the green line is the "
        "ceiling, the most that two halves of people allow."
    )
    return page


def _beside_ceiling(part: Part) -> str:
    effect = part.effect
    said = interval(effect.value, effect.low, effect.high)
    return f"{said}, ceiling {interval(part.numbers['ceiling'])}"


def _person_entries(
    part: Part | None, conditions: Sequence[Mapping[str, Any]]
) -> tuple[list[Entry], list[tuple[list[str], float]]]:
    """Return the entries of one halting rule, and the ceiling of each group of entries."""
    found: list[Entry] = []
    ceilings: list[tuple[list[str], float]] = []
    if part is not None:
        rows = part.numbers["correlations"]
        found = [_person_entry(one["of"], one["of"], one["value"], one["low"], one["high"]) for one in rows]
        if not any(one["of"] == _FEED_FORWARD for one in rows):
            found.append(Entry(f"{_FEED_FORWARD} (none)", None, None, None, PALE))
        ceilings.append(([one.name for one in found], part.numbers["ceiling"]))
    for one in conditions:
        own = [
            _person_entry(f"{words}, by level of {one['kind']}", of, one[column], *one[f"{column}_interval"])
            for words, of, column in (
                ("steps", _STEPS, "steps"),
                ("confidence", "confidence at halting", "confidence"),
                ("feed-forward steps", _FEED_FORWARD, "feed_forward"),
            )
        ]
        found += own
        ceilings.append(([entry.name for entry in own], one["ceiling"]))
    return found, ceilings


def _person_entry(name: str, of: str, value: float, low: float, high: float) -> Entry:
    looks = {
        _STEPS: ("steps", BLUE, "circle"),
        _FEED_FORWARD: ("feed-forward networks with early exits", ORANGE, "triangle-up"),
    }
    if "picture" in of:
        look = ("the picture itself", PALE, "diamond")
    elif "confidence" in of:
        look = ("confidence", VERMILLION, "square")
    else:
        look = looks.get(of, ("another measure of time", SKY, "x"))
    group, colour, symbol = look
    return Entry(name, value, low, high, colour, symbol, group, interval(value, low, high, "{:.3f}"))


def _ceilings(page: Page, where: Mapping[str, str], ceilings: Sequence[tuple[list[str], float]]) -> None:
    """Draw the ceiling of each group of entries beside it."""
    for names, value in ceilings:
        page.traces.append({
            "type": "scatter",
            "mode": "lines",
            "x": [value] * len(names) if len(names) > 1 else [value, value],
            "y": names if len(names) > 1 else names * 2,
            **where,
            "line": {"color": GREEN, "width": 2.5},
            "name": "ceiling",
            "legendgroup": "ceiling",
            "showlegend": page.is_new("ceiling"),
            "text": [f"ceiling {value:.2f}"] * max(2, len(names)),
            "hovertemplate": ITS_TEXT,
        })
