"""The command `report`, which writes a report of a stored sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeper.archived import SCHEME
from sweeper.cli.groups import command
from sweeper.cli.options import (
    AccuraciesOption,
    Name,
    ReadHomeOption,
    TrackingOption,
    accuracies_in,
    checked,
    tracking_of,
    write_aside,
)
from sweeper.errors import QueryError, SweepError, TrackingError


def register(app: typer.Typer) -> None:
    """Add the command of this file, with its example."""
    command(app, "sweeper report quickstart -o quickstart.html")(report)


def report(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The .html file to write. Default: NAME.html in this folder."
        ),
    ] = None,
    log: Annotated[
        bool, typer.Option("--log/--no-log", help="Also store it in MLflow, as report.html of the sweep's run.")
    ] = True,
    human: Annotated[
        list[Path] | None,
        typer.Option(
            "--human", metavar="FILE", help="What people did, as Parquet or CSV, for the finding F4; may be repeated."
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            "--compare", metavar="NAME", help="Another sweep to set beside it, in the same MLflow; may be repeated."
        ),
    ] = None,
    accuracies: AccuraciesOption = None,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
) -> None:
    """Write one HTML file with fronts, findings, pictures, all trials and how to repeat it; from MLflow alone."""
    checked(name)
    path = output or Path(f"{name}.html")
    if path.suffix.lower() not in (".html", ".htm"):
        raise QueryError(f"a report is written to a file that ends in .html, but got -o {path}. Rename it.")
    levels = accuracies_in(accuracies)
    from sweeper.cli.live import waiting
    from sweeper.credentials import redacted
    from sweeper.results.loaded_sweep import load
    from sweeper.results.report.page import report as made
    from sweeper.tracking.mlflow.recorder import store_report

    uri = tracking_of(name, home, tracking_uri)
    others = [load(checked(other), uri) for other in compare or ()]
    with waiting("writing the report"):
        page = made(load(name, uri), human or (), others, accuracies=levels).encode()
    write_aside(path, page)
    print(
        f"{path} is the report of sweep {name} ({len(page) / 1e6:.1f} MB); it opens in any browser, without a network"
    )
    if log and not uri.startswith(SCHEME):  # an archive is never changed
        try:
            store_report(uri, name, page)
        except SweepError as error:
            raise TrackingError(
                f"{path} is written, but not stored in MLflow ({error}) Try again, or leave MLflow out with --no-log."
            ) from None
        print(f"it is also stored as report.html in {redacted(uri)}; --no-log leaves MLflow as it is")
