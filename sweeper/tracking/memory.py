"""Keeps a sweep in this process, for tests and for sweeps without a tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sweeper.analysis.fronts import Front
from sweeper.analysis.trials import StoredTrials, read_aims, trials_table
from sweeper.errors import QueryError, UnknownSweepError
from sweeper.tracking.live import LiveState
from sweeper.tracking.reader import chosen_fronts
from sweeper.tracking.recorder import SweepFacts, checked_closing, probes_path, require_finished, shortened
from sweeper.trial import State, TrialRecord


class MemoryRecorder:
    """Keeps one sweep in this process; a `MemoryReader` reads it back.

    Args:
        network: Returns the file of a complete trial's network by the trial's key; None if there is none.
        probes: Returns the file of that network's answers under probes in the same way.
    """

    def __init__(
        self,
        network: Callable[[str], bytes | None] = lambda _: None,
        probes: Callable[[str], bytes | None] = lambda _: None,
    ) -> None:
        self._network, self._probes = network, probes
        self.probes: dict[str, bytes] = {}  # by path
        self.status = ""
        self.sweep: SweepFacts | None = None
        self.trials: dict[str, TrialRecord] = {}
        self.fronts: dict[str, Front] = {}
        self.networks: dict[str, bytes] = {}
        self._live: LiveState | None = None

    def open(self, sweep: SweepFacts) -> None:
        """Begin or continue a sweep."""
        self.sweep, self.status = sweep, "RUNNING"

    def record(self, trial: TrialRecord) -> None:
        """Keep a finished trial, unless its key is kept already with this attempt or a later one."""
        require_finished(trial)
        kept = self.trials.get(trial.key)
        if kept is None or kept.attempt < trial.attempt:
            self.trials[trial.key] = replace(trial, reason=shortened(trial.reason))
            if trial.state is State.COMPLETE and (data := self._probes(trial.key)) is not None:
                self.probes[probes_path(trial.key)] = data

    def record_front(self, front: Front) -> Front:
        """Keep a front under the next version, unless its content is that of the last one."""
        stored = self.fronts.get(front.key)
        if stored is None or not stored.same_content(front):
            stored = replace(front, version=1 if stored is None else stored.version + 1)
            self.fronts[front.key] = stored
        if not front.is_chosen:
            for key in stored.table["key"].to_pylist():
                if key not in self.networks and (data := self._network(key)) is not None:
                    self.networks[key] = data
        return stored

    def record_live(self, state: LiveState) -> None:
        """Keep the sweep's state."""
        self._live = state

    def live(self) -> LiveState | None:
        """Return the sweep's last state."""
        return self._live

    def close(self, state: str) -> None:
        """Note how the sweep ended."""
        self.status = checked_closing(state)


class MemoryNetworks:
    """The networks that a recorder keeps."""

    def __init__(self, networks: Mapping[str, bytes]) -> None:
        self._networks = networks

    @property
    def keys(self) -> list[str]:
        """Keys of the trials whose networks are kept, sorted."""
        return sorted(self._networks)

    def read(self, key: str) -> bytes | None:
        """Return the file of the network of a trial; None if none is kept."""
        return self._networks.get(key)


class MemoryReader:
    """Reads back what a recorder of this process keeps.

    Args:
        recorder: The recorder that keeps the sweep.
        sweep: Its name.
    """

    address = "memory"

    def __init__(self, recorder: MemoryRecorder, sweep: str) -> None:
        self._recorder, self._sweep = recorder, sweep

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return self._sweep

    def facts(self) -> dict[str, str]:
        """Return short texts about the sweep, by name."""
        return dict(self._known().facts)

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the kept fronts; see `Reader.fronts`."""
        self._known()
        kept = [front for _, front in sorted(self._recorder.fronts.items())]
        return chosen_fronts(kept, self._sweep, task, objectives)

    def trials(self) -> StoredTrials:
        """Return all finished trials as one table; see `Reader.trials`."""
        aims = read_aims(self._known().aims)
        return StoredTrials(self._sweep, trials_table(self._recorder.trials.values()), *aims)

    def live(self) -> LiveState:
        """Return the sweep's last state; see `Reader.live`."""
        self._known()
        if (state := self._recorder.live()) is None:
            raise QueryError(f"sweep {self._sweep!r} does not say how it stands: it has only just begun.")
        return state

    def networks(self) -> MemoryNetworks:
        """Return the kept networks."""
        self._known()
        return MemoryNetworks(self._recorder.networks)

    def artifact(self, path: str) -> bytes | None:
        """Return the spec, as written or as JSON, or a network's answers under probes; None for any other path."""
        known = self._known()
        spec = {"spec.yaml": known.spec_text.encode(), "spec_resolved.json": known.spec_json.encode()}
        return {**self._recorder.probes, **spec}.get(path)

    def _known(self) -> SweepFacts:
        kept = self._recorder.sweep
        if kept is None or kept.name != self._sweep:
            have = "none" if kept is None else kept.name
            raise UnknownSweepError(f"there is no sweep {self._sweep!r} in memory (known: {have}).")
        return kept
