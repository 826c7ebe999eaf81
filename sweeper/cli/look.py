"""Commands that look at sweeps and at this machine, and change nothing: the other half of `cli`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sweeper.cli.options import (
    AddressOption,
    HomeOption,
    JobsAddressOption,
    JsonOption,
    LedgerOption,
    Name,
    NetworkTrackingOption,
    StorageOption,
    TrackingOption,
    WorkersOption,
    checked,
    job_server,
    known_sweep,
    print_json,
    write_aside,
)
from sweeper.cli.submit import jobs_as_values
from sweeper.cli.watch import watch
from sweeper.errors import QueryError


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    app.command(epilog="Example: sweeper status quickstart --json")(status)
    app.command(epilog="Example: sweeper watch quickstart --interval 5")(watch)
    app.command(epilog="Example: sweeper show 4f04f71b19e55eef -o network.svg")(show)
    app.command(epilog="Example: sweeper export 4f04f71b19e55eef -o network.safetensors")(export)
    app.command(epilog="Example: sweeper audit quickstart")(audit)
    app.command(epilog="Example: sweeper doctor quickstart --address 127.0.0.1:6379")(doctor)


def status(
    name: Annotated[str | None, typer.Argument(help="Name of the sweep; without it, all sweeps.")] = None,
    home: HomeOption = Path("sweeps"),
    ledger: LedgerOption = None,
    address: JobsAddressOption = None,
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a sweep's trials: planned, complete, running, waiting, and every kind of failure.

    With --address: of the sweeps that were submitted to a cluster, as far as MLflow knows.
    """
    from sweeper.cli import tables

    if (server := job_server(address)) is not None:
        jobs = jobs_as_values(server, name and checked(name), tracking_uri)
        if as_json:
            print_json(jobs[0] if name is not None else jobs)
        elif jobs:
            Console().print(tables.jobs_table(jobs))
        else:
            print(f"no sweeps at {server.address}. Submit one with `sweeper submit quickstart`.")
        return
    from sweeper.driver.sweep import Sweep
    from sweeper.ledger.home import Home

    names = [checked(name)] if name is not None else Home(home).sweeps()
    sweeps = [Sweep(one, home, ledger=ledger) for one in names]
    rows = [(sweep.name, sweep.counts(), sweep.driver) for sweep in sweeps]
    if as_json:
        found: list[dict[str, Any]] = [{"name": n, **vars(counts), "driver": d} for n, counts, d in rows]
        print_json(found[0] if name is not None else found)
    elif name is not None:
        Console().print(tables.status_table(*rows[0]))
    elif rows:
        Console().print(tables.sweeps_table(rows))
    else:
        print(f"no sweeps in {home}. Start one with `sweeper run quickstart`.")


def show(
    network: Annotated[
        str,
        typer.Argument(
            metavar="KEY|FILE",
            help="Key of a complete trial, or at least six characters of its beginning; or a .safetensors file.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Draw it into this .svg or .png file. Default: say it in words."),
    ] = None,
    home: HomeOption = Path("sweeps"),
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Name of the trial's sweep; default: look in all.")
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Show the network that is left of a trial: layers, channels, steps and counts, in words or drawn."""
    from sweeper.cli import tables
    from sweeper.ledger.home import Home
    from sweeper.results.find_network import network_content
    from sweeper.training.network_file import describe, describe_bytes

    if output is not None:  # a name that cannot be is refused before anything is looked for
        from sweeper.results.plots.drawing import draw, picture_format

        kind = picture_format(output)
    if network.endswith(".safetensors"):
        shown = describe(Path(network))
    else:
        found = network_content(Home(home, storage, ledger), network, sweep and checked(sweep), tracking_uri)
        shown = describe_bytes(found.data, found.name)
    if output is None:
        Console().print(tables.network_summary(shown.graph, shown.title, shown.measurement, shown.steps))
    else:
        write_aside(output, draw(shown.graph, kind, title=shown.title, measurement=shown.measurement))
        print(f"{output} shows {shown.title}")


def export(
    key: Annotated[str, typer.Argument(help="Key of a complete trial, or at least six characters of its beginning.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    home: HomeOption = Path("sweeps"),
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Name of the trial's sweep; default: look in all.")
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    tracking_uri: NetworkTrackingOption = None,
) -> None:
    """Write the network that is left of a trial to a file, which `model.load` reads."""
    from sweeper.ledger.home import Home
    from sweeper.results.find_network import network_content

    if output.suffix != ".safetensors":
        raise QueryError(f"a network is written to a file that ends in .safetensors, but got -o {output}. Rename it.")
    found = network_content(Home(home, storage, ledger), key, sweep and checked(sweep), tracking_uri)
    write_aside(output, found.data)
    print(f"{output} holds the network of trial {found.key} of sweep {found.sweep}")


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
    from sweeper.cli import tables
    from sweeper.cli.check_lines import promise_lines
    from sweeper.ledger.home import Home

    places = Home(home, storage, ledger)
    sweep = known_sweep(name, places, tracking_uri)
    promises = audited(places.known(name), sweep.tracking_uri)
    holds = all(promise.holds for promise in promises)
    if as_json:
        print_json({"name": name, "holds": holds, "promises": [asdict(promise) for promise in promises]})
    else:
        for promise in promises:
            Console().print(promise_lines(promise), soft_wrap=True, highlight=False)
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
    from sweeper.checks.doctor import Place, examine
    from sweeper.checks.finding import Verdict
    from sweeper.cli.check_lines import finding_lines

    mode, run_id = os.environ.get("RAY_AUTH_MODE"), os.environ.get("MLFLOW_RUN_ID")
    findings = []
    for finding in examine(Place(home, tracking_uri, address, space, workers, mode, run_id)):
        findings.append(finding)
        if not as_json:
            Console().print(finding_lines(finding), soft_wrap=True, highlight=False)
    count = sum(finding.verdict is Verdict.PROBLEM for finding in findings)
    if as_json:
        print_json({"problems": count, "findings": [vars(finding) for finding in findings]})
    else:
        print(f"{count} {'problem' if count == 1 else 'problems'}")
    sys.exit(1 if count else 0)
