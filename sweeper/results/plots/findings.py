"""Lists the pictures of findings, says which of them a sweep suffices for, and draws them.

Each picture shows an effect with its interval, and its controls beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.analysis.points import own_units_in
from sweeper.results.findings import findings_of, lacks
from sweeper.results.plots.finding_effects import occlusion, reaction_time
from sweeper.results.plots.finding_growth import growth
from sweeper.results.plots.finding_networks import diversity, tradeoff
from sweeper.results.plots.panels import Page
from sweeper.results.plots.style import NotDrawnError, Picture
from sweeper.results.sweep_tables import SweepTables

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Finding, Part

#: For each picture of a finding by name: its claim and its headline.
FINDINGS: Mapping[str, tuple[str, str]] = {
    "finding-tradeoff": ("F1", "Trade-offs among networks of one accuracy"),
    "finding-growth": ("F2", "Growth along the ladder of tasks"),
    "finding-occlusion": ("F3", "Steps under occlusion and beside it"),
    "finding-reaction-time": ("F4", "Steps against human difficulty"),
    "finding-diversity": ("F5", "Networks by how different they are"),
}

#: The only picture that needs human data.
WITH_PEOPLE = "finding-reaction-time"

#: The only picture that is about all tasks at once.
OF_ALL_TASKS = "finding-growth"


def drawable(sweep: SweepTables, task: str) -> list[str]:
    """Return the names of the pictures that a sweep suffices for, without deciding a claim.

    The picture that needs human data is among them if only these are missing.
    """
    from sweeper.analysis.findings.decide import lacking_to_draw
    from sweeper.analysis.findings.networks import networks_of

    if not sweep.spec or own_units_in(sweep.records) is not None:
        return []
    networks = networks_of(sweep.trials(), sweep.spec)
    return [name for name, (claim, _) in FINDINGS.items() if not lacking_to_draw(networks, sweep.spec, claim, task)]


def finding_picture(sweep: SweepTables, name: str, task: str, human: Sequence[str | Path] = ()) -> Picture:
    """Decide one claim and return its picture.

    Args:
        sweep: The sweep.
        name: One of `FINDINGS`.
        task: Label of the task; growth is about all tasks.
        human: Files of human data.

    Raises:
        NotDrawnError: If the sweep lacks what the claim needs; says what, and which shipped sweep has it.
        QueryError: If human data cannot be read or are about other images.
    """
    claim, _ = FINDINGS[name]
    if name == WITH_PEOPLE and not human:
        raise NotDrawnError("it shows networks beside people, and needs data of these: --human FILE, in Python human=")
    (finding,) = findings_of(sweep, [claim], human, are_alone=True).findings
    return picture_of_finding(finding, task)


def picture_of_finding(finding: Finding, task: str) -> Picture:
    """Return the picture of a finding.

    Raises:
        NotDrawnError: If there is nothing to draw; says why.
    """
    if finding.missing:
        raise NotDrawnError(lacks(finding).removesuffix("."))
    name, title = next((name, title) for name, (claim, title) in FINDINGS.items() if claim == finding.claim)
    parts = [part for part in finding.parts if part.task == task or finding.claim == "F2"]
    described = [one for one in finding.described if one.get("task") == task]
    page = reaction_time(parts, described) if finding.claim == "F4" else _DRAWN[finding.claim](parts)
    return Picture(name, title, page.caption, page.drawn())


#: Drawing functions of the claims that need nothing but their effects.
_DRAWN: Mapping[str, Callable[[Sequence[Part]], Page]] = {
    "F1": tradeoff,
    "F2": growth,
    "F3": occlusion,
    "F5": diversity,
}
