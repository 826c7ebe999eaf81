"""The section of a report that compares its sweep with others: fronts in one picture, numbers, differing specs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sweeper.analysis import sheet
from sweeper.analysis.fronts import Front
from sweeper.errors import QueryError
from sweeper.measurements import Goal
from sweeper.results.differences import compared
from sweeper.results.plots.compared import fronts_beside
from sweeper.results.plots.style import NotDrawnError, Picture
from sweeper.results.questions import Answer
from sweeper.results.report.findings import Section, figure
from sweeper.results.report.markup import scrolled
from sweeper.results.sweep_tables import SweepTables

#: Most differing settings of specs to list.
_MOST_DIFFERENCES = 60

#: Settings in which specs always differ, left out of the list.
_OWN = ("name", "description")


def comparison_section(own: SweepTables, others: Sequence[SweepTables]) -> Section:
    """Compare a sweep with others, task by task.

    Args:
        own: The sweep that the report is about.
        others: Sweeps with the same objectives and reference point, and a task in common.

    Raises:
        QueryError: If one of them is the sweep itself or is given twice, has no finished trial, no task in common, or
            different objectives or reference points.
    """
    if not others:
        return Section()
    names = [own.name, *(other.name for other in others)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise QueryError(f"a sweep is compared with others, each once, but got {twice!r} twice. Leave one out.")
    answers: dict[str, list[Answer]] = {}
    for other in others:
        if not other.records:
            raise QueryError(f"sweep {other.name!r} has no finished trial yet, so there is nothing to compare with.")
        for answer in compared(own, other):
            answers.setdefault(answer.front.task, []).append(answer)
    pictures: dict[str, list[Picture]] = {}
    parts = [_task(own, others, task, some, pictures) for task, some in sorted(answers.items())]
    return Section(
        f"""<section id="compared" aria-labelledby="compared-title">
<h2 id="compared-title">Beside {escape(" and ".join(names[1:]))}</h2>
{"".join(parts)}
{_specs([own, *others])}
</section>""",
        pictures,
    )


def _task(
    own: SweepTables,
    others: Sequence[SweepTables],
    task: str,
    answers: Sequence[Answer],
    pictures: dict[str, list[Picture]],
) -> str:
    named = {other.name: other for other in others}
    having = [own, *(named[answer.facts["compared_with"]["sweep"]] for answer in answers)]
    fronts = [sweep.fronts(task)[0] for sweep in having]
    drawn = ""
    try:
        picture = fronts_beside(fronts)
        pictures.setdefault(task, []).append(picture)
        drawn = figure(f"{task}/{picture.name}", picture.title, picture.caption, is_wide=True)
    except NotDrawnError:  # a front has no point, as the table shows
        pass
    says = "".join(f"<li>{escape(own.name)} {escape(answer.says)}.</li>" for answer in answers)
    return f"<h3>{escape(task)}</h3>{_figures(task, fronts, answers)}{drawn}<ul>{says}</ul>"


def _figures(task: str, fronts: Sequence[Front], answers: Sequence[Answer]) -> str:
    """Return a table with a column for each sweep."""
    own, *_ = fronts
    rows: list[tuple[str, list[str]]] = [
        ("points on the front", [str(front.table.num_rows) for front in fronts]),
        ("hypervolume", [f"{front.hypervolume:.4g}" for front in fronts]),
        (f"covers of the front of {own.sweep}", ["", *(_share(answer, "coverage_by_other") for answer in answers)]),
        (f"is covered by the front of {own.sweep}", ["", *(_share(answer, "coverage") for answer in answers)]),
    ]
    for objective in own.objectives:
        best = max if objective.goal is Goal.MAXIMIZE else min
        values = [front.table[objective.name].to_pylist() for front in fronts]
        told = [f"{best(some):.4g}" if some else "–" for some in values]
        rows.append((f"best {objective.name} {objective.goal.arrow}", told))
    heads = "".join(f'<th scope="col">{escape(front.sweep)}</th>' for front in fronts)
    lines = ""
    for name, told in rows:
        cells = "".join(f"<td class=number>{escape(one)}</td>" for one in told)
        lines += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    table = f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    return scrolled(f"Sweeps beside each other, {task}", table)


def _share(answer: Answer, name: str) -> str:
    value = answer.facts[name]
    return "–" if value is None else f"{value:.0%}"


def _specs(sweeps: Sequence[SweepTables]) -> str:
    """Return the settings in which the sweeps' specs differ, defaults included."""
    flat = [_flat({name: value for name, value in sweep.spec.items() if name not in _OWN}) for sweep in sweeps]
    names = list(dict.fromkeys(name for one in flat for name in one))
    differing = [name for name in names if len({one.get(name) for one in flat}) > 1]
    title = f"<summary>What differs in their specs: {sheet.counted(len(differing), 'setting')}</summary>"
    heads = "".join(f'<th scope="col">{escape(sweep.name)}</th>' for sweep in sweeps)
    rows = []
    for name in differing[:_MOST_DIFFERENCES]:
        cells = "".join(f"<td class=prose>{escape(one.get(name, '–'))}</td>" for one in flat)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    lines = "".join(rows)
    left = len(differing) - _MOST_DIFFERENCES
    more = f"<p>And {left} more.</p>" if left > 0 else ""
    table = f'<table><thead><tr><th scope="col">setting</th>{heads}</tr></thead><tbody>{lines}</tbody></table>'
    shown = scrolled("What differs in their specs", table) if differing else "<p>Nothing: they are the same.</p>"
    return f"<details>{title}{shown}{more}</details>"


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return the leaves of a spec as texts, by dotted path."""
    found: dict[str, str] = {}
    for name, one in value.items():
        if isinstance(one, Mapping) and one:
            found |= _flat(one, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = one if isinstance(one, str) else json.dumps(one)
    return found
