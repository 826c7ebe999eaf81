"""Commands for sweeps that are jobs of a Ray cluster; `stop` also stops sweeps of this machine."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeper.cli.groups import command
from sweeper.cli.options import (
    AgainOption,
    HomeOption,
    JobsAddressOption,
    LedgerOption,
    Name,
    NewCodeOption,
    Space,
    StorageOption,
    TrackingOption,
    WorkersOption,
    checked,
    job_server,
    option_of,
    outcomes_in,
    print_commands,
)
from sweeper.cli.streams import leave_without_reader
from sweeper.errors import ClusterError, QueryError, SweepBusyError, TrackingError

if TYPE_CHECKING:  # functions import heavy packages themselves, so that --help stays fast
    from sweeper.driver.jobs.server import JobServer, SweepJob

#: Longest wait of `stop` for a driver of this machine, in seconds: it still writes an outcome, and waits for MLflow.
_STOP_PATIENCE_S = 120


def register(app: typer.Typer) -> None:
    """Add the commands of this file, each with its example."""
    command(app, "sweeper submit quickstart --address http://head:8265 --follow")(submit)
    command(app, "sweeper stop quickstart")(stop)
    command(app, "sweeper logs quickstart --address http://head:8265 --follow")(logs)


def submit(
    space: Space,
    address: JobsAddressOption = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the sweep; default: the spec's own.")
    ] = None,
    tracking_uri: TrackingOption = None,
    home: Annotated[
        str | None,
        typer.Option(
            "--home",
            envvar="SWEEPER_HOME",
            metavar="PATH",
            help="Folder that holds sweeps, on the head. Default: where this one was, or ~/sweeps there.",
        ),
    ] = None,
    storage: StorageOption = None,
    ledger: LedgerOption = None,
    workers: WorkersOption = None,
    runtime_env: Annotated[
        Path | None,
        typer.Option("--runtime-env", metavar="FILE", help="Ray's runtime environment, in YAML: pip, env_vars, …"),
    ] = None,
    again: AgainOption = "",
    new_code: NewCodeOption = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when it is over, with its exit code.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="The same, and print what it says meanwhile.")] = False,
) -> None:
    """Run a sweep as a job of a Ray cluster. Submitting it again resumes it, or says that it runs or is complete."""
    from sweeper.spec import load_spec

    loaded = load_spec(space, name=name, is_elsewhere=True)  # before heavy imports, to report a mistake at once
    from sweeper.driver.jobs import submission

    words = outcomes_in(again)
    named = {"home": home, "tracking_uri": tracking_uri, "storage": storage, "ledger": ledger, "workers": workers}
    server = _required(address)
    submitted = submission.submit(
        server,
        loaded,
        named,
        runtime_env,
        again=words,
        takes_new_code=new_code,
        look_at_tracking=_require_tracking,
    )
    job = submitted.job
    if submitted.is_complete:
        print(
            f"sweep {job.sweep} is complete: every trial has an outcome (job {job.id}). To run it anew, --name it anew."
        )
    elif submitted.is_new:
        print(f"submitted sweep {job.sweep} to {server.address} as job {job.id}")
    else:
        print(f"sweep {job.sweep} runs at {server.address} already, as job {job.id}")
    _print_next_steps(server, job, address, tracking_uri, submitted.is_complete)
    if submitted.is_complete:
        sys.exit(job.code)
    if wait or follow:
        sys.exit(_waited(server, job, follow).code)


def _require_tracking(uri: str) -> None:
    """Check that a server listens at the address that a job will mirror to, as far as this machine can tell."""
    from sweeper.cli.live import wait_for_tracking
    from sweeper.credentials import redacted

    if not wait_for_tracking(uri):
        raise TrackingError(
            f"nothing listens at the tracking server {redacted(uri)}, so nothing is submitted. Start it, or name "
            "another one with --tracking-uri."
        )


def _required(address: str | None) -> JobServer:
    ray_address = os.environ.get("RAY_ADDRESS", "")  # Ray's own job commands accept a server's address here
    server = job_server(address or (ray_address if ray_address.startswith("http") else None))
    if server is None:
        raise ClusterError(
            "this is for sweeps on a cluster, and none is named. Name the job server of its head with --address "
            "http://HEAD:8265, or RAY_API_SERVER_ADDRESS."
        )
    return server


def _print_next_steps(
    server: JobServer, job: SweepJob, address: str | None, tracking_uri: str | None, is_complete: bool
) -> None:
    from sweeper.driver.jobs.submission import tracking_uri_of

    there = "" if address == os.environ.get("RAY_API_SERVER_ADDRESS", "") else f" --address {server.address}"
    query = f"sweeper pareto {job.sweep} --tracking-uri {tracking_uri_of(job, tracking_uri)}"
    running = [
        f"sweeper watch {job.sweep}{there}",
        f"sweeper logs {job.sweep}{there} --follow",
        f"sweeper stop {job.sweep}{there}    # and the same submission again resumes it",
    ]
    print_commands(
        "Look further:" if is_complete else "Watch, query and stop it:", [*([] if is_complete else running), query]
    )


def _waited(server: JobServer, job: SweepJob, follow: bool, *, leaves: bool = False) -> SweepJob:
    """Wait until a job is over and return it; a signal ends only the wait, and so does a lost reader if `leaves`."""
    from sweeper.cli.live import handled

    def leave(number: int, _frame: object) -> None:
        print(f"\nleft it running: sweep {job.sweep}, job {job.id}", file=sys.stderr)
        sys.exit(128 + number)

    for number in handled():
        signal.signal(number, leave)

    def write(text: str) -> None:
        print(text, end="", flush=True)
        if leaves:
            leave_without_reader()

    over = server.follow(job, write) if follow else server.wait(job)
    print(f"sweep {over.sweep}: job {over.id} {over.status}, exit code {over.code}")
    return over


def stop(
    name: Name,
    home: HomeOption = Path("sweeps"),
    address: JobsAddressOption = None,
) -> None:
    """Stop a running sweep in order, on this machine or on a cluster. `resume` or `submit` goes on where it was."""
    checked(name)
    server = job_server(address)
    if server is None:
        _stop_here(name, home)
        return
    job = server.newest(name)
    if job.is_over:
        print(f"sweep {name} does not run: job {job.id} {job.status}")
        return
    job = server.stop(job)
    print(f"stopped sweep {name}: job {job.id} {job.status}. Submitting it again goes on where it was.")


def _stop_here(name: str, home: Path) -> None:
    """Ask the driver of a sweep in this home to end, and wait for its end."""
    import socket

    from sweeper.ledger.home import Home

    folder = Home(home).known(name)
    driving = folder.driving
    elsewhere = option_of(home)
    if driving is None:
        print(f"sweep {name} does not run. Go on with it: sweeper resume {name}{elsewhere}")
        return
    if driving.get("host") != socket.gethostname() or not isinstance(pid := driving.get("pid"), int):
        raise SweepBusyError(f"sweep {name!r} is driven by {folder.driver}, which is not this machine. Stop it there.")
    limit = time.monotonic() + _STOP_PATIENCE_S
    os.kill(pid, signal.SIGTERM)  # the driver holds its file's lock, so the pid in the file is still its own
    while folder.driving == driving:
        if time.monotonic() > limit:
            raise SweepBusyError(
                f"the driver of sweep {name!r}, {folder.driver}, did not end within {_STOP_PATIENCE_S} s. "
                f"`kill -9 {pid}` ends it at once; nothing that was finished is lost."
            )
        time.sleep(0.1)
    print(f"stopped sweep {name}. Go on with it: sweeper resume {name}{elsewhere}")


def logs(
    name: Name,
    address: JobsAddressOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    number: Annotated[
        int | None, typer.Option("--job", metavar="N", help="Which of its jobs, from 1; default: the newest.")
    ] = None,
) -> None:
    """Print the log of a submitted sweep's driver."""
    server = _required(address)
    jobs = {job.number: job for job in server.jobs(checked(name))}
    job = server.newest(name) if number is None else jobs.get(number)
    if job is None:
        known = ", ".join(map(str, jobs)) or "none"
        raise QueryError(f"sweep {name!r} has no job {number} at {server.address}. Its jobs are: {known}.")
    if follow and not job.is_over:
        _waited(server, job, follow=True, leaves=True)
    else:
        print(server.log(job), end="")


def jobs_as_values(server: JobServer, name: str | None, tracking_uri: str | None) -> list[dict[str, Any]]:
    """Return the newest job of each sweep of a cluster as values for programs, with its trials."""
    from sweeper.driver.jobs.submission import live_state

    newest = {job.sweep: job for job in server.jobs(name)}
    if name is not None and not newest:
        server.newest(name)  # raises an error that names the known sweeps
    rows = []
    for job in newest.values():
        live = live_state(job, tracking_uri)
        rows.append({
            "name": job.sweep,
            "job": job.number,
            "id": job.id,
            "status": job.status,
            "exit_code": job.exit_code,
            "started_ms": job.started_ms,
            "ended_ms": job.ended_ms,
            "message": job.message,
            "trials": live.to_values()["total"] if live else None,
            "stage": str(live.stage) if live else None,
        })
    return rows
