"""The command `status`, which counts a sweep's trials once, and the registration of `watch`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeper.cli import environment
from sweeper.cli.groups import command
from sweeper.cli.options import (
    JobsAddressOption,
    JsonOption,
    LedgerOption,
    ReadHomeOption,
    TrackingOption,
    checked,
    job_server,
    option_of,
    print_commands,
    print_json,
)
from sweeper.cli.output import say_earlier
from sweeper.cli.submit import jobs_as_values
from sweeper.cli.watch import watch
from sweeper.errors import HomeError


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(app, "sweeper status", "sweeper status quickstart --json")(status)
    command(app, "sweeper watch quickstart --interval 5")(watch)


def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the sweep; without it, all sweeps.")
    ] = None,
    home: ReadHomeOption = Path("sweeps"),
    ledger: LedgerOption = None,
    address: JobsAddressOption = None,
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a sweep's trials: planned, complete, running, waiting, and every kind of failure.

    With --address: of the sweeps that were submitted to a cluster, as far as MLflow knows.
    """
    from sweeper.cli import status_tables

    if (server := job_server(address)) is not None:
        jobs = jobs_as_values(server, name and checked(name), tracking_uri)
        if as_json:
            print_json(jobs[0] if name is not None else jobs)
        elif jobs:
            Console().print(status_tables.jobs_table(jobs))
            there = "" if address == os.environ.get(environment.JOBS_ADDRESS) else f" --address {server.address}"
            failed = [f"sweeper logs {job['name']}{there}" for job in jobs if job["status"] == "FAILED"]
            if failed:
                print_commands("What the drivers of jobs that failed have said:", failed)
        else:
            print(f"no sweeps at {server.address}. Submit one with `sweeper submit quickstart`.")
        return
    from sweeper.ledger.home import Home
    from sweeper.ledger.standing import Standing, standing_of

    place = Home(home, None, ledger)
    names = [checked(name)] if name is not None else place.sweeps()
    found, damaged = list[Standing](), list[HomeError]()
    for one in names:
        try:
            found.append(standing_of(place.known(one)))
        except HomeError as error:  # reported at the end, after the sweeps that can be counted
            damaged.append(error)
    if name is not None and damaged:
        raise damaged[0]
    if as_json:
        told = [{"name": one.name, **vars(one.counts), "state": one.state, "driver": one.driver} for one in found]
        if name is not None and (earlier := found[0].earlier):
            told[0]["measured"] = str(earlier)
        print_json(told[0] if name is not None else told)
    elif name is not None:
        Console().print(
            status_tables.status_table(found[0], None if place.sweep(name).is_archived else option_of(home))
        )
        say_earlier(found[0].earlier)
    elif found:
        Console().print(status_tables.sweeps_table(found), crop=False)
    elif not damaged:
        print(f"no sweeps in {home}. Start one with `sweeper run quickstart`.")
    if damaged:
        raise damaged[0]
