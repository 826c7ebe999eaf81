"""The program, and the commands that run sweeps.

Every other command is in the file of its group: `spec_files`, `submit`, `status` and `watch`, `ui`, `query`,
`findings`, `plot`, `report`, `networks`, `checks`, `upkeep`. Shared options are in `options`, and exit codes in
`sweeper.exit_codes`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sweeper.cli import (
    checks,
    findings,
    networks,
    plot,
    query,
    report,
    spec_files,
    status,
    submit,
    ui,
    unforeseen,
    upkeep,
)
from sweeper.cli.groups import Groups, command, options_of_the_program
from sweeper.cli.options import (
    AddressOption,
    AgainOption,
    HomeOption,
    JsonOption,
    LedgerOption,
    Name,
    NewCodeOption,
    Space,
    StorageOption,
    TrackingOption,
    WorkersOption,
    option_of,
    outcomes_in,
    print_commands,
)
from sweeper.cli.options import known_sweep as _sweep
from sweeper.cli.options import print_json as _print_json
from sweeper.cli.secrecy import refuse_secrets
from sweeper.errors import ClusterLostError, SweepError
from sweeper.exit_codes import STOPPED, ExitCode
from sweeper.imports import import_problem
from sweeper.limits import read_limits

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.driver.driver import Summary
    from sweeper.driver.sweep import Sweep
    from sweeper.spec import LoadedSpec

#: Most lines of a traceback to print; the last ones name the place and the error.
_FAULT_LINES = 8

app = typer.Typer(
    cls=Groups, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, add_completion=True
)
app.callback()(options_of_the_program)


@command(app, "sweeper plan quickstart --workers 2")
def plan(space: Space, workers: WorkersOption = None, as_json: JsonOption = False) -> None:
    """Say what a sweep would need: cells, trials, populations, time, memory, disk. Starts nothing."""
    from sweeper.spec import load_spec

    loaded = load_spec(space)  # before heavy imports, so that a mistake is reported at once
    from sweeper.cli import tables
    from sweeper.cli.live import waiting
    from sweeper.driver.estimate import estimate as estimated

    count = workers or read_limits().workers
    with waiting("training for a moment, to measure"):
        estimate = estimated(loaded, count)
    if as_json:
        values = {
            **vars(estimate),
            "images": {task: vars(facts) for task, facts in estimate.images.items()},
            "trials": sum(estimate.cells.values()),
            "workers": count,
            "is_estimate": True,
        }
        _print_json(values)
    else:
        Console().print(tables.estimate_table(estimate, count))
        print("Time, memory and disk are estimates from a short probe training on this machine.")


@command(app, "sweeper run quickstart", "sweeper run search_spaces/quickstart.yaml --name first --workers 2")
def run(
    space: Space,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the sweep; default: the spec's own.")
    ] = None,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    take_on: Annotated[
        bool,
        typer.Option(
            "--take-on", help="With --ledger: go on with a sweep of this name and spec that another home has planned."
        ),
    ] = False,
    relative_to: Annotated[
        Path | None,
        typer.Option(
            "--relative-to",
            metavar="DIR",
            help="Folder that paths in the spec are meant from. Default: the spec's own.",
        ),
    ] = None,
    again: AgainOption = "",
    new_code: NewCodeOption = False,
) -> None:
    """Run a sweep here or on a Ray cluster. A name that exists with the same spec is continued."""
    from sweeper.spec import load_spec

    words = outcomes_in(again)
    loaded = load_spec(space, name=name, folder=relative_to)  # before heavy imports, to report a mistake at once
    from sweeper.driver.sweep import Sweep

    sweep = Sweep(loaded.spec.name, home, tracking_uri, storage, ledger)
    _drive(sweep, home, loaded, workers, address, takes_on=take_on, again=words, takes_new_code=new_code)


@command(app, "sweeper resume quickstart", "sweeper resume quickstart --again lost,failed")
def resume(
    name: Name,
    home: HomeOption = Path("sweeps"),
    workers: WorkersOption = None,
    tracking_uri: TrackingOption = None,
    address: AddressOption = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    again: AgainOption = "",
    new_code: NewCodeOption = False,
) -> None:
    """Continue a sweep after Ctrl-C, a kill, a crash or a reboot. Finished trials are not run again.

    With --again those that failed are, on request; what they ended as stays in the ledger.
    """
    from sweeper.ledger.home import Home

    words = outcomes_in(again)
    sweep = _sweep(name, Home(home, storage, ledger), tracking_uri)
    _drive(sweep, home, None, workers, address, again=words, takes_new_code=new_code)


@command(app, "sweeper mirror quickstart")
def mirror(
    name: Name,
    home: HomeOption = Path("sweeps"),
    tracking_uri: TrackingOption = None,
    ledger: LedgerOption = None,
) -> None:
    """Write all outcomes and fronts from the ledger to MLflow again; what is there and intact stays as it is."""
    from sweeper.ledger.home import Home

    sweep = _sweep(name, Home(home, ledger_url=ledger), tracking_uri)
    from sweeper.cli import status_tables
    from sweeper.cli.live import waiting

    with waiting("writing to MLflow"):
        summary = sweep.mirror()

    summary.require_mirrored()
    print(f"{status_tables.outcome_line(summary.counts)}; mirrored to {_shown_uri(sweep)}")


def _drive(
    sweep: Sweep,
    home: Path,
    loaded: LoadedSpec | None,
    workers: int | None,
    address: str | None,
    **options: Any,
) -> None:
    """Run or resume a sweep, show its progress, print its fronts, and exit."""
    from sweeper.cli import status_tables, tables
    from sweeper.cli.live import wait_for_tracking
    from sweeper.cli.session import run_session

    console = Console()
    elsewhere = option_of(home)
    is_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # started by a Ray head for `sweeper submit`
    resume = "the same `sweeper submit` again" if is_job else f"sweeper resume {sweep.name}{elsewhere}"
    again = [resume]
    wait_for_tracking(sweep.tracking_uri)
    try:
        session = run_session(sweep, loaded, workers, address, at_worst=partial(_end_at_once, again), **options)
    except KeyboardInterrupt:
        print_commands("interrupted at once; continue with:", again)
        sys.exit(STOPPED["SIGINT"])
    except ClusterLostError as error:
        _leave_lost(str(error), again)
        sys.exit(ExitCode.NOT_YET)
    summary = session.summary
    print(status_tables.outcome_line(summary.counts))
    for front in summary.fronts:
        if front.table.num_rows:
            console.print()
            console.print(tables.front_table(front, console.width), crop=False)
    if summary.fault:
        _tell_fault(summary)
        print_commands("mend the function, and go on with:", [f"{resume} --again failed --new-code"])
        sys.exit(ExitCode.MISTAKE)
    if not summary.is_finished:
        print_commands(f"{'interrupted' if session.signal else 'not finished'}; continue with:", again)
        sys.exit(128 + session.signal if session.signal else ExitCode.NOT_YET)
    summary.require_mirrored()
    _print_next_steps(sweep, summary, elsewhere)
    sys.exit(ExitCode.SOME_FAILED if summary.counts.failed else ExitCode.DONE)


def _tell_fault(summary: Summary) -> None:
    """Print that all trials so far failed in one place, with the end of the traceback."""
    lines = summary.fault.splitlines()
    told = "\n".join(f"  {line}" for line in lines[-_FAULT_LINES:])
    failed = summary.counts.failed
    print(
        f"sweeper: the first {failed} trials all failed in the same place, so {summary.counts.waiting} more wait "
        f"and are not tried:\n{told}",
        file=sys.stderr,
    )


def _end_at_once(again: list[str], reason: str) -> None:
    """Print the reason and end the process at once, because a dead Ray keeps it from ending in order."""
    from sweeper.cli.live import show_cursor
    from sweeper.execution.lifeline import died

    show_cursor()
    _leave_lost(died(reason), again)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ExitCode.NOT_YET)


def _leave_lost(message: str, again: list[str]) -> None:
    print(f"sweeper: {message}.", file=sys.stderr)
    print_commands("continue with:", again)


def _print_next_steps(sweep: Sweep, summary: Summary, elsewhere: str) -> None:
    """Print commands to look at the results: the report, a good network, a query that has an answer, and MLflow."""
    from sweeper.tracking.mlflow.reader import page_of_run

    is_own = any(front.own_units is not None for front in summary.fronts)
    keys = [key for front in summary.fronts for key in front.best(1).table["key"].to_pylist()]
    commands = [f"sweeper report {summary.name}{elsewhere}"]
    if keys and not is_own:  # a user's own function trains no lattice
        commands.append(f"sweeper show {keys[0]} -o {keys[0]}.svg{elsewhere}")
    if example := next((condition for front in summary.fronts if (condition := front.example_condition())), ""):
        commands.append(f'sweeper pareto {summary.name} --where "{example}"{elsewhere}')
    commands.append(f"sweeper ui {summary.name}{elsewhere}")
    page = page_of_run(sweep.tracking_uri, summary.name)
    print_commands("\nLook further:", [*commands, *([page] if "://" in page else [])])


def _shown_uri(sweep: Sweep) -> str:
    from sweeper.credentials import redacted

    return redacted(sweep.tracking_uri)


spec_files.register(app)
submit.register(app)
query.register(app)
findings.register(app)
plot.register(app)
report.register(app)
status.register(app)
ui.register(app)
networks.register(app)
checks.register(app)
upkeep.register(app)


def main() -> None:
    """Run the command line; every error becomes one message on standard error, and an exit code of its own."""
    # This handler holds until a sweep runs; see `live.stop_signals`.
    before = signal.signal(signal.SIGINT, lambda *_: sys.exit(STOPPED["SIGINT"]))
    try:
        refuse_secrets(sys.argv[1:])
        app()
    except SweepError as error:
        print(f"sweeper: {error}", file=sys.stderr)
        sys.exit(ExitCode.MISTAKE)
    except Exception as error:
        if import_problem(error):  # the caller of `main` reports it
            raise
        sys.exit(unforeseen.tell(error))
    finally:
        signal.signal(signal.SIGINT, before)
        gc.freeze()  # else Python scans all objects of torch, Ray and MLflow at exit, which takes 1.5 s
