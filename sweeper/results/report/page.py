"""Writes a stored sweep as one HTML file: contents, fronts, pictures, all trials, failures, and how to repeat it.

The file loads nothing: it holds style, script, plotly and data. All text of users is escaped, data are JSON without a
`<` that could end their element, and the page's policy lets a browser run only the two scripts named by hash.

`sweeper ui` serves the same page while its sweep runs. That page has one more script and asks only its own server. It
loads plotly from there, so that the browser reads plotly once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from sweeper.analysis.fronts import Front
from sweeper.errors import QueryError
from sweeper.results.plots import catalogue, style
from sweeper.results.plots.scripts import brushing_script
from sweeper.results.report import parts
from sweeper.results.report.compared import comparison_section
from sweeper.results.report.data import report_data
from sweeper.results.report.findings import Section, findings_section
from sweeper.results.sweep_tables import SweepTables
from sweeper.trial import State

#: The files of the page's script, in order.
_SCRIPTS = ("basics.js", "conditions.js", "panel.js", "folded.js", "pictures.js", "table.js", "along.js")

#: The further script of a page that refreshes itself.
_LIVE = "live.js"

#: Placeholder for the name of such a page. No text of a user can contain it, because every `<` of theirs is escaped.
_NAME = "<!-- name -->"


@dataclass(frozen=True)
class Refreshed:
    """Settings of a page that refreshes itself.

    Attributes:
        script: Address of the script that draws, on the server that serves the page.
        is_final: Whether the sweep had ended; before, findings and importance are left out, because they would change.
    """

    script: str
    is_final: bool = False

    def named(self, page: str, name: str) -> str:
        """Write the page's name into it; by the name, the page's script notices a newer page."""
        return page.replace(_NAME, f'<meta name="page" content="{escape(name)}">', 1)


def report(
    sweep: SweepTables,
    human: Sequence[str | Path] = (),
    others: Sequence[SweepTables] = (),
    *,
    accuracies: Sequence[float] = (),
    refreshed: Refreshed | None = None,
) -> str:
    """Return the report of a sweep, an HTML page; the same sweep gives the same page.

    Args:
        sweep: The sweep.
        human: Files of human data, for the claim F4.
        others: Sweeps to compare with it.
        accuracies: Accuracies at which pictures compare; none to have them chosen.
        refreshed: Settings of a page that refreshes itself while its sweep runs; None for a file.

    Raises:
        QueryError: If no trial of it has finished, human data cannot be read or are about other images, or another
            sweep cannot be compared with it.
        SweepError: If MLflow cannot be reached, or its content cannot be read.
    """
    if not sweep.records:
        raise QueryError(
            f"sweep {sweep.name!r} has no finished trial yet, so there is nothing to report. "
            f"Watch it with `sweeper watch {sweep.name}`, or continue it with `sweeper resume {sweep.name}`."
        )
    fronts = _whole_fronts(sweep)
    # Claims are decided only at the end: before, a verdict could change while someone reads it.
    is_final = refreshed is None or refreshed.is_final
    drawn = {front.task: _pictures(sweep, front.task, accuracies, is_final) for front in fronts}
    found = findings_section(sweep, human) if is_final else Section()
    failures = parts.failures(sweep)
    beside = comparison_section(sweep, others)
    named = {f"front-{number}": front for number, front in enumerate(fronts, 1)}
    links = [
        *((name, front.task) for name, front in named.items()),
        ("summary", "Summary"),
        *([("compared", "Compared")] if beside.html else []),
        *([("findings", "Findings")] if found.html else []),
        ("trials", "All trials"),
        *([("failures", "Failures")] if failures else []),
        ("repeat", "To repeat it"),
    ]
    body = [
        parts.head(sweep),
        parts.contents(links),
        _HINT,
        *(
            parts.task_section(front, drawn[front.task], _chosen_fronts(sweep, front.task), name)
            for name, front in named.items()
        ),
        parts.summary(sweep, fronts),
        beside.html,
        found.html,
        parts.trials_section(fronts),
        failures,
        parts.repeating(sweep),
    ]
    data = report_data(sweep, fronts, [drawn, found.pictures, beside.pictures])
    return _page(sweep.name, "\n".join(body), data, refreshed)


_HINT = """<p class="hint">Point at a dot to see its network and numbers, click to keep them. With the keyboard:
Tab to a picture, arrow keys from point to point, Enter to keep, Escape to close.</p>"""


def empty_report(name: str, refreshed: Refreshed) -> str:
    """Return the page of a sweep without a finished trial; it refreshes itself until there is one."""
    body = (
        f"<header><h1>{escape(name)}</h1><p>No trial has finished yet: its front stands here once one has.</p></header>"
    )
    return _page(name, body, None, refreshed)


def _whole_fronts(sweep: SweepTables) -> list[Front]:
    """Return the front of every task; compute it if none is stored, as for a task whose trials all failed."""
    stored = {front.task: front for front in sweep.fronts()}
    return [stored.get(task) or sweep.fronts(task)[0] for task in sorted({*stored, *sweep.tasks})]


def _chosen_fronts(sweep: SweepTables, task: str) -> list[Front]:
    """Return the fronts over fewer objectives that the spec asks for."""
    known = {objective.name for objective in sweep.objectives}
    wanted = [names for names in sweep.spec.get("fronts", ()) if set(names) <= known]
    return [sweep.fronts(task, names)[0] for names in wanted] if _is_complete(sweep, task) else []


def _is_complete(sweep: SweepTables, task: str) -> bool:
    return any(record.state is State.COMPLETE for record in sweep.records if record.task == task)


def _pictures(sweep: SweepTables, task: str, accuracies: Sequence[float], is_final: bool) -> list[style.Picture]:
    # Errors about damaged networks are dropped here: the page shows them in place of the networks' drawings.
    if not _is_complete(sweep, task):
        return []
    return catalogue.pictures_of(sweep, task, [], accuracies, has_importance=is_final)


def _page(name: str, body: str, data: object, refreshed: Refreshed | None) -> str:
    folder = files("sweeper.results.report").joinpath("page_files")
    rules = folder.joinpath("page.css").read_text("utf-8")
    names = [*(_SCRIPTS if data is not None else ()), *([_LIVE] if refreshed else [])]
    brushing = [brushing_script()] if data is not None else []
    own = "\n".join([*brushing, *(folder.joinpath(file).read_text("utf-8") for file in names)])
    # Browsers normalise line ends before they hash a script.
    scripts = [get_plotlyjs()] if refreshed is None else []
    scripts = [text.replace("\r\n", "\n") for text in (*scripts, f'"use strict";\n(() => {{\n{own}}})();\n')]
    from_server = f'<script src="{escape(refreshed.script)}"></script>\n' if refreshed and data is not None else ""
    embedded = f'<script type="application/json" id="data">{_embedded(data)}</script>\n' if data is not None else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(scripts, refreshed)}">
{_NAME if refreshed else ""}
<title>{escape(name)} · sweeper</title>
<style>{rules}</style>
</head>
<body>
{_STATUS if refreshed else ""}
<main>
{body}
</main>
<aside id="panel" aria-label="Network" aria-live="polite" hidden></aside>
{embedded}{from_server}{"".join(f"<script>{text}</script>" for text in scripts)}
</body>
</html>
"""


#: The box with the sweep's state on a page that refreshes itself.
_STATUS = """<section id="live" aria-label="How the sweep stands">
<p><strong id="live-stage" role="status">Asking how the sweep stands</strong> <span id="live-counts"></span></p>
<progress id="live-bar" aria-label="Trials that have ended" hidden></progress>
<p><button id="live-show" type="button" hidden>Show new results</button>
<button id="live-pause" type="button" aria-pressed="false">Pause refreshing</button> <span id="live-links"></span></p>
<p id="live-trouble" role="alert"></p>
</section>"""


def _policy(scripts: Sequence[str], refreshed: Refreshed | None) -> str:
    """Return the page's content security policy: a browser may only run these scripts, apply styles, and show images.

    A script in a user's text would have another hash. Inline styles are allowed because plotly sets them. A page that
    refreshes itself may also load a script from its own server and ask that server.
    """
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join([*(f"'sha256-{one}'" for one in hashes), *(["'self'"] if refreshed else [])])
    asked = " connect-src 'self';" if refreshed else ""
    return (
        f"default-src 'none'; script-src {allowed};{asked} style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(data: object) -> str:
    """Return JSON that cannot end its script element and holds no line separators."""
    text = json.dumps(_plain(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: plotly's arrays become lists, and numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else _plain(value.tolist())
