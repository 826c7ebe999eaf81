"""The Python interface: the same functions and checks as the command line, with exceptions in place of exit codes.

`import sweeper` does not load this module before it is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.cli import environment
from sweeper.cli.options import WRONG_WORKERS, home_to_read
from sweeper.errors import SpecError, SweepInterruptedError, TrialsFailedError
from sweeper.limits import read_limits

if TYPE_CHECKING:  # functions import slow modules when they need them
    from sweeper.driver.driver import Summary
    from sweeper.driver.estimate import Estimate
    from sweeper.driver.sweep import Sweep
    from sweeper.execution.contract import Executor
    from sweeper.ledger.home import Home
    from sweeper.model import Network
    from sweeper.results.answers import ArrowTable
    from sweeper.results.loaded_sweep import LoadedSweep
    from sweeper.spec import LoadedSpec
    from sweeper.tracking.recorder import Recorder

Source = str | Path | Mapping[str, object]


def run(
    spec: Source,
    *,
    name: str | None = None,
    home: str | Path | None = None,
    workers: int | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    ledger: str | None = None,
    address: str | None = None,
    takes_on: bool = False,
    executor: Executor | None = None,
    recorder: Recorder | None = None,
    progress: bool = True,
) -> Summary:
    """Run a sweep here or on a Ray cluster, as `sweeper run` does. An existing sweep of the same spec is continued.

    Args:
        spec: Path of a YAML file, name of a shipped space, or a mapping that is the YAML.
        name: Name of the sweep; None for the spec's own.
        home: Folder that holds sweeps; None for `SWEEPER_HOME`, or `sweeps`.
        workers: Number of populations trained at a time; None for one per CPU that this process may use.
        tracking_uri: Address of MLflow; None for `MLFLOW_TRACKING_URI`, the sweep's last address, or the home.
        storage: Folder or URI for checkpoints and networks; None for `SWEEPER_STORAGE`, the sweep's present one, or the
            home.
        ledger: A PostgreSQL database for the ledger; None for `SWEEPER_LEDGER`, the sweep's present one, or the home.
        address: A running Ray cluster, `HOST:PORT` or `auto`; None for `RAY_ADDRESS`, or one that is started here.
        takes_on: Whether to continue a sweep of this spec that another home has planned in a shared ledger.
        executor: Executor that trains populations, in place of Ray.
        recorder: Recorder that mirrors outcomes, in place of MLflow.
        progress: Whether to show the progress on the error output.

    Returns:
        The summary of the sweep: its counts, and the front of each task.

    Raises:
        SweepError: For everything that the command line refuses with exit code 2.
        TrialsFailedError: If every trial has an outcome and some have failed.
        SweepInterruptedError: If trials are left without an outcome.
        KeyboardInterrupt: If a second Ctrl-C asked to end at once.

    Example:
        >>> summary = run("quickstart", workers=2)  # doctest: +SKIP
        >>> summary.fronts[0].table.to_pandas()  # doctest: +SKIP
    """
    from sweeper.spec import load_spec

    loaded = load_spec(spec, name=name)
    from sweeper.driver.sweep import Sweep

    at = _home(home, storage, ledger)
    sweep = Sweep(loaded.spec.name, at.root, _tracking(tracking_uri), at.storage, at.ledger_url)
    options = {"takes_on": takes_on, "recorder": recorder}
    return _ended(sweep, loaded, workers, address, executor, progress, options)


def resume(
    name: str,
    *,
    again: Sequence[str] = (),
    home: str | Path | None = None,
    workers: int | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    ledger: str | None = None,
    address: str | None = None,
    executor: Executor | None = None,
    recorder: Recorder | None = None,
    progress: bool = True,
) -> Summary:
    """Continue a sweep, as `sweeper resume` does. Finished trials are not run again.

    Args:
        name: Name of the sweep.
        again: Outcomes after which trials are tried again, such as `["lost", "failed"]`; never `complete` or `pruned`.
        home, workers, tracking_uri, storage, ledger, address, executor, recorder, progress: As for `run`.

    Returns:
        As `run` does.

    Raises:
        UnknownSweepError: If the home has no sweep of that name.
        SweepError, TrialsFailedError, SweepInterruptedError, KeyboardInterrupt: As `run` does.
    """
    from sweeper.cli.options import known_sweep

    sweep = known_sweep(name, _home(home, storage, ledger), _tracking(tracking_uri))
    return _ended(sweep, None, workers, address, executor, progress, {"recorder": recorder, "again": again})


def plan(spec: Source, *, workers: int | None = None) -> Estimate:
    """Estimate what a sweep would need, as `sweeper plan` does. Starts nothing and writes nothing.

    Args:
        spec: As for `run`.
        workers: Number of populations trained at a time; None for one per CPU that this process may use.

    Raises:
        SpecError: If the spec is wrong; lists every problem.
    """
    from sweeper.spec import load_spec

    loaded = load_spec(spec)  # before the slow import below, so that a mistake shows at once
    from sweeper.driver.estimate import estimate

    return estimate(loaded, _checked(workers) or read_limits().workers)


def load_sweep(name: str, tracking_uri: str | None = None, home: str | Path | None = None) -> LoadedSweep:
    """Return a stored sweep: its fronts, points and trials as Arrow tables, from MLflow alone.

    Nothing is written, and nothing is read before it is asked for.

    Args:
        name: Name of the sweep.
        tracking_uri: Address of MLflow, such as `http://mlflow.example:5000` or `sqlite:///mlflow.db`. None for
            `MLFLOW_TRACKING_URI`, the sweep's last address as noted in its home, or a database in the home.
        home: Folder that holds sweeps; ignored if a tracking URI is named. None for `SWEEPER_HOME`, or `sweeps`. It may
            be the file of an archive, which is then the only source, whatever tracking URI is named.

    Raises:
        TrackingError: If the sweep was mirrored to an address with a password, which is not kept.
        HomeError: If the home has a path that database addresses cannot hold.

    Example:
        >>> load_sweep("first").front("digits-10", where=["accuracy >= 0.9"]).to_pandas()  # doctest: +SKIP
    """
    from sweeper.results.loaded_sweep import load

    return load(name, _home(home, reads=True).tracking_uri_of(name, _tracking(tracking_uri)))


def load_network(path: str | Path) -> Network:
    """Return a trained network from a file that `sweeper export` wrote; the network can be called with images.

    Args:
        path: A `.safetensors` file.

    Raises:
        NetworkFileError: If the file cannot be read, is damaged, or holds no network of a sweep.

    Example:
        >>> load_network("best.safetensors").description["measurement"]["accuracy"]  # doctest: +SKIP
        0.9578
    """
    from sweeper import model

    return model.load(Path(path))


def steps(
    network: str | Path | Network,
    images: str | Path,
    *,
    lesion: str | None = None,
    all_steps: bool = False,
    home: str | Path | None = None,
    sweep: str | None = None,
    storage: str | None = None,
    ledger: str | None = None,
    tracking_uri: str | None = None,
) -> ArrowTable:
    """Return the responses of a network to the images of a file, as `sweeper steps` does.

    Args:
        network: Key of a complete trial, or its beginning; a `.safetensors` file; or a network from `load_network`.
        images: A Parquet file of images of the size that the network takes. Its other columns are carried through.
        lesion: Parts to remove first, such as `lateral,top-down`.
        all_steps: Whether to return a row for each image and step.
        home, storage, ledger: As for `run`; used only with a key. The home may be an archive.
        sweep: Name of the trial's sweep; None searches all sweeps of the home.
        tracking_uri: Address of MLflow, to read a network of a front that is not in the home; requires `sweep`.

    Returns:
        An Arrow table with a row for each image; columns as in docs/reference/columns.md.

    Raises:
        QueryError: If the images cannot be shown to the network, or it has no such part.
        SweepError: If the network cannot be found.

    Example:
        >>> steps("best.safetensors", "stimuli.parquet").to_pandas()  # doctest: +SKIP
    """
    from sweeper.cli.networks import found_network
    from sweeper.results.answers import answers_by, answers_of

    if not isinstance(network, str | Path):
        name = f"trial {network.description.get('key', 'without a key')}"
        return answers_by(network, name, Path(images), lesion, by_step=all_steps).table
    at = _home(home, storage, ledger, reads=True)
    found = found_network(str(network), at, sweep, _tracking(tracking_uri))
    return answers_of(found, Path(images), lesion, by_step=all_steps).table


def load_spec(source: Source, *, name: str | None = None) -> LoadedSpec:
    """Return a checked spec from a YAML file, a shipped space or a mapping that is the YAML.

    Args:
        source: As for `run`.
        name: Replaces the name in the spec.

    Raises:
        SpecError: If the spec is wrong; lists every problem on its own line.
    """
    from sweeper.spec import load_spec as loaded

    return loaded(source, name=name)


def _home(
    home: str | Path | None, storage: str | None = None, ledger: str | None = None, *, reads: bool = False
) -> Home:
    from sweeper.ledger.home import Home

    root = environment.named(None if home is None else os.fspath(home), environment.HOME)
    place = root or environment.DEFAULT_HOME
    return Home(
        home_to_read(place) if reads else Path(place),
        environment.named(storage, environment.STORAGE),
        environment.named(ledger, environment.LEDGER),
    )


def _tracking(tracking_uri: str | None) -> str | None:
    return environment.named(tracking_uri, environment.TRACKING_URI)


def _checked(workers: int | None) -> int | None:
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise SpecError(WRONG_WORKERS.format(workers))
    return workers


def _ended(
    sweep: Sweep,
    loaded: LoadedSpec | None,
    workers: int | None,
    address: str | None,
    executor: Executor | None,
    progress: bool,
    options: Mapping[str, Any],
) -> Summary:
    """Run a sweep, and raise an exception where the command line would exit with an error code."""
    from sweeper.cli.session import run_session

    session = run_session(
        sweep,
        loaded,
        _checked(workers),
        environment.named(address, environment.ADDRESS),
        executor=executor,
        shows_progress=progress,
        **options,
    )
    summary = session.summary
    if not summary.is_finished:
        left = summary.counts.waiting + summary.counts.running
        raise SweepInterruptedError(
            f"sweep {summary.name!r} was interrupted: {left} of {summary.counts.planned} trials have no outcome yet. "
            f"Continue it with sweeper.resume({summary.name!r}), or `sweeper resume {summary.name}`.",
            summary,
        )
    summary.require_mirrored()
    if failed := summary.counts.failed:
        raise TrialsFailedError(
            f"sweep {summary.name!r} has ended, but {failed} of {summary.counts.planned} trials have failed. "
            f"`sweeper trials {summary.name}` says why; what is complete is in this error's summary.",
            summary,
        )
    return summary
