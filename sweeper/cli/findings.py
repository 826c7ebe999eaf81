"""The command `findings`, which decides claims about breadth, depth and time for a stored sweep, from MLflow alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import JsonOption, Name, ReadHomeOption, TrackingOption, checked, tracking_of
from sweeper.cli.output import Answered, FormatOption, OutputOption, Target, say_beside, say_earlier

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from rich.console import RenderableType

    from sweeper.analysis.findings.verdicts import Finding, Part
    from sweeper.results.findings import Findings

#: Colours of verdicts.
_STYLES = {"shown": "bold green", "refuted": "bold red", "not shown": "bold yellow", "too little data": "bold"}


def register(app: typer.Typer) -> None:
    """Add the command of this file, with its example."""
    command(app, "sweeper findings tradeoff --claim F1 --claim F5")(findings)


def findings(
    name: Name,
    claim: Annotated[
        list[str] | None, typer.Option("--claim", metavar="F1..F5", help="Which claim; may be repeated. Default: all.")
    ] = None,
    human: Annotated[
        list[Path] | None,
        typer.Option(
            "--human",
            metavar="FILE",
            help="A Parquet or CSV file with what people did, for F4; may be repeated. The docs have its columns.",
        ),
    ] = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide what a sweep says about breadth, depth and time, by rules written down beforehand.

    The claims are F1 trade-offs, F2 growth with the task, F3 steps under occlusion, F4 human reaction times and F5
    diversity; docs/findings-method.md has their rules. A sweep that cannot answer a claim says what it lacks.
    """
    target = Target.of(format, as_json, output, "findings are")
    checked(name)
    from sweeper.analysis import sheet
    from sweeper.cli.live import waiting
    from sweeper.results.findings import row_of, said_of_unfinished
    from sweeper.results.loaded_sweep import load

    sweep = load(name, tracking_of(name, home, tracking_uri))
    with waiting("deciding"):
        found = sweep.findings(claim or (), human=human or ())
    say_earlier(sweep.earlier)
    say_beside(said_of_unfinished(found.unfinished))
    rows = [row_of(part) for finding in found.findings for part in finding.parts]
    names = ("claim", "task", "rule", "effect_of", "effect", "low", "high", "p_corrected", "verdict")
    target.give(
        Answered(
            found.to_table,
            lambda: [sheet.Sheet(f"Findings of sweep {found.sweep}", sheet.fields(rows, names), label="findings")],
            lambda _: shown(found),
            document=found.to_dict(),
        )
    )


def shown(found: Findings) -> list[RenderableType]:
    """Return findings in words, one block for each claim."""
    return [_claim(finding) for finding in found.findings]


def _claim(finding: Finding) -> RenderableType:
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    from sweeper.results.findings import lacks

    lines: list[RenderableType] = [Text.assemble((finding.claim, "bold"), f"  {finding.title}")]
    for (task, rule), verdict in finding.verdicts.items():
        said = Text.assemble(f"{task}, {rule}: ", (str(verdict), _STYLES[str(verdict)]))
        lines.append(Padding(said, (0, 0, 0, 4)))
        own = [part for part in finding.parts if (part.task, part.rule) == (task, rule)]
        if len({part.lacks for part in own}) == 1 and own[0].lacks:  # state a common lack once
            lines.append(Padding(Text(f"because {own[0].lacks}"), (0, 0, 0, 6)))
            continue
        for part in own:
            lines += [Padding(one, (0, 0, 0, 6)) for one in _part(part)]
    for one in finding.described:
        lines += [Padding(Text(line), (0, 0, 0, 4)) for line in _conditions(one)]
    if finding.missing:
        lines.append(Padding(Text(lacks(finding)), (0, 0, 0, 4)))
    return Group(*lines)


def _part(part: Part) -> list[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    from sweeper.results.findings import effect_text

    verdict = str(part.verdict) + (f", {part.qualifier}" if part.qualifier else "")
    lines = [Text.assemble(f"{part.name}: ", (verdict, _STYLES[str(part.verdict)]))]
    if math.isfinite(part.effect.value):
        lines.append(Text(f"  {effect_text(part)}"))
    if part.why:
        lines.append(Text(f"  because {part.why}"))
    for control in part.controls:
        passed = "passed" if control.is_passed else "not passed"
        lines.append(Text(f"  control {control.name}, {passed}: {control.says}"))
    return [Padding(line, (0, 0, 0, 0)) for line in lines]


def _conditions(described: object) -> list[str]:
    """Return a line for each kind of degradation, about correlations over its levels."""
    if not isinstance(described, dict):
        return []
    return [
        f"{described['task']}, {described['rule']}, by condition: {one['kind']} over {one['levels']} levels, "
        f"steps {one['steps']:.2f}, confidence {one['confidence']:.2f}, ceiling {one['ceiling']:.2f} (described only)"
        for one in described["by_condition"]
    ]
