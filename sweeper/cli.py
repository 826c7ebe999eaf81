"""The command line: parse, call, print, exit code. The only place that prints and that reads the environment.

Exit codes: 0 complete · 1 ended with failed trials · 2 the user's mistake or a missing piece, nothing started ·
130 and 143 interrupted, with the command to resume.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sweeper.errors import QueryError, SweepError, UnknownSweepError

if TYPE_CHECKING:  # heavy rooms are imported where they are used: --help must not load them
    from sweeper.driver import Summary
    from sweeper.home import Home
    from sweeper.spec import LoadedSpec
    from sweeper.sweep import Sweep

app = typer.Typer(
    help="Map how a neural network trades breadth, depth and time against each other.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

Space = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped search space.")]
Name = Annotated[str, typer.Argument(help="Name of the sweep.")]
HomeOption = Annotated[Path, typer.Option("--home", envvar="SWEEPER_HOME", help="Folder that holds sweeps.")]
TrackingOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="Where MLflow is. Default: where the sweep was last mirrored, or mlflow.db in the home.",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="SWEEPER_STORAGE",
        metavar="URI",
        help="Where checkpoints and networks are: a folder, or a URI such as s3://bucket/folder. "
        "Default: where the sweep's are, or the home.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="SWEEPER_LEDGER",
        metavar="URL",
        help="A PostgreSQL database for ledgers, postgresql://user@host/db. "
        "Default: where the sweep's ledger is, or SQLite in the home.",
    ),
]


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"workers must be a whole number of at least 1, but got {text}. Use 1 or more.")
    return int(text)


WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", parser=_workers, metavar="N", help="Populations trained at a time. Default: one per CPU."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        envvar="RAY_ADDRESS",
        help="A running Ray cluster, HOST:PORT or 'auto'. Default: start one here.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: sweeper plan quickstart --workers 2")
def plan(space: Space, workers: WorkersOption = None, as_json: JsonOption = False) -> None:
    """Say what a sweep would need: cells, trials, populations, time, memory, disk. Starts nothing."""
    from sweeper import terminal
    from sweeper.estimate import estimate as estimated
    from sweeper.spec import load_spec

    count = workers or os.cpu_count() or 1
    estimate = estimated(load_spec(space), count)
    if as_json:
        values = {
            **vars(estimate),
            "trials": sum(estimate.cells.values()),
            "workers": count,
            "is_estimate": True,
        }
        _print_json(values)
    else:
        Console().print(terminal.estimate_table(estimate, count))
        print("Time, memory and disk are estimates from a short probe training on this machine.")


@app.command(epilog="Example: sweeper run search_spaces/quickstart.yaml --name first --workers 2")
def run(
    space: Space,
    name: Annotated[str | None, typer.Option("--name", help="Name of the sweep; default: the spec's own.")] = None,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Run a sweep here or on a Ray cluster. A name that exists with the same spec is continued."""
    from sweeper.spec import load_spec
    from sweeper.sweep import Sweep

    loaded = load_spec(space, name=name)
    _drive(Sweep(loaded.spec.name, home, tracking_uri, storage, ledger), home, loaded, workers, address)


@app.command(epilog="Example: sweeper resume quickstart")
def resume(
    name: Name,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Continue a sweep after Ctrl-C, a kill, a crash or a reboot. Finished trials are not run again."""
    from sweeper.home import Home

    _drive(_sweep(name, Home(home, storage, ledger), tracking_uri), home, None, workers, address)


@app.command(epilog="Example: sweeper status quickstart --json")
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the sweep; without it, all sweeps.")] = None,
    home: HomeOption = Path("sweeps"),
    ledger: LedgerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a sweep's trials: planned, complete, running, waiting, and every kind of failure."""
    from sweeper import terminal
    from sweeper.home import Home
    from sweeper.sweep import Sweep

    names = [_checked(name)] if name is not None else Home(home).sweeps()
    sweeps = [Sweep(one, home, ledger=ledger) for one in names]
    rows = [(sweep.name, sweep.counts(), sweep.driver) for sweep in sweeps]
    if as_json:
        found: list[dict[str, Any]] = [{"name": n, **vars(counts), "driver": d} for n, counts, d in rows]
        _print_json(found[0] if name is not None else found)
    elif name is not None:
        Console().print(terminal.status_table(*rows[0]))
    elif rows:
        Console().print(terminal.sweeps_table(rows))
    else:
        print(f"no sweeps in {home}. Start one with `sweeper run quickstart`.")


@app.command(epilog='Example: sweeper pareto quickstart --task digits-10 --where "accuracy >= 0.9" --format csv')
def pareto(
    name: Name,
    task: Annotated[str | None, typer.Option("--task", help="Label of one task; default: all.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help='A condition such as "accuracy >= 0.9"; may be repeated.'),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="table, json, csv or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write to a file.")] = None,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the stored Pareto front, read from MLflow alone."""
    from sweeper import query, terminal
    from sweeper.sweep import Sweep
    from sweeper.table import encode

    uri = Sweep(_checked(name), home, tracking_uri).tracking_uri
    if as_json and format not in {"table", "json"}:
        raise QueryError(f"--json and --format {format} ask for two formats. Leave one of them out.")
    kind = "json" if as_json else format
    if kind not in {"table", "json", "csv", "parquet"}:
        raise QueryError(f"a front is printed as table, json, csv or parquet, but got --format {kind}")
    if kind == "parquet" and output is None and sys.stdout.isatty():
        raise QueryError("Parquet is not for a terminal. Name a file with -o FILE.")
    fronts = query.pareto(uri, name, task=task, where=where or ())
    if not fronts:
        raise UnknownSweepError(
            f"sweep {name!r} has no front yet: no population of it has ended. "
            f"Watch it with `sweeper status {name}`, or continue it with `sweeper resume {name}`."
        )
    if kind != "table":
        data = encode(query.as_table(fronts), kind)
    else:
        console = Console(file=None if output is None else open(os.devnull, "w"), record=output is not None)  # noqa: SIM115
        for front in fronts:
            console.print(terminal.front_table(front, console.width, where or ()), crop=False)
        if output is None:
            return
        data = console.export_text().encode()
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        _write_aside(output, data)


@app.command(epilog="Example: sweeper show 4f04f71b19e55eef -o network.svg")
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
) -> None:
    """Show the network that is left of a trial: layers, channels, steps and counts, in words or drawn."""
    from sweeper import terminal
    from sweeper.home import Home
    from sweeper.networks import find_network
    from sweeper.objective import describe

    if output is not None:  # a name that cannot be is refused before anything is looked for
        from sweeper.drawing import draw, picture_format

        kind = picture_format(output)
    is_file = network.endswith(".safetensors")
    places = Home(home, storage, ledger)
    path = Path(network) if is_file else find_network(places, network, sweep and _checked(sweep)).path
    shown = describe(path)
    if output is None:
        Console().print(terminal.network_summary(shown.graph, shown.title, shown.measurement))
    else:
        _write_aside(output, draw(shown.graph, kind, title=shown.title, measurement=shown.measurement))
        print(f"{output} shows {shown.title}")


@app.command(epilog="Example: sweeper export 4f04f71b19e55eef -o network.safetensors")
def export(
    key: Annotated[str, typer.Argument(help="Key of a complete trial, or at least six characters of its beginning.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    home: HomeOption = Path("sweeps"),
    sweep: Annotated[
        str | None, typer.Option("--sweep", help="Name of the trial's sweep; default: look in all.")
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write the network that is left of a trial to a file, which `model.load` reads."""
    from sweeper.home import Home
    from sweeper.networks import find_network

    if output.suffix != ".safetensors":
        raise QueryError(f"a network is written to a file that ends in .safetensors, but got -o {output}. Rename it.")
    found = find_network(Home(home, storage, ledger), key, sweep if sweep is None else _checked(sweep))
    _write_aside(output, found.path.read_bytes())
    print(f"{output} holds the network of trial {found.key} of sweep {found.sweep}")


@app.command(epilog="Example: sweeper mirror quickstart")
def mirror(
    name: Name,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write every outcome and front of the ledger to MLflow again; what is there stays as it is."""
    from sweeper.home import Home

    sweep = _sweep(name, Home(home, ledger_url=ledger), tracking_uri)
    summary = sweep.mirror()
    from sweeper import terminal

    _refuse_unmirrored(summary)
    print(f"{terminal.outcome_line(summary.counts)}; mirrored to {_shown_uri(sweep)}")


def _drive(sweep: Sweep, home: Path, loaded: LoadedSpec | None, workers: int | None, address: str | None) -> None:
    """Run or resume a sweep, show how it goes, print its fronts, and exit."""
    from sweeper import terminal
    from sweeper.execute import RayExecutor
    from sweeper.live import progress, stop_signals

    console = Console()
    elsewhere = f" --home {home}" if home != Path("sweeps") else ""
    again = [f"sweeper resume {sweep.name}{elsewhere}"]
    with stop_signals() as stopped, progress() as observe:
        try:
            summary = sweep.run(
                loaded,
                executor=RayExecutor(workers, address, sweep.scratch),
                workers=workers or os.cpu_count() or 1,
                observe=observe,
                should_stop=lambda: bool(stopped),
            )
        except KeyboardInterrupt:
            _print_commands("interrupted at once; continue with:", again)
            sys.exit(130)
    for front in summary.fronts:
        if front.table.num_rows:
            console.print(terminal.front_table(front, console.width), crop=False)
            console.print()
    print(terminal.outcome_line(summary.counts))
    if not summary.is_finished:
        _print_commands(f"{'interrupted' if stopped else 'not finished'}; continue with:", again)
        sys.exit(128 + stopped[0] if stopped else 1)
    _refuse_unmirrored(summary)
    _print_next_steps(sweep, summary, elsewhere)
    sys.exit(1 if summary.counts.failed else 0)


def _print_next_steps(sweep: Sweep, summary: Summary, elsewhere: str) -> None:
    from sweeper.record import page_hint

    command, page = page_hint(sweep.tracking_uri, summary.name)
    task = summary.fronts[0].task
    commands = [
        f'sweeper pareto {summary.name} --task {task} --where "accuracy >= 0.9"{elsewhere}',
        f"sweeper status {summary.name}{elsewhere}",
    ]
    _print_commands("\nLook further:", [*commands, *([command] if command else []), page])


def _print_commands(title: str, commands: list[str]) -> None:
    """Print commands to type next; where this program is not on the path, first how to put it there."""
    print(title)
    if shutil.which("sweeper") is None:
        print(f"  source {os.path.relpath(sys.prefix)}/bin/activate")
    for command in commands:
        print(f"  {command}")


def _write_aside(output: Path, data: bytes) -> None:
    """Write a file so that no reader ever meets half of it."""
    if output.is_dir():
        raise QueryError(f"cannot write {output}: it is a folder. Name a file with -o.")
    aside = output.with_name(output.name + ".tmp")
    try:
        aside.write_bytes(data)
        aside.replace(output)
    except OSError as error:
        raise QueryError(f"cannot write {output}: {error.strerror}. Name another file with -o.") from error


def _refuse_unmirrored(summary: Summary) -> None:
    if not summary.is_mirrored:
        from sweeper.errors import TrackingError

        raise TrackingError(
            f"every outcome is safe in the ledger, but MLflow does not hold all of them: {summary.unmirrored} "
            f"Once it answers again, run `sweeper mirror {summary.name}`."
        )


def _sweep(name: str, home: Home, tracking_uri: str | None = None) -> Sweep:
    """Return a sweep that exists in this home."""
    from sweeper.sweep import Sweep

    home.known(_checked(name))
    return Sweep(name, home.root, tracking_uri, home.storage, home.ledger_url)


def _checked(name: str) -> str:
    from sweeper.spec import check_name

    check_name(name)  # a name is a folder's name: it must not lead anywhere else
    return name


def _shown_uri(sweep: Sweep) -> str:
    from sweeper.record import redacted

    return redacted(sweep.tracking_uri)


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))


def main() -> None:
    """Run the command line. A user's mistake is one message on the standard error output and exit code 2."""
    before = signal.signal(signal.SIGINT, lambda *_: sys.exit(130))  # until a sweep runs, see `live.stop_signals`
    try:
        app()
    except SweepError as error:
        print(f"sweeper: {error}", file=sys.stderr)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGINT, before)
