"""The rungs of a sweep with early stopping: which trials have reached a rung, and which of them continue."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sweeper.measurements import Goal, Objective
from sweeper.search.cells import means
from sweeper.search.halving import goes_on
from sweeper.spec import SweepSpec, setting_of
from sweeper.trial import State, TrialRecord


class Rungs:
    """Decides which trials of a sweep continue from a rung. Without early stopping there is no rung.

    Args:
        spec: Spec of the sweep.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._spec, self._rule, search = spec, spec.early_stopping, spec.search
        self._bounds = search.subject_to if search else ()
        self._objectives: Sequence[Objective] = spec.objectives
        if search and search.single:
            self._objectives = (Objective(search.single, Goal.MAXIMIZE if search.maximize else Goal.MINIMIZE),)

    def next_rung(self, members: Sequence[TrialRecord]) -> int | None:
        """Return the rounds after which a population pauses next; None if it is trained to the end."""
        going = [record for record in members if not record.state.is_finished]
        if self._rule is None or not going:
            return None
        rounds = setting_of(going[0].setting).rounds
        left = [rung for rung in self._rule.rungs(rounds) if any(rung not in record.rungs for record in going)]
        return left[0] if left else None

    def going_on(self, newcomers: Sequence[TrialRecord], epoch: int, records: Iterable[TrialRecord]) -> Collection[str]:
        """Return the keys of the newcomers that continue from a rung.

        Replicates of a setting are judged once and together, by their means; later replicates follow that verdict.

        Args:
            newcomers: Trials that have just reached the rung.
            epoch: Epoch of the rung.
            records: Every trial of the sweep.
        """
        if self._rule is None or not newcomers:
            return {record.key for record in newcomers}
        arena = self._arena(newcomers[0])
        here: dict[str, list[TrialRecord]] = {}
        for record in records:
            if epoch in record.rungs and self._arena(record) == arena:
                here.setdefault(record.setting_key, []).append(record)
        measured = {key: means([record.rungs[epoch] for record in its]) for key, its in here.items()}
        new, going = {record.key for record in newcomers}, set()
        for setting in {record.setting_key for record in newcomers}:
            earlier = [record for record in here[setting] if record.key not in new]
            if self._verdict(setting, epoch, earlier, measured):
                going |= {record.key for record in newcomers if record.setting_key == setting}
        return going

    def _verdict(
        self,
        setting: str,
        epoch: int,
        earlier: Sequence[TrialRecord],
        measured: Mapping[str, Mapping[str, float]],
    ) -> bool:
        if earlier:  # other replicates of the setting were judged before
            return not any(record.state is State.PRUNED and max(record.rungs) == epoch for record in earlier)
        others = [measurement for key, measurement in measured.items() if key != setting]
        factor = self._rule.factor if self._rule else 1
        return goes_on(measured[setting], others, self._objectives, self._bounds, factor)

    def _arena(self, record: TrialRecord) -> str:
        """Return the group within which a trial is compared: its cell in a search, its task in a plain grid."""
        return self._spec.cell_at(record.axes) if self._spec.search else record.task
