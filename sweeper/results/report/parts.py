"""The parts of a report in HTML: head and contents, the front of each task, all trials, failures, how to repeat it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from sweeper.analysis import columns, sheet
from sweeper.analysis.fronts import Front
from sweeper.analysis.points import added_units_in, own_units_in
from sweeper.results.plots.style import Picture
from sweeper.results.report.findings import figure
from sweeper.results.report.markup import scrolled
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import Outcome, State, TrialRecord

#: Facts that are left out: they mean nothing to a reader, or something only on the machine of the sweep.
_UNSAID = ("kind", "identity", "sweep", "home", "storage")

#: Groups of pictures, folded below a front: each group's title, and the beginnings of its pictures' names.
GROUPS = (
    ("Other views of the front", ("front-",)),
    ("What parameters do", ("importance", "slices", "parallel")),
    ("Trade-offs at matched accuracy", ("trade-",)),
    ("Growth over tasks", ("growth-",)),
    ("How the search went", ("hypervolume-",)),
    ("The networks of the front", ("steps", "networks")),
    ("More pictures", ("",)),
)

#: Pictures of many panels in a row.
_WIDE = ("slices", "importance")


def head(sweep: SweepTables) -> str:
    """Return the head of the page: name, description, and how the trials ended."""
    description = escape(str(sweep.spec.get("description") or ""))
    outcomes = Counter(record.outcome for record in sweep.records)
    counts = ", ".join(f"{outcomes[kind]:,} {words(kind)}" for kind in Outcome if outcomes[kind])
    return f"""<header>
<button id="theme" type="button">Dark colours</button>
<h1>{escape(sweep.name)}</h1>
<p class="lead">{description}</p>
<p>{len(sweep.records):,} finished trials of {sheet.counted(len(sweep.tasks), "task")}: {counts}.
Objectives: {escape(_goals(sweep))}.</p>
</header>"""


def contents(links: Iterable[tuple[str, str]]) -> str:
    """Return the list of contents.

    Args:
        links: Id and title of each section.
    """
    items = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in links)
    return f'<nav aria-label="Contents"><ul class="contents">{items}</ul></nav>'


def summary(sweep: SweepTables, fronts: Sequence[Front]) -> str:
    """Return dates and versions of the training, and for each task the size of its front and how its trials ended."""
    rows = "".join(_summary_row(front, sweep.records) for front in fronts)
    return f"""<section id="summary" aria-labelledby="summary-title">
<h2 id="summary-title">Summary</h2>
<dl class="facts">{_when(sweep.records)}{_made_with(sweep)}</dl>
{
        scrolled(
            "Fronts and trials of each task",
            f'''<table>
<caption>Fronts and trials of each task</caption>
<thead><tr><th scope="col">task</th><th scope="col">on the front</th><th scope="col">hypervolume</th>
<th scope="col">stored as</th><th scope="col">complete</th><th scope="col">pruned</th><th scope="col">failed</th>
</tr></thead>
<tbody>{rows}</tbody></table>''',
        )
    }
<p class="soft">Hypervolume inside the reference point {escape(sheet.point_text(sweep.reference_point))},
in the product of the objectives' units. Replicates of a setting are one point: their mean.</p>
</section>"""


def _goals(sweep: SweepTables) -> str:
    own, added = own_units_in(sweep.records), added_units_in(sweep.records)
    units = {
        o.name: added.get(o.name, columns.unit(o.name)) if own is None else own.get(o.name, "")
        for o in sweep.objectives
    }
    return ", ".join(f"{o.goal} {o.name}{f' ({units[o.name]})' if units[o.name] else ''}" for o in sweep.objectives)


def _summary_row(front: Front, records: Iterable[TrialRecord]) -> str:
    states = Counter(record.state for record in records if record.task == front.task)
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
    """Return the most important versions, the rules of measurement if they are old, and the tracker's address."""
    facts = sweep.facts
    names = [name for name in ("sweeper", "torch", "python") if f"version.{name}" in facts]
    versions = ", ".join(f"{name} {facts[f'version.{name}']}" for name in names)
    revision = f" at {facts['git.revision'][:12]}" if facts.get("git.revision") else ""
    with_what = f"<div><dt>with</dt><dd>{escape(versions + revision)}</dd></div>" if versions else ""
    where = escape(sweep.address)
    with_what += f"<div><dt>rules</dt><dd>{escape(str(sweep.earlier))}</dd></div>" if sweep.earlier else ""
    return f"{with_what}<div><dt>read from</dt><dd>MLflow at {where}, experiment {escape(sweep.name)}</dd></div>"


def words(kind: object) -> str:
    """Return the name of an outcome as text."""
    return escape(str(kind).replace("_", " "))


# --- the front of a task --------------------------------------------------------------------------


def task_section(front: Front, drawn: Sequence[Picture], chosen: Sequence[Front], name: str) -> str:
    """Return a task's section: its front as a picture, a slider over networks and a table, and folded pictures.

    Args:
        front: The front over all objectives.
        drawn: The task's pictures.
        chosen: Fronts over some of the objectives.
        name: Id of the section.
    """
    title = f'<h2 id="{name}-title">{escape(front.task)}</h2>'
    begin = f'<section id="{name}" class="task" aria-labelledby="{name}-title">'
    if not front.table.num_rows:
        return f"{begin}{title}<p>No trial of this task is complete.</p></section>"
    noun = sheet.noun(front.own_units)
    first = next((one for one in drawn if one.name.startswith("front-")), None)
    picture = figure(f"{front.task}/{first.name}", first.title, first.caption) if first else ""
    fewer = "".join(
        f"<details><summary>The front of {escape(' and '.join(o.name for o in one.objectives))} alone, "
        f"{sheet.counted(one.table.num_rows, sheet.noun(one.own_units))}, hypervolume {one.hypervolume:.4g}</summary>"
        f"{scrolled(f'The front of fewer objectives of {front.task}', front_table(one), 'low')}</details>"
        for one in chosen
    )
    table = f"""<h3>The front, {sheet.counted(front.table.num_rows, noun)}</h3>
{scrolled(f"The front of {front.task}", front_table(front), "low")}"""
    # If the sweep has no networks to draw, there is room for the table beside the picture.
    beside, below = ("", table) if front.own_units is None else (table, "")
    return f"""{begin}
{title}
<div class="first">{picture}<div>{_along(front, noun)}{beside}</div></div>
{below}
<p class="soft">{escape(_sentences(sheet.legend(front.own_units, front.codes)))}</p>
{fewer}
{_folded(front.task, [one for one in drawn if one is not first])}
</section>"""


def _along(front: Front, noun: str) -> str:
    """Return a slider along a front; the page's script shows the chosen point."""
    keys = front.table["key"].to_pylist()
    by = escape(front.objectives[0].name)
    return f"""<div class="along">
<h3>Along the front</h3>
<label>{noun.capitalize()} of {escape(front.task)}, by {by}
<input type="range" min="0" max="{len(keys) - 1}" value="{len(keys) // 2}" data-keys="{escape(" ".join(keys))}"></label>
<div class="shown"></div>
</div>"""


def _folded(task: str, drawn: Sequence[Picture]) -> str:
    left, parts = list(drawn), []
    for title, begins in GROUPS:
        own = [one for one in left if one.name.startswith(begins)]
        left = [one for one in left if one not in own]
        if own:
            figures = "".join(
                figure(f"{task}/{one.name}", one.title, one.caption, is_wide=one.name in _WIDE) for one in own
            )
            parts.append(
                f"<details><summary>{title}: {sheet.counted(len(own), 'picture')}</summary>"
                f'<div class="figures">{figures}</div></details>'
            )
    return "".join(parts)


def _sentences(notes: Sequence[str]) -> str:
    return " ".join(f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in notes)


def front_table(front: Front) -> str:
    """Return a front as a table; the page's script shows the network of a row."""
    rows = front.table.to_pylist()
    fields = sheet.front_fields(front)
    units = [f"<small>{escape(f.unit)}</small>" if f.unit else "" for f in fields]
    heads = "".join(f'<th scope="col">{escape(f.head)}{unit}</th>' for f, unit in zip(fields, units, strict=True))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(f"<td{' class=number' if f.is_number else ''}>{escape(f.cells[index])}</td>" for f in fields)
        lines.append(f'<tr tabindex="0" data-key="{escape(row["key"])}">{cells}</tr>')
    return f'<table class="front"><thead><tr>{heads}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


# --- all trials -----------------------------------------------------------------------------------


def trials_section(fronts: Sequence[Front]) -> str:
    """Return the empty table of all trials, which the page's script fills."""
    own = next((front.example_condition() for front in fronts if front.own_units is not None), None)
    example = escape("accuracy >= 0.9 and (time < 3 or breadth < 6)" if own is None else own)
    table = '<table id="table" aria-label="All trials"><thead></thead><tbody></tbody></table>'
    return f"""<section id="trials" aria-labelledby="trials-title">
<h2 id="trials-title">All trials</h2>
<div class="tools">
<label>Search <input id="search" type="search" placeholder="part of any cell" autocomplete="off"></label>
<label>Condition <input id="condition" type="search" aria-describedby="problem" autocomplete="off" spellcheck="false"
 placeholder="{example}"></label>
<details id="columns"><summary>Columns</summary><div></div></details>
</div>
<p id="problem" role="alert"></p>
<p id="count" class="soft" role="status"></p>
{scrolled("Table of all trials", table, "tall")}
<noscript><p>The table and the pictures are drawn by the script of this page, which does not run here.</p></noscript>
</section>"""


def failures(sweep: SweepTables) -> str:
    """Return the reasons why trials failed: each last line, which unfolds to the whole reason and the trials' keys.

    Empty if no trial failed or was stopped early.
    """
    failed = [r for r in sweep.records if r.state is State.FAILED]
    pruned = sum(r.state is State.PRUNED for r in sweep.records)
    begin = '<section id="failures" aria-labelledby="failures-title"><h2 id="failures-title">Failures</h2>'
    if not failed and not pruned:
        return ""
    cut = f"<p>{sheet.counted(pruned, 'trial')} stopped early, because others did better: no failures.</p>" * (
        pruned > 0
    )
    if not failed:
        return f"{begin}<p>None.</p>{cut}</section>"
    parts = []
    for kind in Outcome:
        groups: dict[str, list[TrialRecord]] = {}
        for record in failed:
            if record.outcome is kind:
                groups.setdefault(sheet.last_line(record.reason) or "no reason is known", []).append(record)
        if groups:
            lines = "".join(_reason(*item) for item in sorted(groups.items(), key=lambda item: -len(item[1])))
            parts.append(f"<h3>{words(kind)}: {sum(map(len, groups.values())):,}</h3>{lines}")
    return f"{begin}{cut}{''.join(parts)}</section>"


def _reason(line: str, records: Sequence[TrialRecord]) -> str:
    names = " ".join(
        f'<button type="button" class="key" data-key="{escape(r.key)}">{escape(r.key)}</button>' for r in records
    )
    return (
        f"<details><summary>{len(records):,} × {escape(line)}</summary>"
        f"<p>{names}</p><p>The first one, of {escape(records[0].task)}:</p>"
        f'<pre tabindex="0">{escape(records[0].reason)}</pre></details>'
    )


def repeating(sweep: SweepTables) -> str:
    """Return the commands, the spec and the versions that repeat the sweep."""
    facts = {name: value for name, value in sorted(sweep.facts.items()) if name not in _UNSAID}
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    name = escape(sweep.name)
    return f"""<section id="repeat" aria-labelledby="repeat-title">
<h2 id="repeat-title">To repeat it</h2>
<p>Save the spec below as <code>{name}.yaml</code>. The same spec, data and versions give the same trials, on a machine
whose home has no sweep of this name; there it would be continued.</p>
<pre tabindex="0">sweeper run {name}.yaml --name {name}
sweeper pareto {name}
sweeper report {name}
sweeper audit {name}</pre>
<details><summary>Spec</summary>
<pre tabindex="0">{escape(sweep.spec_text) or "not stored"}</pre></details>
<details><summary>Versions, data and seeds</summary>
{scrolled("Versions, data and seeds", f"<table><tbody>{rows}</tbody></table>")}</details>
</section>"""
