"""The command `watch`, which watches a sweep that runs elsewhere."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sweeper.cli.options import (
    JobsAddressOption,
    JsonOption,
    Name,
    ReadHomeOption,
    TrackingOption,
    checked,
    job_server,
    option_of,
    print_json,
    tracking_of,
)
from sweeper.cli.streams import leave_without_reader
from sweeper.exit_codes import ExitCode

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.driver.jobs.server import JobServer
    from sweeper.results.watcher import Watcher
    from sweeper.tracking.live import LiveState, View


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 3600:
        raise typer.BadParameter(f"the interval must be 0.1 to 3600 seconds, but got {text}. Use 5, for example.")
    return seconds


def watch(
    name: Name,
    home: ReadHomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    once: Annotated[bool, typer.Option("--once", help="Say how it stands now, and leave.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", parser=_interval, metavar="S", help="Seconds between two looks.")
    ] = 2.0,
    as_json: JsonOption = False,
    address: JobsAddressOption = None,
) -> None:
    """Follow a running sweep until it ends. Reads MLflow, and changes nothing.

    With --address: of a sweep that was submitted there; where MLflow is, it was told.

    Exit code 0 if every trial has ended, or with --once if it is under way; 4 if nobody drives it any more, or if
    with --once its driver was not heard of for long.
    """
    from sweeper.cli.live import leaving_signals
    from sweeper.results.watcher import Watcher
    from sweeper.tracking.trackers import reader_of

    checked(name)
    if (server := job_server(address)) is not None:
        watcher = Watcher(_submitted(server, name, tracking_uri), f"sweeper submit SPACE --name {name}")
    else:
        uri = tracking_of(name, home, tracking_uri)
        elsewhere = option_of(home)
        watcher = Watcher(reader_of(uri, name).live, f"sweeper resume {name}{elsewhere}")
    with leaving_signals():
        view = watcher.look()  # a wrong name ends here
        if not once:
            view = _follow_as_json(watcher, view, interval) if as_json else _follow(watcher, view, interval)
        if as_json and once:
            print_json(view.to_values())
        elif not as_json:
            _print_once(view)
    sys.exit(_exit_code(view))


def _submitted(server: JobServer, name: str, tracking_uri: str | None) -> Callable[[], LiveState]:
    """Return a function that reads the state of a submitted sweep, after waiting until its driver has written one."""
    from sweeper.cli.live import leaving_signals
    from sweeper.driver.jobs.submission import JobReader

    job = server.newest(name)
    read = JobReader(server, job, tracking_uri)
    is_said = False
    with leaving_signals():
        while read.is_too_early():
            if not is_said:
                print(f"job {job.id} has only just begun; waiting for what it says", file=sys.stderr)
            is_said = True
            time.sleep(1)
    return read


def _exit_code(view: View) -> int:
    from sweeper.tracking.live import Stage

    return ExitCode.NOT_YET if view.state.stage is Stage.INTERRUPTED or view.is_stale else ExitCode.DONE


def _follow(watcher: Watcher, first: View, interval_s: float) -> View:
    """Show a sweep until it has ended, and return the last view."""
    from sweeper.cli.live import screen, show

    view = first
    with screen(Console()) as shown:
        for view in _views(watcher, first, interval_s):
            if not view.state.is_ended:
                show(shown, view)
    return view


def _follow_as_json(watcher: Watcher, first: View, interval_s: float) -> View:
    """Print a line of JSON for each new state, for trouble and for silence, until the sweep has ended."""
    view, said = first, None
    for view in _views(watcher, first, interval_s):
        if (news := (view.state.written_ms, view.is_stale, bool(view.trouble))) != said:
            print(json.dumps(view.to_values()), flush=True)
        said = news
    return view


def _views(watcher: Watcher, view: View, interval_s: float) -> Iterator[View]:
    yield view
    if not view.state.is_ended:
        leave_without_reader()
    while not view.state.is_ended:
        time.sleep(interval_s)
        view = watcher.look()
        yield view
        leave_without_reader()  # also where this was the last state, so that the code does not depend on the moment


def _print_once(view: View) -> None:
    """Print a sweep's state with all known tasks, in plain text outside a terminal and for users who want it."""
    from sweeper.cli.live import is_animated
    from sweeper.cli.live_view import live_table

    console = Console()
    if not is_animated(console):
        console = Console(force_terminal=False, color_system=None, no_color=True, width=console.width)
    console.print(live_table(view, console.width), highlight=False)
