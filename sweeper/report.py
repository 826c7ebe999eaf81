"""A stored sweep as one HTML file: summary, fronts, pictures, all trials, failures, and how to repeat it.

The file asks nobody for anything: style, script, plotly and data are in it. Everything that a user wrote is escaped,
and data stand in JSON that no parser of HTML can leave.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from sweeper import columns, drawing, objective, pictures, sheet
from sweeper.errors import QueryError, SweepError
from sweeper.loaded import LoadedSweep
from sweeper.table import Front
from sweeper.vocabulary import Outcome, State

#: Networks that are drawn for each task: a front of more is thinned evenly.
MOST_NETWORKS = 40

#: Facts about a sweep that say nothing to a reader.
_UNSAID = ("kind", "identity", "sweep")

_CONTENT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def report(sweep: LoadedSweep) -> str:
    """Return the report of a sweep, an HTML page; the same sweep gives the same page.

    Raises:
        QueryError: If no trial of it has finished.
        SweepError: If MLflow cannot be reached, or what it holds cannot be read.
    """
    if not sweep.records:
        raise QueryError(
            f"sweep {sweep.name!r} has no finished trial yet, so there is nothing to report. "
            f"Watch it with `sweeper watch {sweep.name}`, or continue it with `sweeper resume {sweep.name}`."
        )
    fronts = sweep.fronts()
    drawn = {front.task: _pictures(sweep, front.task) for front in fronts}
    data = {
        "trials": _trials(sweep),
        "figures": {f"{task}/{one.name}": one.figure.to_plotly_json() for task, some in drawn.items() for one in some},
        "themes": [pictures.template(dark=dark).to_plotly_json() for dark in (False, True)],
        "networks": {key: svg for front in fronts for key, svg in _networks(sweep, front)},
        "front": sorted(key for front in fronts for key in front.table["key"].to_pylist()),
    }
    body = [
        _head(sweep, fronts),
        *(_task(front, drawn[front.task]) for front in fronts),
        _trials_section(),
        _failures(sweep),
        _repeating(sweep),
    ]
    return _page(sweep.name, "\n".join(body), data)


def _page(name: str, body: str, data: object) -> str:
    style, script = (
        files("sweeper").joinpath("report_page", file).read_text("utf-8") for file in ("page.css", "page.js")
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_CONTENT_POLICY}">
<title>{escape(name)} · sweeper</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<aside id="panel" role="status" aria-live="polite" hidden></aside>
<script type="application/json" id="data">{_embedded(data)}</script>
<script>{get_plotlyjs()}</script>
<script>{script}</script>
</body>
</html>
"""


def _embedded(data: object) -> str:
    """Return JSON that ends no script element and holds no line separators; plotly's arrays become lists."""
    text = json.dumps(data, default=lambda value: value.tolist(), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _pictures(sweep: LoadedSweep, task: str) -> list[pictures.Picture]:
    return (
        pictures.pictures_of(sweep, task)
        if any(r.state is State.COMPLETE for r in sweep.records if r.task == task)
        else []
    )


def _networks(sweep: LoadedSweep, front: Front) -> Iterable[tuple[str, str]]:
    """Yield key and drawing of networks of a front: SVG, compressed, in base64."""
    keys = front.table["key"].to_pylist()
    most = min(MOST_NETWORKS, len(keys))
    for key in (keys[round(i * (len(keys) - 1) / max(1, most - 1))] for i in range(most)):
        try:
            data = sweep.network(key)
            if data is None:
                continue
            shown = objective.describe_bytes(data, f"network {key}")
        except SweepError:  # damaged or of another version: its numbers are there all the same
            continue
        svg = drawing.draw(shown.graph, "svg", title=shown.title, measurement=shown.measurement)
        yield key, base64.b64encode(zlib.compress(svg, 9)).decode()


def _trials(sweep: LoadedSweep) -> dict[str, Any]:
    """Return all finished trials by column, with what the page needs to show, sort and filter them."""
    table = sweep.trials()
    hidden = {"state", "setting_key", "population", "attempt", "started_ms", "ended_ms", "reason", "number"}
    axes = {name for record in sweep.records for name in record.axes}
    shown = {"key", "task", "outcome", "seed", "channels_per_layer", *axes, *(f"setting.{axis}" for axis in axes)}
    shown |= {o.name for o in sweep.objectives} | set(sheet.USUAL)
    names = [name for name in table.column_names if name not in hidden or name == "reason"]
    found = []
    for name in names:
        values = table[name].to_pylist()
        if name == "channels_per_layer":
            values = [None if value is None else " ".join(map(str, value)) for value in values]
        if name == "reason":
            values = [sheet.last_line(value) for value in values]
        if all(value in (None, "") for value in values):
            continue
        goal = next((o.goal.value for o in sweep.objectives if o.name == name), "")
        found.append({
            "name": name,
            "title": "layers" if name == "channels_per_layer" else name,
            "unit": columns.unit(name),
            "goal": goal,
            "shown": name in shown,
            "values": values,
        })
    return {"columns": found, "rows": table.num_rows}


# --- parts of the page ----------------------------------------------------------------------------


def _head(sweep: LoadedSweep, fronts: Sequence[Front]) -> str:
    outcomes = Counter(str(record.outcome) for record in sweep.records)
    counts = "".join(
        f"<div><dt>{escape(kind.replace('_', ' '))}</dt><dd>{number:,}</dd></div>"
        for kind, number in outcomes.most_common()
    )
    rows = "".join(
        f"<tr><th scope=row>{escape(front.task)}</th><td class=number>{front.table.num_rows}</td>"
        f"<td class=number>{front.hypervolume:.4g}</td><td>{escape(sheet.version_text(front.version))}</td></tr>"
        for front in fronts
    )
    goals = ", ".join(f"{o.goal} {o.name} ({columns.unit(o.name)})" for o in sweep.objectives)
    return f"""<header>
<button id="theme" type="button">dark</button>
<h1>{escape(sweep.name)}</h1>
<p>{len(sweep.records):,} finished trials of {sheet.counted(len(sweep.tasks), "task")}. Objectives: {escape(goals)}.</p>
<dl class="counts">{counts}</dl>
<div class="scroll"><table>
<thead><tr><th>task</th><th>on the front</th><th>hypervolume</th><th>stored as</th></tr></thead>
<tbody>{rows}</tbody></table></div>
<p class="soft">Hypervolume inside the reference point {escape(sheet.point_text(sweep.reference_point))},
in the product of the objectives' units. Replicates of a setting are one point: their mean.</p>
</header>"""


def _task(front: Front, drawn: Sequence[pictures.Picture]) -> str:
    figures = "".join(
        f"<figure><h3>{escape(one.title)}</h3>"
        f'<div class="plot" data-figure="{escape(f"{front.task}/{one.name}")}"></div>'
        f"<figcaption>{escape(one.caption)}</figcaption></figure>"
        for one in drawn
    )
    if not front.table.num_rows:
        return f"<section><h2>{escape(front.task)}</h2><p>No trial of this task is complete.</p></section>"
    return f"""<section>
<h2>{escape(front.task)}</h2>
<p class="hint">Point at a dot to see its network and numbers; click to keep it.</p>
<div class="figures">{figures}</div>
<h3>The front, {sheet.counted(front.table.num_rows, "network")}</h3>
<div class="scroll">{_front_table(front)}</div>
<p class="soft">{escape(sheet.LEGEND)}</p>
</section>"""


def _front_table(front: Front) -> str:
    rows = front.table.to_pylist()
    fields = sheet.fields(rows, sheet.front_names(rows, front.objectives), front.objectives)
    arrows = {"maximize": " ↑", "minimize": " ↓"}
    units = [f"<small>{escape(f.unit)}</small>" if f.unit else "" for f in fields]
    heads = "".join(
        f"<th>{escape(f.title)}{arrows.get(f.goal or '', '')}{unit}</th>" for f, unit in zip(fields, units, strict=True)
    )
    lines = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td{' class=number' if f.is_number else ''}>{escape(f.cells[place])}</td>" for f in fields)
        lines.append(f'<tr tabindex="0" data-key="{escape(row["key"])}">{cells}</tr>')
    return f'<table class="front"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _trials_section() -> str:
    return """<section id="trials">
<h2>All trials</h2>
<div class="tools">
<label>Search <input id="search" type="search" placeholder="part of any cell"></label>
<label>Condition <input id="condition" type="search" aria-describedby="problem"
 placeholder="accuracy &gt;= 0.9 and (time &lt; 3 or breadth &lt; 6)"></label>
<details id="columns"><summary>Columns</summary><div></div></details>
</div>
<p id="problem" role="alert"></p>
<p id="count" class="soft" role="status"></p>
<div class="scroll tall"><table id="table"><thead></thead><tbody></tbody></table></div>
</section>"""


def _failures(sweep: LoadedSweep) -> str:
    failed = [r for r in sweep.records if r.outcome not in (None, Outcome.COMPLETE, Outcome.PRUNED)]
    if not failed:
        return "<section><h2>Failures</h2><p>None.</p></section>"
    parts = []
    for kind, number in Counter(str(record.outcome) for record in failed).most_common():
        reasons = Counter(sheet.last_line(r.reason) or "no reason is known" for r in failed if str(r.outcome) == kind)
        whole = {
            sheet.last_line(r.reason) or "no reason is known": r for r in reversed(failed) if str(r.outcome) == kind
        }
        lines = "".join(
            f"<details><summary>{count:,} × {escape(reason)}</summary>"
            f"<p>First in trial <code>{escape(whole[reason].key)}</code> of {escape(whole[reason].task)}:</p>"
            f"<pre>{escape(whole[reason].reason)}</pre></details>"
            for reason, count in reasons.most_common()
        )
        parts.append(f"<h3>{escape(kind.replace('_', ' '))}: {number:,}</h3>{lines}")
    return f"<section><h2>Failures</h2>{''.join(parts)}</section>"


def _repeating(sweep: LoadedSweep) -> str:
    facts = {name: value for name, value in sweep.facts.items() if name not in _UNSAID}
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in sorted(facts.items())
    )
    name = escape(sweep.name)
    return f"""<section>
<h2>To repeat it</h2>
<p>Save the spec below as <code>{name}.yaml</code>; same spec, data and versions give the same trials.</p>
<pre>sweeper run {name}.yaml --name {name}
sweeper pareto {name}
sweeper audit {name}</pre>
<h3>Spec</h3>
<pre>{escape(sweep.spec_text) or "not stored"}</pre>
<h3>Versions, data and seeds</h3>
<div class="scroll"><table>{rows}</table></div>
</section>"""
