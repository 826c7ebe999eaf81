"""Finds the network of a trial: in the home, or in MLflow if the trial ran on another machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sweeper import storage
from sweeper.credentials import redacted
from sweeper.errors import HomeError, NoNetworkError, QueryError, SweepError, TrackingError, UnknownSweepError
from sweeper.ledger.home import Home
from sweeper.ledger.open import read_ledger
from sweeper.tracking.trackers import reader_of
from sweeper.training import network_file
from sweeper.trial import State, TrialRecord

#: Added to an error if the user named no MLflow.
_ELSEWHERE = "Where the sweep ran on another machine, name MLflow with --tracking-uri and the sweep with --sweep."

#: Least number of characters of a key that a user must give; fewer may soon fit another trial too.
SHORTEST_KEY = 6


@dataclass(frozen=True)
class StoredNetwork:
    """The network of a complete trial.

    Attributes:
        path: Its file, which was read and checked.
    """

    key: str
    sweep: str
    path: Path


@dataclass(frozen=True)
class NetworkContent:
    """The content of a complete trial's network, from a home, MLflow or a file.

    Attributes:
        name: Its name in error messages.
        data: The whole content of its file, which was read and checked.
    """

    key: str
    sweep: str
    name: str
    data: bytes


def network_content(home: Home, key: str, sweep: str | None = None, tracking_uri: str | None = None) -> NetworkContent:
    """Find the network of a complete trial in a home, or else in MLflow, which stores the networks of fronts.

    Args:
        home, key, sweep: As for `find_network`.
        tracking_uri: Address of the MLflow to ask if the home has no such network; None asks the home alone.

    Raises:
        SweepError: As for `find_network`. If MLflow has no such network either, the error is of the class that the
            home raised.
        TrackingError: If MLflow cannot be reached, or its copy is damaged.
    """
    try:
        found = find_network(home, key, sweep)
        return NetworkContent(found.key, found.sweep, str(found.path), found.path.read_bytes())
    except (UnknownSweepError, NoNetworkError, HomeError) as missing:
        if tracking_uri is None and isinstance(missing, UnknownSweepError):
            raise type(missing)(f"{missing} {_ELSEWHERE}") from missing
        if tracking_uri is None:
            raise
        if sweep is None:
            searched = f"MLflow at {redacted(tracking_uri)}"
            raise type(missing)(f"{missing} Or name its sweep with --sweep, to look in {searched}.") from missing
        return _mirrored(key, sweep, tracking_uri, missing)


def _mirrored(key: str, sweep: str, tracking_uri: str, missing: SweepError) -> NetworkContent:
    """Find in MLflow the network of a trial that is or was on a front; else raise `missing` with more words."""
    searched = f"MLflow at {redacted(tracking_uri)}"
    stored = reader_of(tracking_uri, sweep).networks()
    chosen = [one for one in stored.keys if one.startswith(key)]
    if len(chosen) > 1:
        raise QueryError(_several(key, chosen, f"sweep {sweep!r} in {searched}")) from missing
    data = stored.read(chosen[0]) if chosen else None
    if data is None:
        raise type(missing)(
            f"{missing} {searched} has not got it either: of sweep {sweep!r} it has {len(stored.keys)} networks, those "
            f"that are or were on a front. `sweeper pareto {sweep} --tracking-uri URI` shows their keys."
        ) from missing
    name = f"the network of trial {chosen[0]} in {searched}"
    if problem := network_file.content_problem(data, chosen[0]):
        raise TrackingError(
            f"{name} cannot be used: it {problem}. Store it again with `sweeper mirror {sweep}` where it ran."
        )
    return NetworkContent(chosen[0], sweep, name, data)


def find_network(home: Home, key: str, sweep: str | None = None) -> StoredNetwork:
    """Find the network of a complete trial.

    Args:
        home: The home that holds the sweeps.
        key: The trial's key, or its beginning.
        sweep: Name of its sweep; None for every sweep of the home.

    Raises:
        QueryError: If the key is too short, is the name of a sweep, or fits several trials.
        UnknownSweepError: If there is no such sweep or trial.
        NoNetworkError: If the trial is not complete, or its file is missing.
        HomeError: If the home cannot be read, or the file is damaged.
    """
    if len(key) < SHORTEST_KEY:
        _refuse_sweep(key, home.sweeps())
        raise QueryError(f"a trial is named by at least {SHORTEST_KEY} characters of its key, but got {key!r}.")
    names = home.sweeps() if sweep is None else [home.known(sweep).name]
    searched = f"{home.root} (sweeps looked through: {', '.join(names) or 'none'})"
    record = _chosen(_matches(home, key, names), key, searched, home.sweeps())
    if record.state is not State.COMPLETE:
        raise NoNetworkError(_incomplete(record))
    trial = f"trial {record.key} of sweep {record.sweep!r}"
    again = "A finished trial never runs again: to train it anew, run its spec under another --name."
    if record.own_units is not None:
        raise NoNetworkError(f"{trial} is one of a user's own function, which leaves no network of ours.")
    folder = home.sweep(record.sweep)
    path, location = folder.network_here(record.key), folder.network(record.key)
    problem = network_file.network_problem(path, record.key)
    if problem and folder.has_files_elsewhere and _is_fetched(location, path, trial):
        problem = network_file.network_problem(path, record.key)
    if not path.exists():
        raise NoNetworkError(
            f"the network of {trial} is not at {storage.without_credentials(location)}: it was removed, or could not "
            "be written when the trial ended. MLflow has it if it was on a front: name --tracking-uri and --sweep. "
            f"{again}"
        )
    if problem:
        raise HomeError(f"the network of {trial} cannot be used: {path} {problem}. Restore it from a copy. {again}")
    return StoredNetwork(record.key, record.sweep, path)


def _is_fetched(location: str, path: Path, trial: str) -> bool:
    """Copy a network from its storage to this machine, for good: a finished trial never changes. False if none."""
    try:
        data = storage.read_bytes(location)
        if data is not None:
            storage.write_bytes(str(path), data)
    except OSError as error:
        raise HomeError(
            f"the network of {trial} cannot be copied from {storage.without_credentials(location)} to {path}: "
            f"{error.strerror or error}. Name where networks are kept, with what is needed to reach it, with --storage."
        ) from error
    return data is not None


def _matches(home: Home, key: str, names: Sequence[str]) -> list[TrialRecord]:
    found: list[TrialRecord] = []
    unread: list[HomeError] = []
    for name in names:
        try:
            with closing(read_ledger(home.sweep(name))) as ledger:
                records = ledger.records()
        except HomeError as error:
            unread.append(error)  # the trial may be in another sweep
        else:
            found.extend(record for record in records if record.key.startswith(key))
    if unread and not found:
        raise unread[0]
    return found


def _chosen(matches: Sequence[TrialRecord], key: str, searched: str, sweeps: Sequence[str]) -> TrialRecord:
    """Return the trial that a key means; if several sweeps have it, the one that is complete."""
    keys = sorted({record.key for record in matches})
    if not keys:
        _refuse_sweep(key, sweeps)
        raise UnknownSweepError(
            f"no trial has a key that begins with {key!r} in the home {searched}. "
            "`sweeper pareto NAME` shows keys; --home or SWEEPER_HOME names another home."
        )
    if len(keys) > 1:
        raise QueryError(_several(key, keys, searched))
    complete = [record for record in matches if record.state is State.COMPLETE]
    if len(complete) > 1:
        sweeps = ", ".join(record.sweep for record in complete)
        raise QueryError(f"trial {keys[0]} is complete in several sweeps ({sweeps}). Choose one with --sweep.")
    return (complete or matches)[0]


def _refuse_sweep(key: str, sweeps: Sequence[str]) -> None:
    """Refuse the name of a sweep in place of a key."""
    if key in sweeps:
        raise QueryError(
            f"{key!r} is a sweep, and what is wanted is the key of one of its trials. "
            f"`sweeper pareto {key}` and `sweeper trials {key}` list keys."
        )


def _several(key: str, keys: Sequence[str], searched: str) -> str:
    shown = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    return f"{key!r} begins the keys of {len(keys)} trials ({shown}) in {searched}. Give more of the key."


def _incomplete(record: TrialRecord) -> str:
    trial = f"trial {record.key} of sweep {record.sweep!r}"
    if not record.state.is_finished:
        return (
            f"{trial} has not ended yet, so it has no network. Watch it with `sweeper status {record.sweep}`, "
            f"or continue it with `sweeper resume {record.sweep}`."
        )
    reason = record.reason.strip().splitlines()[-1:] or ["no reason is known"]
    return (
        f"{trial} ended as {record.outcome} and left no network: {reason[0]}. "
        f"`sweeper pareto {record.sweep}` shows trials that are complete."
    )
