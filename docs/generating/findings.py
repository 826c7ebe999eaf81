"""Tables of the sweeps' findings about the claims, from the files in `docs/findings`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.generating.markdown import table

FOLDER = Path(__file__).parents[1] / "findings"


def effects(name: str, claim: str) -> str:
    """Return the effects that a sweep shows for one claim, with intervals and verdicts."""
    parts = _claim(name, claim)["parts"]
    rows = [
        [
            part["rule"],
            part["effect_of"],
            _interval(part),
            f"{part['least']:g}",
            _p(part["p_corrected"]),
            f"{part['networks']} of {part['seeds']} seeds" if part["networks"] else "–",
            f"**{part['verdict']}**" + (f", {part['qualifier']}" if part["qualifier"] else ""),
        ]
        for part in parts
    ]
    heads = ["halting", "effect of", f"effect ({parts[0]['unit']})", "matters", "p, corrected", "networks", "verdict"]
    return table(heads, rows)


def controls(name: str, claim: str) -> str:
    """Return the controls of these effects."""
    rows = [
        [
            part["rule"],
            part["effect_of"],
            control["name"],
            "passed" if control["passed"] else "not passed",
            control["says"],
        ]
        for part in _claim(name, claim)["parts"]
        for control in part["controls"]
    ]
    return table(["halting", "effect of", "control", "", "what was found"], rows)


def probes(name: str) -> str:
    """Return accuracy and steps under each probe, by halting rule."""
    rows = [
        [
            part["rule"],
            probe["probe"],
            f"{probe['level']:g}",
            f"{probe['accuracy']:.3f}",
            f"{probe['steps']:.2f}",
            _percent(probe),
            f"{100 * probe['networks_that_rise']:.0f} %",
        ]
        for part in _claim(name, "F3")["parts"]
        for probe in part["numbers"]["probes"]
    ]
    return table(["halting", "probe", "level", "right", "steps", "rise over whole images", "networks that rise"], rows)


def correlations(name: str) -> str:
    """Return the correlations with people's difficulty of images, and their ceiling."""
    rows = []
    for part in _claim(name, "F4")["parts"]:
        if "correlations" not in part["numbers"]:
            continue
        rows += [[part["rule"], one["of"], _bounded(one)] for one in part["numbers"]["correlations"]]
        rows.append([
            part["rule"],
            "steps, with confidence at halting held fixed",
            _number(part["numbers"]["beyond_confidence"]),
        ])
        rows.append([part["rule"], "*ceiling: people with other people*", _number(part["numbers"]["ceiling"])])
    return table(["halting", "what goes with people's difficulty", "rank correlation within classes"], rows)


def conditions(name: str) -> str:
    """Return the correlations of steps with people's reaction times over the levels of each degradation."""
    rows = [
        [
            said["rule"],
            one["kind"],
            str(one["levels"]),
            *(_spread(one, what) for what in ("steps", "confidence", "feed_forward")),
            _number(one["ceiling"]),
        ]
        for said in _claim(name, "F4")["described"]
        for one in said["by_condition"]
    ]
    heads = ["halting", "degradation", "levels", "steps", "confidence, sign turned", "steps of feed-forward networks"]
    return table([*heads, "ceiling"], rows)


def ladder(name: str) -> str:
    """Return the tasks of a ladder with their complexity, and each resource along it."""
    rows = []
    for part in _claim(name, "F2")["parts"]:
        for step in part["numbers"]["ladder"]:
            rows.append([
                part["rule"],
                part["effect_of"],
                step["task"],
                f"{step['regression']:.3f}",
                f"{step['neighbour']:.3f}",
                f"{step['accuracy']:.3f}",
                _number(step["at_fixed_pressures"]),
                _number(step["at_fixed_accuracy"]),
                f"{step['censored_below']} + {step['censored_above']}",
            ])
    heads = ["halting", "resource", "task", "regression's error", "neighbour's error", "right"]
    return table([*heads, "at fixed pressures", "at fixed accuracy", "blocks below + above"], rows)


def _claim(name: str, claim: str) -> dict[str, Any]:
    found = json.loads((FOLDER / name / "findings.json").read_text(encoding="utf-8"))
    return next(one for one in found["claims"] if one["claim"] == claim)


def _interval(part: dict[str, Any]) -> str:
    if part["effect"] is None:
        return "–"
    inside = f" ({part['low']:.3g} to {part['high']:.3g})" if part["low"] is not None else ""
    return f"{part['effect']:.3g}{inside}"


def _bounded(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "–"
    inside = f" ({one['low']:.3f} to {one['high']:.3f})" if one["low"] is not None else ""
    return f"{one['value']:.3f}{inside}"


def _spread(one: dict[str, Any], what: str) -> str:
    low, high = one[f"{what}_interval"]
    return _bounded({"value": one[what], "low": low, "high": high})


def _percent(probe: dict[str, Any]) -> str:
    inside = f" ({100 * probe['low']:.1f} to {100 * probe['high']:.1f})" if probe["low"] is not None else ""
    return f"{100 * probe['rise']:.1f} %{inside}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
