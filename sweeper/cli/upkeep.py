"""Commands on whole sweeps: `list`, `delete`, `rename`, `archive`, `unarchive`, `clean`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.cli.groups import command
from sweeper.cli.options import (
    HomeOption,
    JsonOption,
    LedgerOption,
    Name,
    ReadHomeOption,
    StorageOption,
    TrackingOption,
    checked,
    option_of,
    print_json,
)
from sweeper.errors import HomeError, QueryError, TrackingError

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.upkeep.listing import Listed


YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(app, "sweeper list", "sweeper list --tracking-uri http://mlflow.example:5000", name="list")(list_sweeps)
    command(app, "sweeper delete first")(delete)
    command(app, "sweeper archive first -o first.zip")(archive)
    command(app, "sweeper unarchive first.zip")(unarchive)
    command(app, "sweeper clean --dry-run")(clean)
    command(app, "sweeper rename first final")(rename)


def list_sweeps(
    home: ReadHomeOption = Path("sweeps"),
    ledger: LedgerOption = None,
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sweeps of a home: state, trials, last activity, size, and by which rules they are measured.

    With --tracking-uri also those that only MLflow has.
    """
    from sweeper.ledger.home import Home
    from sweeper.upkeep.listing import sweeps_here, sweeps_in_mlflow

    found, identities = sweeps_here(Home(home, None, ledger))
    problems = [one.problem for one in found if one.problem]
    if tracking_uri:
        try:
            found += sweeps_in_mlflow(tracking_uri, identities, time.time_ns() // 1_000_000)
        except TrackingError as error:  # reported at the end, after the home's own sweeps
            problems.append(str(error))
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        Console().print(_list_table(found), crop=False)
    elif not problems:
        where = f"{home} and in MLflow" if tracking_uri else home
        print(f"no sweeps in {where}. Start one with `sweeper run quickstart`.")
    if problems:
        raise HomeError(problems[0])


def delete(
    name: Name,
    yes: YesOption = False,
    here_only: Annotated[
        bool,
        typer.Option(
            "--here-only",
            help="Leave what is outside of this home: a tracking server, a storage, a database of ledgers. A copy of "
            "the home uses the same.",
        ),
    ] = False,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Delete a sweep for good: its ledger, checkpoints and networks, and its experiment in MLflow. Asks before."""
    from sweeper.ledger.home import Home
    from sweeper.upkeep.removing import delete as deleted
    from sweeper.upkeep.removing import removal_of

    removal = removal_of(Home(home, storage, ledger), checked(name), tracking_uri, here_only=here_only)
    trials = "its ledger cannot be read" if removal.done is None else f"{removal.done} of {removal.planned} trials done"
    print(f"sweep {name} in {home} ({trials}) is deleted for good:")
    for part in removal.parts:
        outside = "; outside of this home" if part.is_outside else ""
        print(f"  {part.what}{_sized(part.size)}{outside}")
    _print_what_stays(removal.stays)
    if agreed("Delete it?", yes):
        stays = deleted(removal)
        print(f"sweep {name} is deleted")
        _print_what_stays(stays[len(removal.stays) :])


def _print_what_stays(stays: Sequence[str]) -> None:
    for one in stays:
        print(f"  stays: {one}")


def _sized(count: int | None) -> str:
    from sweeper.cli.status_tables import size

    return "" if count is None else f", {size(count)}"


def archive(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write. Default: NAME.zip in this folder."),
    ] = None,
    with_report: Annotated[bool, typer.Option("--report/--no-report", help="Also put the report into it.")] = True,
    as_it_is: Annotated[
        bool, typer.Option("--as-it-is", help="Leave out networks and per-image files that are missing or damaged.")
    ] = False,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Put a sweep into one file to give away: ledger, networks, fronts, per-image files and report.

    `--home FILE` reads it, and `sweeper unarchive` makes a sweep of it again.
    """
    from sweeper.cli.live import waiting
    from sweeper.cli.status_tables import size
    from sweeper.ledger.home import Home
    from sweeper.upkeep.archives import archive as archived

    path = output or Path(f"{checked(name)}.zip")

    def report(uri: str) -> bytes | None:
        from sweeper.results.loaded_sweep import load
        from sweeper.results.report.page import report as page

        try:
            return page(load(name, uri), ()).encode() if with_report else None
        except QueryError as error:  # for example, no trial has finished yet
            print(f"note: the archive has no report: {error}", file=sys.stderr)
            return None

    with waiting("packing"):
        made = archived(Home(home, storage, ledger), name, path, tracking_uri, report, as_it_is=as_it_is)
    held = f"{made.networks} networks" + (f", {made.probes} per-image files" if made.probes else "")
    print(f"{path} is the archive of sweep {name} ({size(made.size)}, {held}); read it with --home {path}")
    if made.missing:
        print(f"note: {len(made.missing)} files are left out: {made.missing[0]}, …", file=sys.stderr)


def unarchive(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")],
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
) -> None:
    """Make a sweep of an archive again: in this home, and in MLflow. It can be resumed and extended like any other."""
    from sweeper.driver.sweep import Sweep
    from sweeper.ledger.home import Home
    from sweeper.upkeep.archives import unarchive as unarchived

    name = unarchived(file, Home(home), tracking_uri)
    Sweep(name, home, tracking_uri).mirror().require_mirrored()
    print(f"sweep {name} is in {home} again; `sweeper audit {name}{option_of(home)}` checks it")


def clean(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Name of the sweep; without it, all sweeps, and your cache.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and leave it.")] = False,
    yes: YesOption = False,
    outside: Annotated[
        bool,
        typer.Option(
            "--outside", help="Also free checkpoints outside of this home; a copy of the home may go on from them."
        ),
    ] = False,
    home: HomeOption = Path("sweeps"),
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Free the checkpoints of finished sweeps, and caches. Asks before; what can be resumed keeps all it needs."""
    from sweeper.cli.status_tables import size
    from sweeper.ledger.home import Home
    from sweeper.upkeep.cleaning import clean as cleaned
    from sweeper.upkeep.cleaning import cleaning_of

    cleaning = cleaning_of(Home(home, storage, ledger), None if name is None else checked(name), outside=outside)
    for piece in cleaning.pieces:
        print(f"  {piece.what}{_sized(piece.size)}")
    _print_what_stays(cleaning.kept)
    if not cleaning.pieces:
        print("there is nothing to free")
        return
    print(f"{size(cleaning.size)} can be freed")
    if not dry_run and agreed("Free it?", yes):
        stays = cleaned(cleaning)
        print("it is freed")
        _print_what_stays(stays)


def rename(
    name: Name,
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="The name that it gets.")],
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Give a sweep another name, in its home, its storage, its ledger and MLflow. Keys of trials stay as they are."""
    from sweeper.driver.sweep import Sweep
    from sweeper.ledger.home import Home
    from sweeper.upkeep.renaming import rename as renamed

    is_mirrored = renamed(Home(home, storage, ledger), checked(name), checked(new_name), tracking_uri)
    if is_mirrored:  # update the words on MLflow's page
        Sweep(new_name, home, tracking_uri, storage, ledger).mirror().require_mirrored()
    print(f"sweep {name} is called {new_name} now")


def agreed(question: str, yes: bool) -> bool:
    """Return whether the user agrees, by `--yes` or by an answer to the question.

    Raises:
        QueryError: If the standard input is not a terminal, so that nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise QueryError(
            "nothing was done: this asks first, and the standard input is no terminal, so nobody can answer. Add --yes "
            "to do it without being asked."
        )
    with suppress(typer.Abort):  # the input ended
        if typer.confirm(question):
            return True
    print("nothing was done")
    return False


def _list_table(rows: Sequence[Listed]) -> Table:
    """Return a table with a row for each sweep: state, trials, last activity, size, rules."""
    from sweeper.cli.status_tables import size

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    are_elsewhere = any(row.place != "home" for row in rows)
    table.add_column("sweep", overflow="fold")
    for column in ("state", "done", "last activity", "size", "rules", *(["where"] if are_elsewhere else [])):
        table.add_column(column, no_wrap=True, justify="right" if column in ("done", "size", "rules") else "left")
    for row in rows:
        failed = f" ({row.failed} failed)" if row.failed else ""
        cells = [
            row.state,
            "" if row.done is None else f"{row.done} of {row.planned}{failed}",
            "" if row.last_ms is None else f"{datetime.fromtimestamp(row.last_ms / 1000):%Y-%m-%d %H:%M}",
            "" if row.size is None else size(row.size),
            "" if row.rules is None else str(row.rules),
            *([row.place] if are_elsewhere else []),
        ]
        table.add_row(Text(row.name), *cells)  # a folder's name may look like markup
    return table
