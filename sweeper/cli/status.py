"""The commands that say how sweeps stand: `status` counts once, `watch` goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sweeper.cli.options import (
    JobsAddressOption,
    JsonOption,
    LedgerOption,
    ReadHomeOption,
    TrackingOption,
    checked,
    job_server,
    print_json,
)
from sweeper.cli.output import say_earlier
from sweeper.cli.submit import jobs_as_values
from sweeper.cli.watch import watch
from sweeper.errors import HomeError


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    app.command(epilog="Example: sweeper status quickstart --json")(status)
    app.command(epilog="Example: sweeper watch quickstart --interval 5")(watch)


def status(
    name: Annotated[str | None, typer.Argument(help="Name of the sweep; without it, all sweeps.")] = None,
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
        except HomeError as error:  # said at the end: the others can be counted all the same
            damaged.append(error)
    if name is not None and damaged:
        raise damaged[0]
    if as_json:
        told = [{"name": one.name, **vars(one.counts), "driver": one.driver} for one in found]
        if name is not None and (earlier := found[0].earlier):
            told[0]["measured"] = str(earlier)
        print_json(told[0] if name is not None else told)
    elif name is not None:
        Console().print(status_tables.status_table(found[0].name, found[0].counts, found[0].driver))
        say_earlier(found[0].earlier)
    elif found:
        Console().print(status_tables.sweeps_table([(one.name, one.counts, one.driver) for one in found]))
    elif not damaged:
        print(f"no sweeps in {home}. Start one with `sweeper run quickstart`.")
    if damaged:
        raise damaged[0]
