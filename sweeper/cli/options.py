"""Arguments, options and helpers that several commands share."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeper.cli import environment
from sweeper.errors import HomeError, QueryError
from sweeper.storage import write_local

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.driver.jobs.server import JobServer
    from sweeper.driver.sweep import Sweep
    from sweeper.ledger.home import Home


def _spaces(incomplete: str) -> list[str]:
    """Return completions for a search space: shipped ones, YAML files and folders."""
    from sweeper.spec import shipped_spaces

    patterns = [f"{incomplete}{ending}" for ending in ("*.yaml", "*.yml", "*/")]
    files = [str(path) for pattern in patterns for path in sorted(Path().glob(pattern))]
    return [name for name in shipped_spaces() if name.startswith(incomplete)] + files


def _sweeps(incomplete: str) -> list[str]:
    """Return completions for the name of a sweep: the sweeps of the home that the environment variable names."""
    from sweeper.ledger.home import Home

    home = environment.named(None, environment.HOME) or environment.DEFAULT_HOME
    return [name for name in Home(Path(home)).sweeps() if name.startswith(incomplete)]


Space = Annotated[
    str,
    typer.Argument(metavar="SPACE", help="A YAML file, or the name of a shipped search space.", autocompletion=_spaces),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the sweep.", autocompletion=_sweeps)]
HomeOption = Annotated[
    Path, typer.Option("--home", envvar=environment.HOME, metavar="DIR", help="Folder that holds sweeps.")
]


def home_to_read(home: str | Path) -> Path:
    """Return the folder of a home; for an archive, a read-only folder with its unpacked sweep.

    Raises:
        HomeError: If a file is not an archive, or is damaged.
    """
    if not os.path.isfile(home):
        return Path(home)
    if not zipfile.is_zipfile(home):
        raise HomeError(
            f"the home must be a folder or an archive of a sweep, but got the file {home}. Name a folder with --home, "
            "or an archive that was not cut short."
        )
    from sweeper.upkeep.archives import unpacked

    return unpacked(Path(home))


ReadHomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar=environment.HOME,
        parser=home_to_read,
        metavar="PATH",
        help="Folder that holds sweeps, or an archive of one.",
    ),
]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar=environment.TRACKING_URI,
        metavar="URI",
        help="Where MLflow is. Default: where the sweep was last mirrored, or mlflow.db in the home.",
    ),
]
NetworkTrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar=environment.TRACKING_URI,
        metavar="URI",
        help="Where MLflow is, to read a network of a front from that is not in this home; takes --sweep. "
        "Default: look in the home alone.",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar=environment.STORAGE,
        metavar="URI",
        help="Where checkpoints and networks are: a folder, or a URI such as s3://bucket/folder. "
        "Default: where the sweep's are, or the home.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar=environment.LEDGER,
        metavar="URL",
        help="A PostgreSQL database for ledgers, postgresql://user@host/db. "
        "Default: where the sweep's ledger is, or SQLite in the home.",
    ),
]

#: Message about a wrong number of workers.
WRONG_WORKERS = "workers must be a whole number of at least 1, but got {}. Use 1 or more."


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(WRONG_WORKERS.format(text))
    return int(text)


WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        parser=_workers,
        metavar="N",
        help="Populations trained at a time. Default: one per CPU that this process may use.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=environment.ADDRESS,
        metavar="HOST:PORT",
        help="A running Ray cluster, HOST:PORT or 'auto'. Default: start one here.",
    ),
]
JobsAddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar=environment.JOBS_ADDRESS,
        metavar="URL",
        help="Job server of a Ray cluster, http://HEAD:8265; `here` for this machine whatever the variable says.",
    ),
]
AgainOption = Annotated[
    str,
    typer.Option(
        "--again",
        metavar="OUTCOMES",
        help="First try again what ended so, such as lost,failed; also not_finite, missing_objective, out_of_memory, "
        "timed_out. Their former outcomes stay in the ledger.",
    ),
]
NewCodeOption = Annotated[
    bool,
    typer.Option(
        "--new-code",
        help="Go on though your own code has changed since the sweep was planned; each trial says under which it was "
        "trained.",
    ),
]
AccuraciesOption = Annotated[
    str | None,
    typer.Option(
        "--accuracies",
        metavar="NUMBERS",
        help="Accuracies at which trade-… and growth-… compare, such as 0.8,0.9. Default: one choice for all pictures.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def accuracies_in(text: str | None) -> tuple[float, ...]:
    """Return the accuracies that `--accuracies` names."""
    if text is None:
        return ()
    from sweeper.results.plots.accuracies import checked_accuracies

    try:
        asked = [float(word) for word in text.split(",")]
    except ValueError:
        raise QueryError(f"--accuracies takes numbers such as 0.8,0.9, but got {text!r}. Correct it.") from None
    return checked_accuracies(asked)


def outcomes_in(again: str) -> list[str]:
    """Return the outcomes that `--again` names; refuse a wrong word early."""
    from sweeper.ledger.again import repeatable

    words = [word.strip() for word in again.split(",") if word.strip()]
    repeatable(words)
    return words


def known_sweep(name: str, home: Home, tracking_uri: str | None = None) -> Sweep:
    """Return a sweep that exists in this home."""
    from sweeper.driver.sweep import Sweep

    home.known(checked(name)).require_own()
    return Sweep(name, home.root, tracking_uri, home.storage, home.ledger_url)


def job_server(address: str | None) -> JobServer | None:
    """Return the named job server; None for this machine."""
    from sweeper.driver.jobs.server import JobServer

    return None if address in {None, "", "here"} else JobServer(str(address))


def checked(name: str) -> str:
    """Return the name of a sweep; refuse a bad one."""
    from sweeper.spec import check_name

    check_name(name)  # the name becomes a folder's name, so it must not lead elsewhere
    return name


def tracking_of(name: str, home: Path, tracking_uri: str | None) -> str:
    """Return the tracking URI of a sweep, as far as its home knows it, without loading the driver's modules."""
    from sweeper.ledger.home import Home

    return Home(home).tracking_uri_of(checked(name), tracking_uri)


def write_aside(output: Path, data: bytes) -> None:
    """Write a file atomically, so that no reader ever finds half of it; keep links, pipes and devices."""
    if output.is_dir():
        raise QueryError(f"cannot write {output}: it is a folder. Name a file with -o.")
    try:
        if output.exists() and not output.is_file():  # a pipe or a device, which must not be replaced
            output.write_bytes(data)
        else:
            write_local(Path(os.path.realpath(output)), data)  # replace the target, not the link
    except OSError as error:
        raise QueryError(f"cannot write {output}: {error.strerror}. Name another file with -o.") from error


def print_json(value: object) -> None:
    """Print an answer for programs."""
    print(json.dumps(value, indent=2))


def option_of(home: Path) -> str:
    """Return the option that names a home in a suggested command; empty for the default home."""
    return "" if home == Path(environment.DEFAULT_HOME) else f" --home {shlex.quote(str(home))}"


def print_commands(title: str, commands: list[str]) -> None:
    """Print commands to type next, after the one that puts this program on the path, if it is not there."""
    print(title)
    if shutil.which("sweeper") is None:
        print(f"  source {os.path.relpath(sys.prefix)}/bin/activate")
    for command in commands:
        print(f"  {command}")
