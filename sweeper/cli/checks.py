"""Commands that check: `audit` checks promises about a sweep, and `doctor` looks for problems of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweeper.cli.groups import command
from sweeper.cli.options import (
    AddressOption,
    HomeOption,
    JsonOption,
    LedgerOption,
    Name,
    StorageOption,
    TrackingOption,
    WorkersOption,
    known_sweep,
    print_json,
)
from sweeper.errors import HomeError
from sweeper.exit_codes import ExitCode

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.checks.guarantee import Guarantee


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(app, "sweeper audit quickstart")(audit)
    command(app, "sweeper doctor", "sweeper doctor quickstart --address 127.0.0.1:6379")(doctor)


def audit(
    name: Name,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing of a sweep was lost, repeated or damaged: its ledger, its networks and MLflow.

    Exit code 0 if all of it holds; 4 if nothing is wrong so far, and the sweep still runs; 5 if something is wrong; 2
    if some of it cannot be known.
    """
    from sweeper.checks.audit import audit as audited
    from sweeper.checks.outside import parts_outside
    from sweeper.cli import status_tables
    from sweeper.cli.check_lines import guarantee_lines
    from sweeper.cli.live import waiting
    from sweeper.ledger.home import Home

    places = Home(home, storage, ledger)
    sweep = known_sweep(name, places, tracking_uri)
    with waiting("checking"):
        promises = audited(places.known(name), sweep.tracking_uri)
    outside, code = parts_outside(places.known(name), sweep.tracking_uri), _code(promises)
    if as_json:
        holds = None if code == ExitCode.NOT_YET else code == ExitCode.DONE
        kept = [asdict(promise) for promise in promises]
        print_json({"name": name, "holds": holds, "promises": kept, "outside": outside})
    else:
        for promise in promises:
            Console().print(guarantee_lines(promise), soft_wrap=True, highlight=False)
        for part in outside:
            print(f"outside  of this home is {part}")
        count = sum(promise.holds is True for promise in promises)
        try:
            counted = status_tables.outcome_line(sweep.counts())
        except HomeError:  # a promise above names the unreadable rows
            counted = "not all of its trials can be counted"
        print(f"{counted}; {count} of {len(promises)} promises hold")
        if code == ExitCode.NOT_YET:
            print("nothing is wrong so far; the sweep still runs, so ask again when it has ended")
    sys.exit(code)


def _code(promises: Sequence[Guarantee]) -> ExitCode:
    if any(promise.holds is False for promise in promises):
        return ExitCode.FOUND_WRONG
    unknown = [promise for promise in promises if promise.holds is None]
    if any(not promise.is_early for promise in unknown):
        return ExitCode.MISTAKE
    return ExitCode.NOT_YET if unknown else ExitCode.DONE


def doctor(
    space: Annotated[
        str | None,
        typer.Argument(metavar="SPACE", help="A search space, to compare what it needs with what this machine has."),
    ] = None,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for problems that keep sweeps from running here, and say how to solve them. Exit code 5 if there is one."""
    from sweeper.checks.doctor import Subject, examine
    from sweeper.checks.finding import Verdict
    from sweeper.cli.check_lines import finding_lines

    mode, run_id = os.environ.get("RAY_AUTH_MODE"), os.environ.get("MLFLOW_RUN_ID")
    findings = []
    for finding in examine(Subject(home, tracking_uri, address, space, workers, mode, run_id, os.environ)):
        findings.append(finding)
        if not as_json:
            Console().print(finding_lines(finding), soft_wrap=True, highlight=False)
    count = sum(finding.verdict is Verdict.PROBLEM for finding in findings)
    if as_json:
        print_json({"problems": count, "findings": [vars(finding) for finding in findings]})
    else:
        print(f"{count} {'problem' if count == 1 else 'problems'}")
    sys.exit(ExitCode.FOUND_WRONG if count else ExitCode.DONE)
