"""A stored sweep as one HTML file: summary, fronts, pictures, all trials, failures, and how to repeat it.

The file asks nobody for anything: style, script, plotly and data are in it. Everything that a user wrote is escaped,
data stand in JSON that no parser of HTML can leave, and browsers run no script but the two that are named by hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from sweeper.analysis import columns, sheet
from sweeper.analysis.fronts import Front
from sweeper.analysis.points import added_units_in, own_units_in
from sweeper.errors import QueryError
from sweeper.results.plots import catalogue, style
from sweeper.results.plots.scripts import brushing_script
from sweeper.results.report.data import report_data
from sweeper.results.report.findings import figure, findings_section
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import Outcome, State, TrialRecord

#: The parts of the page's script, in their order.
_SCRIPTS = ("basics.js", "conditions.js", "panel.js", "pictures.js", "table.js")

#: Facts that say nothing to a reader, or only to the one whose machine it was.
_UNSAID = ("kind", "identity", "sweep", "home", "storage")


def report(sweep: SweepTables, human: Sequence[str | Path] = (), accuracies: Sequence[float] = ()) -> str:
    """Return the report of a sweep, an HTML page; the same sweep gives the same page.

    Args:
        sweep: Read from its tracker alone.
        human: Files with what people did, for the claim F4.
        accuracies: At which pictures compare; none to have them chosen.

    Raises:
        QueryError: If no trial of it has finished, or human data cannot be read or are of other images.
        SweepError: If MLflow cannot be reached, or what it holds cannot be read.
    """
    if not sweep.records:
        raise QueryError(
            f"sweep {sweep.name!r} has no finished trial yet, so there is nothing to report. "
            f"Watch it with `sweeper watch {sweep.name}`, or continue it with `sweeper resume {sweep.name}`."
        )
    fronts = _whole_fronts(sweep)
    drawn = {front.task: _pictures(sweep, front.task, accuracies) for front in fronts}
    found = findings_section(sweep, human)
    body = [
        _head(sweep, fronts),
        *(_task(front, drawn[front.task], _chosen_fronts(sweep, front.task)) for front in fronts),
        found.html,
        _trials_section(fronts),
        _failures(sweep),
        _repeating(sweep),
    ]
    return _page(sweep.name, "\n".join(body), report_data(sweep, fronts, [drawn, found.pictures]))


def _whole_fronts(sweep: SweepTables) -> list[Front]:
    """Return the front of every task; where none is stored, as of a task whose trials all failed, it is computed."""
    stored = {front.task: front for front in sweep.fronts()}
    return [stored.get(task) or sweep.fronts(task)[0] for task in sorted({*stored, *sweep.tasks})]


def _chosen_fronts(sweep: SweepTables, task: str) -> list[Front]:
    """Return the fronts over some of the objectives that the spec asks for."""
    known = {objective.name for objective in sweep.objectives}
    wanted = [names for names in sweep.spec.get("fronts", ()) if set(names) <= known]
    return [sweep.fronts(task, names)[0] for names in wanted] if _is_complete(sweep, task) else []


def _is_complete(sweep: SweepTables, task: str) -> bool:
    return any(record.state is State.COMPLETE for record in sweep.records if record.task == task)


def _pictures(sweep: SweepTables, task: str, accuracies: Sequence[float]) -> list[style.Picture]:
    # A network that is damaged is named where it would be drawn.
    return catalogue.pictures_of(sweep, task, [], accuracies) if _is_complete(sweep, task) else []


def _page(name: str, body: str, data: object) -> str:
    parts = files("sweeper.results.report").joinpath("page_files")
    rules = parts.joinpath("page.css").read_text("utf-8")
    own = "\n".join([brushing_script(), *(parts.joinpath(file).read_text("utf-8") for file in _SCRIPTS)])
    # Browsers hash a script as they read it, with one kind of line end.
    scripts = [text.replace("\r\n", "\n") for text in (get_plotlyjs(), f'"use strict";\n(() => {{\n{own}}})();\n')]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">
<title>{escape(name)} · sweeper</title>
<style>{rules}</style>
</head>
<body>
<main>
{body}
</main>
<aside id="panel" aria-label="Network" aria-live="polite" hidden></aside>
<script type="application/json" id="data">{_embedded(data)}</script>
<script>{scripts[0]}</script>
<script>{scripts[1]}</script>
</body>
</html>
"""


def _policy(scripts: Sequence[str]) -> str:
    """Return what a browser may do with the page: nothing but run these scripts, style elements, and show own images.

    A script that came in with the words of a user would have another hash. (Plotly styles elements as it draws them.)
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(data: object) -> str:
    """Return JSON that ends no script element and holds no line separators."""
    text = json.dumps(_plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: plotly's arrays are lists, and what is no finite number is no value."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else _plain(value.tolist())


# --- parts of the page ----------------------------------------------------------------------------


def _head(sweep: SweepTables, fronts: Sequence[Front]) -> str:
    outcomes = Counter(record.outcome for record in sweep.records)
    counts = "".join(
        f"<div><dt>{_words(kind)}</dt><dd>{outcomes[kind]:,}</dd></div>" for kind in Outcome if outcomes[kind]
    )
    rows = "".join(_summary_row(sweep, front) for front in fronts)
    own, added = own_units_in(sweep.records), added_units_in(sweep.records)
    units = {
        o.name: added.get(o.name, columns.unit(o.name)) if own is None else own.get(o.name, "")
        for o in sweep.objectives
    }
    goals = ", ".join(f"{o.goal} {o.name} ({units[o.name]})" for o in sweep.objectives)
    description = escape(str(sweep.spec.get("description") or ""))
    return f"""<header>
<button id="theme" type="button">Dark colours</button>
<h1>{escape(sweep.name)}</h1>
<p class="lead">{description}</p>
<p>{len(sweep.records):,} finished trials of {sheet.counted(len(sweep.tasks), "task")}. Objectives: {escape(goals)}.</p>
<dl class="counts">{counts}</dl>
<dl class="facts">{_when(sweep.records)}{_made_with(sweep)}</dl>
<div class="scroll"><table>
<caption>Fronts and trials of each task</caption>
<thead><tr><th scope="col">task</th><th scope="col">on the front</th><th scope="col">hypervolume</th>
<th scope="col">stored as</th><th scope="col">complete</th><th scope="col">pruned</th><th scope="col">failed</th>
</tr></thead>
<tbody>{rows}</tbody></table></div>
<p class="soft">Hypervolume inside the reference point {escape(sheet.point_text(sweep.reference_point))},
in the product of the objectives' units. Replicates of a setting are one point: their mean.</p>
</header>"""


def _summary_row(sweep: SweepTables, front: Front) -> str:
    states = Counter(record.state for record in sweep.records if record.task == front.task)
    ends = "".join(f"<td class=number>{states[s]:,}</td>" for s in (State.COMPLETE, State.PRUNED, State.FAILED))
    return (
        f"<tr><th scope=row>{escape(front.task)}</th><td class=number>{front.table.num_rows}</td>"
        f"<td class=number>{front.hypervolume:.4g}</td><td>{escape(sheet.version_text(front.version))}</td>{ends}</tr>"
    )


def _when(records: Sequence[TrialRecord]) -> str:
    """Return when trials ran, by the clock of the ledger."""
    begun = [record.started_ms for record in records if record.started_ms is not None]
    ended = [record.ended_ms for record in records if record.ended_ms is not None]
    if not begun or not ended:
        return ""
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") for ms in (min(begun), max(ended)))
    return f"<div><dt>trained</dt><dd>{first} to {last} UTC</dd></div>"


def _made_with(sweep: SweepTables) -> str:
    """Return the versions that matter most, and where all of this was read."""
    facts = sweep.facts
    names = [name for name in ("sweeper", "torch", "python") if f"version.{name}" in facts]
    versions = ", ".join(f"{name} {facts[f'version.{name}']}" for name in names)
    revision = f" at {facts['git.revision'][:12]}" if facts.get("git.revision") else ""
    with_what = f"<div><dt>with</dt><dd>{escape(versions + revision)}</dd></div>" if versions else ""
    where = escape(sweep.address)
    with_what += f"<div><dt>rules</dt><dd>{escape(str(sweep.earlier))}</dd></div>" if sweep.earlier else ""
    return f"{with_what}<div><dt>read from</dt><dd>MLflow at {where}, experiment {escape(sweep.name)}</dd></div>"


def _words(kind: object) -> str:
    return escape(str(kind).replace("_", " "))


def _task(front: Front, drawn: Sequence[style.Picture], chosen: Sequence[Front]) -> str:
    if not front.table.num_rows:
        return f"<section><h2>{escape(front.task)}</h2><p>No trial of this task is complete.</p></section>"
    figures = "".join(_figure(front.task, one) for one in drawn)
    fewer = "".join(
        f"<details><summary>The front of {escape(' and '.join(o.name for o in one.objectives))} alone, "
        f"{sheet.counted(one.table.num_rows, sheet.noun(one.own_units))}, hypervolume {one.hypervolume:.4g}</summary>"
        f'<div class="scroll">{_front_table(one)}</div></details>'
        for one in chosen
    )
    return f"""<section>
<h2>{escape(front.task)}</h2>
<p class="hint">Point at a dot to see its network and numbers, click to keep them. With the keyboard: Tab to a picture,
arrow keys from point to point, Enter to keep, Escape to close.</p>
<div class="figures">{figures}</div>
<h3>The front, {sheet.counted(front.table.num_rows, sheet.noun(front.own_units))}</h3>
<div class="scroll">{_front_table(front)}</div>
{fewer}
<p class="soft">{escape(" ".join(sheet.legend(front.own_units, front.codes)))}</p>
</section>"""


def _figure(task: str, one: style.Picture) -> str:
    return figure(f"{task}/{one.name}", one.title, one.caption)


def _front_table(front: Front) -> str:
    rows = front.table.to_pylist()
    own, added = front.own_units, front.added_units
    fields = sheet.fields(rows, sheet.front_names(rows, front.objectives, own, added), front.objectives, own, added)
    units = [f"<small>{escape(f.unit)}</small>" if f.unit else "" for f in fields]
    heads = "".join(f'<th scope="col">{escape(f.head)}{unit}</th>' for f, unit in zip(fields, units, strict=True))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td{' class=number' if f.is_number else ''}>{escape(f.cells[index])}</td>" for f in fields)
        lines.append(f'<tr tabindex="0" data-key="{escape(row["key"])}">{cells}</tr>')
    return f'<table class="front"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _trials_section(fronts: Sequence[Front]) -> str:
    own = next((front.example_condition() for front in fronts if front.own_units is not None), None)
    example = escape("accuracy >= 0.9 and (time < 3 or breadth < 6)" if own is None else own)
    return f"""<section id="trials">
<h2>All trials</h2>
<div class="tools">
<label>Search <input id="search" type="search" placeholder="part of any cell" autocomplete="off"></label>
<label>Condition <input id="condition" type="search" aria-describedby="problem" autocomplete="off" spellcheck="false"
 placeholder="{example}"></label>
<details id="columns"><summary>Columns</summary><div></div></details>
</div>
<p id="problem" role="alert"></p>
<p id="count" class="soft" role="status"></p>
<div class="scroll tall"><table id="table" aria-label="All trials"><thead></thead><tbody></tbody></table></div>
<noscript><p>The table and the pictures are drawn by the script of this page, which does not run here.</p></noscript>
</section>"""


def _failures(sweep: SweepTables) -> str:
    failed = [r for r in sweep.records if r.state is State.FAILED]
    pruned = sum(r.state is State.PRUNED for r in sweep.records)
    cut = f"<p>{sheet.counted(pruned, 'trial')} stopped early, because others did better: no failures.</p>" * (
        pruned > 0
    )
    if not failed:
        return f"<section><h2>Failures</h2><p>None.</p>{cut}</section>"
    parts = []
    for kind in Outcome:
        groups: dict[str, list[TrialRecord]] = {}
        for record in failed:
            if record.outcome is kind:
                groups.setdefault(sheet.last_line(record.reason) or "no reason is known", []).append(record)
        if groups:
            lines = "".join(_reason(*item) for item in sorted(groups.items(), key=lambda item: -len(item[1])))
            parts.append(f"<h3>{_words(kind)}: {sum(map(len, groups.values())):,}</h3>{lines}")
    return f"<section><h2>Failures</h2>{cut}{''.join(parts)}</section>"


def _reason(line: str, records: Sequence[TrialRecord]) -> str:
    """Return trials that failed for one reason: its last line, and behind it all of it and which they are."""
    names = " ".join(
        f'<button type="button" class="key" data-key="{escape(r.key)}">{escape(r.key)}</button>' for r in records
    )
    return (
        f"<details><summary>{len(records):,} × {escape(line)}</summary>"
        f"<p>{names}</p><p>The first one, of {escape(records[0].task)}:</p>"
        f'<pre tabindex="0">{escape(records[0].reason)}</pre></details>'
    )


def _repeating(sweep: SweepTables) -> str:
    facts = {name: value for name, value in sorted(sweep.facts.items()) if name not in _UNSAID}
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    name = escape(sweep.name)
    return f"""<section>
<h2>To repeat it</h2>
<p>Save the spec below as <code>{name}.yaml</code>. The same spec, data and versions give the same trials, on a machine
whose home has no sweep of this name; there it would be continued.</p>
<pre tabindex="0">sweeper run {name}.yaml --name {name}
sweeper pareto {name}
sweeper report {name}
sweeper audit {name}</pre>
<h3>Spec</h3>
<pre tabindex="0">{escape(sweep.spec_text) or "not stored"}</pre>
<h3>Versions, data and seeds</h3>
<div class="scroll"><table>{rows}</table></div>
</section>"""
