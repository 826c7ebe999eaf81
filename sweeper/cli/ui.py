"""The command `ui`, which shows a sweep in a browser: a page that refreshes itself, and MLflow's own page."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import HomeOption, Name, TrackingOption, checked, option_of, tracking_of
from sweeper.errors import TrackingError, UnknownSweepError


def register(app: typer.Typer) -> None:
    """Add the command of this file, with its example."""
    command(app, "sweeper ui quickstart", "sweeper ui quickstart --port 8600 --no-mlflow")(ui)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise typer.BadParameter(f"a port is a whole number from 1 to 65535, but got {text}. Use 8600, for example.")
    return int(text)


def ui(
    name: Name,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    port: Annotated[
        int | None, typer.Option("--port", parser=_port, metavar="N", help="Port of the page. Default: a free one.")
    ] = None,
    mlflow_port: Annotated[
        int | None,
        typer.Option("--mlflow-port", parser=_port, metavar="N", help="Port of MLflow. Default: a free one."),
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Also serve MLflow, at the sweep's run.")] = True,
) -> None:
    """Show a sweep in the browser while it runs and after: its report, kept up to date, and MLflow. Ctrl-C ends it.

    Both are served on this machine alone, at 127.0.0.1. Nothing is written, and the sweep is not held up. Where its
    tracker is a server, its page there is named instead of a second MLflow.
    """
    from sweeper.cli.live import leaving_signals

    uri = tracking_of(name, home, tracking_uri)
    from sweeper.results.report.live import LiveReport, ReadAtOnce
    from sweeper.results.report.served import ReportServer
    from sweeper.results.sweep_tables import SweepTables
    from sweeper.results.watcher import Watcher
    from sweeper.tracking.mlflow.serving import free_port, serving
    from sweeper.tracking.trackers import reader_of

    elsewhere = option_of(home)
    is_server = urlsplit(uri).scheme in ("http", "https")
    with leaving_signals(), ExitStack() as until_the_end:
        page_in_mlflow = _page_in_mlflow(uri, checked(name), home)  # a wrong name ends here
        served = ReportServer(port or 0)
        until_the_end.callback(served.close)
        own_port = free_port(mlflow_port) if mlflow and not is_server else 0
        watcher = Watcher(reader_of(uri, name).live, f"sweeper resume {name}{elsewhere}")
        live = LiveReport(lambda: SweepTables(ReadAtOnce(reader_of(uri, name))), watcher.look, served.script)
        until_the_end.enter_context(served.answering(live))
        _say("sweep", served.address)
        if mlflow and is_server:
            live.links["MLflow"] = page_in_mlflow
            _say("MLflow", page_in_mlflow)
        elif mlflow:
            server = until_the_end.enter_context(serving(uri, own_port))
            _say("MLflow", "is starting …")
            if server.wait_until_it_answers():
                live.links["MLflow"] = f"{server.address}/{page_in_mlflow}"
                _say("MLflow", live.links["MLflow"])
                while not server.trouble():
                    time.sleep(1)
            live.links.clear()
            print(f"sweeper: {server.trouble()}. The page of the sweep is served on.", file=sys.stderr, flush=True)
        while True:
            time.sleep(3600)


def _page_in_mlflow(uri: str, name: str, home: Path) -> str:
    """Return the sweep's page in MLflow; wait for it if a driver of this home has only just begun the sweep.

    Raises:
        SweepError: If MLflow holds no such sweep, or cannot be reached.
    """
    from sweeper.ledger.home import Home
    from sweeper.tracking.mlflow.reader import page_of_run

    is_said = False
    while True:
        try:
            return page_of_run(uri, name)
        except (UnknownSweepError, TrackingError):
            if Home(home).sweep(name).driver is None:
                raise
        if not is_said:
            print(f"sweep {name} has only just begun; waiting until it is in MLflow", file=sys.stderr, flush=True)
        is_said = True
        time.sleep(1)


def _say(what: str, text: str) -> None:
    print(f"{what:7}{text}", flush=True)
