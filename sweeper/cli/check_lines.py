"""What `doctor` and `audit` print, as rich renderables. Loads nothing that a broken package could break."""

from __future__ import annotations

from rich.text import Text

from sweeper.checks.finding import Finding, Verdict
from sweeper.checks.guarantee import Guarantee

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}


def finding_lines(finding: Finding) -> Text:
    """Return one line for a finding, and a second one with the way out where it is not ok."""
    text = Text(f"{finding.verdict:8} ", _STYLES[finding.verdict])
    text.append(f"{finding.check}: {finding.found}", style="default")
    if finding.way_out:
        text.append(f"\n         -> {finding.way_out}", style="default")
    return text


def guarantee_lines(promise: Guarantee) -> Text:
    """Return one line for a promise, and one more for each way in which it is broken."""
    verdict, style = {True: ("yes", "green"), False: ("no", "bold red"), None: ("unknown", "yellow")}[promise.holds]
    text = Text(f"{verdict:8} ", style)
    text.append(promise.text, style="default")
    for line in promise.said:
        text.append(f"\n         {line}", style="default")
    return text
