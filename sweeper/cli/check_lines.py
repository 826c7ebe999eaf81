"""Formats the output of `doctor` and `audit` as rich renderables. Imports nothing that may be broken itself."""

from __future__ import annotations

from rich.text import Text

from sweeper.checks.finding import Finding, Verdict
from sweeper.checks.guarantee import Guarantee

_STYLES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "bold red"}


def finding_lines(finding: Finding) -> Text:
    """Return one line for a finding, and a second one with the way out if it has one."""
    text = Text(f"{finding.verdict:8} ", _STYLES[finding.verdict])
    text.append(f"{finding.check}: {finding.found}", style="default")
    if finding.way_out:
        text.append(f"\n         -> {finding.way_out}", style="default")
    return text


def guarantee_lines(promise: Guarantee) -> Text:
    """Return one line for a promise, and one more for each remark about it."""
    verdict, style = {True: ("yes", "green"), False: ("no", "bold red"), None: ("unknown", "yellow")}[promise.holds]
    text = Text(f"{verdict:8} ", style)
    text.append(promise.text, style="default")
    for line in promise.said:
        text.append(f"\n         {line}", style="default")
    return text
