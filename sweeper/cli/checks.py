"""Commands that check: promises about a sweep, and what keeps sweeps from running here."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    app.command(epilog="Example: sweeper audit quickstart")(audit)
    app.command(epilog="Example: sweeper doctor quickstart --address 127.0.0.1:6379")(doctor)


def audit(
    name: Name,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check what is promised of a sweep against its ledger, its networks and MLflow. Exit code 0 if all of it holds."""
    from sweeper.checks.audit import audit as audited
    from sweeper.checks.outside import parts_outside
    from sweeper.cli import tables
    from sweeper.cli.check_lines import guarantee_lines
    from sweeper.ledger.home import Home

    places = Home(home, storage, ledger)
    sweep = known_sweep(name, places, tracking_uri)
    promises = audited(places.known(name), sweep.tracking_uri)
    outside = parts_outside(places.known(name), sweep.tracking_uri)
    holds = all(promise.holds for promise in promises)
    if as_json:
        kept = [asdict(promise) for promise in promises]
        print_json({"name": name, "holds": holds, "promises": kept, "outside": outside})
    else:
        for promise in promises:
            Console().print(guarantee_lines(promise), soft_wrap=True, highlight=False)
        for part in outside:
            print(f"outside  of this home is {part}")
        count = sum(promise.holds is True for promise in promises)
        print(f"{tables.outcome_line(sweep.counts())}; {count} of {len(promises)} promises hold")
    sys.exit(0 if holds else 1)


def doctor(
    space: Annotated[
        str | None, typer.Argument(help="A search space, to compare what it needs with what this machine has.")
    ] = None,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for what keeps sweeps from running here, and name the way out. Exit code 1 if there is a problem."""
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
    sys.exit(1 if count else 0)
