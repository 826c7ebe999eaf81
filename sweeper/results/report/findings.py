"""The section of a report with the findings about the five claims, their controls and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.analysis.points import own_units_in
from sweeper.results.findings import effect_text, findings_of, lacks, said_of_unfinished
from sweeper.results.plots.findings import picture_of_finding
from sweeper.results.plots.style import NotDrawnError, Picture
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import State

if TYPE_CHECKING:  # this module loads scipy
    from sweeper.analysis.findings.verdicts import Finding, Part

#: The file of the rules, which the page names.
RULES = "docs/findings-method.md"


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        html: The section's HTML; empty if the report has no such section.
        pictures: Its figures, by task.
    """

    html: str = ""
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)


def findings_section(sweep: SweepTables, human: Sequence[str | Path] = ()) -> Section:
    """Decide all claims for a sweep and return the section; it is one line if the sweep answers none.

    Args:
        sweep: The sweep.
        human: Files of human data.

    Raises:
        QueryError: If human data cannot be read or are about other images.
    """
    if own_units_in(sweep.records) is not None:  # the claims are about lattices
        return Section("")
    if not sweep.spec or not any(record.state is State.COMPLETE for record in sweep.records):
        return Section()
    from sweeper.analysis.findings.decide import CLAIMS, lacking
    from sweeper.analysis.findings.networks import networks_of

    networks = networks_of(sweep.trials(), sweep.spec)
    if not human and all(lacking(networks, sweep.spec, claim) for claim in CLAIMS):
        return _of_nothing(sweep)  # known without reading the probes
    found = findings_of(sweep, human=human)
    findings = found.findings
    if not any(_answers(finding) for finding in findings):
        return _of_nothing(sweep)
    pictures: dict[str, list[Picture]] = {}
    parts = [_claim(sweep, finding, pictures) for finding in findings]
    if unfinished := said_of_unfinished(found.unfinished):
        parts.insert(0, f"<p><b>{escape(unfinished)}.</b></p>")
    return Section(
        f"""<section id="findings">
<h2>Findings</h2>
<p class="soft">Five claims about breadth, depth and time, decided by rules that were written down beforehand
({RULES} marks what was changed since). Effects are signed so that the claimed direction is positive; intervals are
over seeds. p is corrected over all tests of this sweep.</p>
{"".join(parts)}
</section>""",
        pictures,
    )


def _answers(finding: Finding) -> bool:
    return bool(finding.described) or any(not part.lacks for part in finding.parts)


def _of_nothing(sweep: SweepTables) -> Section:
    return Section(
        '<section id="findings"><h2>Findings</h2><p>This sweep answers none of the five claims on breadth, depth '
        f"and time. <code>sweeper findings {escape(sweep.name)}</code> says what it lacks.</p></section>"
    )


def _claim(sweep: SweepTables, finding: Finding, pictures: dict[str, list[Picture]]) -> str:
    head = f"<h3>{finding.claim}: {escape(finding.title)}</h3>"
    if finding.missing:
        said = lacks(finding)
        return f"{head}<p>{escape(said[0].upper() + said[1:])}</p>"
    verdicts = "".join(
        f"<li>{escape(task)}, {escape(rule)}: <b>{escape(str(verdict))}</b></li>"
        for (task, rule), verdict in finding.verdicts.items()
    )
    if not _answers(finding):  # give each reason once, not for each effect
        why = "".join(f"<p>{escape(one)}.</p>" for one in dict.fromkeys(part.why for part in finding.parts))
        return f'{head}<ul class="verdicts">{verdicts}</ul>{why}'
    rows = "".join(_row(part) for part in finding.parts)
    table = (
        '<div class="scroll"><table class="effects"><thead><tr><th scope="col">task, halting rule</th>'
        '<th scope="col">effect of</th><th scope="col">verdict</th><th scope="col">effect and its interval</th>'
        f'<th scope="col">controls</th></tr></thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )
    figures = "".join(_figures(sweep, finding, pictures))
    return f'{head}<ul class="verdicts">{verdicts}</ul>{table}{figures}'


def _row(part: Part) -> str:
    verdict = f"<b>{escape(str(part.verdict))}</b>{f', {escape(part.qualifier)}' if part.qualifier else ''}"
    because = f"<br>because {escape(part.why)}" if part.why else ""
    controls = "<br>".join(
        f"{escape(one.name)}, {'described' if one.is_passed is None else 'passed' if one.is_passed else 'not passed'}: "
        f"{escape(one.says)}"
        for one in part.controls
    )
    return (
        f"<tr><td class=prose>{escape(part.task)}, {escape(part.rule)}</td><td>{escape(part.name)}</td>"
        f"<td class=prose>{verdict}{because}</td><td class=prose>{escape(effect_text(part))}</td>"
        f"<td class=prose>{controls or '–'}</td></tr>"
    )


def _figures(sweep: SweepTables, finding: Finding, pictures: dict[str, list[Picture]]) -> list[str]:
    """Return the figures of a claim, one for each task; growth has one for all tasks."""
    found = []
    for task in sweep.tasks[:1] if finding.claim == "F2" else sweep.tasks:
        try:
            one = picture_of_finding(finding, task)
        except NotDrawnError:  # too few networks of this task, as its verdict says
            continue
        pictures.setdefault(task, []).append(one)
        title = one.title if finding.claim == "F2" or len(sweep.tasks) == 1 else f"{one.title}, {task}"
        found.append(figure(f"{task}/{one.name}", title, one.caption, is_wide=True))
    return found


def figure(name: str, title: str, caption: str, *, is_wide: bool = False) -> str:
    """Return the HTML into which the page's script draws a figure, with title and caption.

    Args:
        name: Name of its data.
        title: Headline.
        caption: Text below it.
        is_wide: Whether it takes the whole width, as several panels in a row need.
    """
    label = f"{escape(title)}. Arrow keys go from point to point, Enter keeps one."
    plot = f'<div class="plot" tabindex="0" role="group" aria-label="{label}" data-figure="{escape(name)}"></div>'
    words = f"<figcaption>{escape(caption)}</figcaption>"
    if is_wide:  # on a narrow page it exceeds the page and scrolls
        return f'<figure class="wide"><h3>{escape(title)}</h3><div class="scroll">{plot}</div>{words}</figure>'
    return f"<figure><h3>{escape(title)}</h3>{plot}{words}</figure>"
