"""What Python offers: the command line's own ways, with the same checks; what it exits with is raised here.

`import sweeper` loads none of this before it is used.
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

if TYPE_CHECKING:  # what is heavy is imported where it is used
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
    """Run a sweep here or on a Ray cluster, as `sweeper run` does. One that exists with the same spec is continued.

    Args:
        spec: Path of a YAML file, name of a shipped space, or a mapping that is the YAML.
        name: Name of the sweep; None for the spec's own.
        home: Folder that holds sweeps; None for `SWEEPER_HOME`, or `sweeps`.
        workers: Populations trained at a time; None for one per CPU that this process may use.
        tracking_uri: Where MLflow is; None for `MLFLOW_TRACKING_URI`, where the sweep was last mirrored, or the home.
        storage: Where checkpoints and networks are; None for `SWEEPER_STORAGE`, where the sweep's are, or the home.
        ledger: A PostgreSQL database for the ledger; None for `SWEEPER_LEDGER`, where the sweep's is, or the home.
        address: A running Ray cluster, `HOST:PORT` or `auto`; None for `RAY_ADDRESS`, or one that is started here.
        takes_on: Whether to go on with a sweep of this spec that another home has planned in a shared ledger.
        executor: Where populations are trained, in place of Ray.
        recorder: Where outcomes are mirrored, in place of MLflow.
        progress: Whether to show on the error output how it goes.

    Returns:
        How the sweep stands: its counts, and the front of each task.

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
        again: How trials ended that are tried again, such as `["lost", "failed"]`; never `complete` or `pruned`.
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
    """Say what a sweep would need, as `sweeper plan` does. Starts nothing and writes nothing.

    Args:
        spec: As for `run`.
        workers: Populations trained at a time; None for one per CPU that this process may use.

    Raises:
        SpecError: With every problem of the spec.
    """
    from sweeper.spec import load_spec

    loaded = load_spec(spec)  # before what is heavy: a mistake is said at once
    from sweeper.driver.estimate import estimate

    return estimate(loaded, _checked(workers) or read_limits().workers)


def load_sweep(name: str, tracking_uri: str | None = None, home: str | Path | None = None) -> LoadedSweep:
    """Return a stored sweep: its fronts, points and trials as Arrow tables, from MLflow alone.

    Nothing is written, and nothing is read before it is asked for.

    Args:
        name: Name of the sweep.
        tracking_uri: Where MLflow is, such as `http://mlflow.example:5000` or `sqlite:///mlflow.db`. None: as
            `MLFLOW_TRACKING_URI` says, where the sweep was last mirrored, as its home says, or a database in the home.
        home: Folder that holds sweeps; of no account where a tracking URI is named. None: as `SWEEPER_HOME` says, or
            `sweeps`. The file of an archive is read alone, whatever is named.

    Raises:
        TrackingError: If the sweep was mirrored to an address with a password, which is not kept.
        HomeError: If the home has a path that database addresses cannot hold.

    Example:
        >>> load_sweep("first").front("digits-10", where=["accuracy >= 0.9"]).to_pandas()  # doctest: +SKIP
    """
    from sweeper.results.loaded_sweep import load

    return load(name, _home(home, reads=True).tracking_uri_of(name, _tracking(tracking_uri)))


def load_network(path: str | Path) -> Network:
    """Return a trained network from the file that `sweeper export` wrote; called with images it answers.

    Args:
        path: A `.safetensors` file.

    Raises:
        NetworkFileError: If it cannot be read, is damaged, or is no network of a sweep.

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
    """Return what a network does with each image of a file, as `sweeper steps` does.

    Args:
        network: Key of a complete trial, or its beginning; a `.safetensors` file; or what `load_network` returned.
        images: A Parquet file of images of the size that the network takes. Its other columns are carried through.
        lesion: Parts to take out before, such as `lateral,top-down`.
        all_steps: Whether to return a row for each image and step.
        home, storage, ledger: As for `run`; of account for a key alone. The home may be an archive.
        sweep: Name of the trial's sweep; None looks in all of the home.
        tracking_uri: Where MLflow is, to read a network of a front from that is not in the home; takes `sweep`.

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
    """Return a spec, checked, from a YAML file, a shipped space or a mapping that is the YAML.

    Args:
        source: As for `run`.
        name: Takes the place of the name in it.

    Raises:
        SpecError: With every problem of the spec, a line each.
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
    """Run a sweep, and raise what the command line would exit with."""
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
