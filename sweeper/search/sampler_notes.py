"""Carries the notes that a sampler leaves on a study and its trials, and must find again; never interprets them.

A genetic algorithm notes the generation of a trial, a sequence the trial's place in it. Optuna keeps such notes in
system attributes, whose names and content belong to each sampler. They are reached through documented methods of a
storage that is made here. If the installed Optuna lacks these methods, nothing is noted: a sampler then continues from
settings and values alone, with its generations formed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.study import StudyDirection

#: Prefix of Optuna's own notes on constraints, which are left out because Optuna gets constraints with the values.
_CONSTRAINTS = "constraints"


class NotedStudy:
    """A study in memory whose samplers' notes can be read and given back.

    Args:
        directions: One for each objective.
        sampler: Sampler that is asked.
    """

    def __init__(self, directions: Sequence[StudyDirection], sampler: optuna.samplers.BaseSampler) -> None:
        self._storage: Any = optuna.storages.InMemoryStorage()
        self.study = optuna.create_study(storage=self._storage, directions=directions, sampler=sampler)

    def go_on_from(self, note: Mapping[str, Any]) -> None:
        """Give the study the notes that it had when a trial was proposed."""
        for name, value in note.get("study", {}).items():
            try:
                self._storage.set_study_system_attr(self._id, name, value)
            except AttributeError:
                return

    def note_on(self, number: int) -> dict[str, Any]:
        """Return the notes made when a trial was proposed, as plain values without empty parts."""
        try:
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
            of_trial = self._storage.get_trial_system_attrs(trial_id)
            of_study = self._storage.get_study_system_attrs(self._id)
        except AttributeError:
            return {}
        noted = {name: value for name, value in of_trial.items() if not name.startswith(_CONSTRAINTS)}
        # The study's other notes are caches, which the genetic algorithms fill again.
        position = {name: value for name, value in of_study.items() if isinstance(value, int)}
        return {name: part for name, part in (("trial", noted), ("study", position)) if part}

    @property
    def _id(self) -> Any:
        return self._storage.get_study_id_from_name(self.study.study_name)


def attributes_of(note: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's notes, to be added to the study again with the trial."""
    return dict(note.get("trial", {}))
