"""What a sweep trains, as its driver needs it: lattices, or a user's own function. Two kinds, one interface."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.errors import SpecError, SpecMismatchError
from sweeper.execution.contract import Work
from sweeper.execution.resources import ONE_CPU, Machines, Request, Shared
from sweeper.isolated import ask
from sweeper.job import Job
from sweeper.provenance import software
from sweeper.spec import FunctionSetting, FunctionSweep, LatticeSweep, LoadedSpec
from sweeper.training.heavy import HEAVY
from sweeper.training.own_work import CALLED, FunctionWork

if TYPE_CHECKING:  # they load torch: whoever only looks at a sweep does without
    from sweeper.driver.needs import Needs

#: Facts of a sweep that hold what its function's code was: hashes of its files, and where they were.
CODE, CODE_FOLDER = "code.files", "code.folder"

#: A first epoch that takes longer is not waited for.
_EPOCH_PATIENCE_S = 600.0
_IMPORT_PATIENCE_S = 120.0


class Subject(Protocol):
    """What a sweep trains."""

    @property
    def modules(self) -> Sequence[str]:
        """What its training imports, and takes seconds."""

    def work(self) -> Work:
        """Return what a job is worked on with."""

    def look(self) -> Mapping[str, str]:
        """Look at what training needs, before anything is written; what cannot work is refused.

        Returns:
            What is noted of the sweep: hashes of data or code, by name.

        Raises:
            SpecError: If something is missing or does not fit.
        """

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find there."""

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return what its populations need; after `look`."""

    def given(self, job: Job) -> Job:
        """Return a job with all that its work needs."""


def subject_of(loaded: LoadedSpec, facts: Mapping[str, str] | None = None) -> Subject:
    """Return what a spec has trained.

    Args:
        loaded: The spec.
        facts: What was noted of the sweep when it was planned.
    """
    if isinstance(loaded.spec, FunctionSweep):
        return FunctionSubject(loaded, loaded.spec, facts or {})
    if isinstance(loaded.spec, LatticeSweep):
        return LatticeSubject(loaded.spec)
    raise TypeError(f"a spec is of lattices or of a function, not {type(loaded.spec).__name__}")


class LatticeSubject:
    """Lattices on images."""

    modules = HEAVY

    def __init__(self, spec: LatticeSweep) -> None:
        self._spec = spec
        self._tasks: Mapping[str, Any] = {}

    def work(self) -> Work:
        """Return the training of networks side by side."""
        from sweeper.training.train import train_population

        return train_population

    def look(self) -> Mapping[str, str]:
        """Load every task and build every window once."""
        from sweeper.training import forecast

        self._tasks = forecast.check(self._spec.corners())
        return {f"data.{label}": task.fingerprint for label, task in self._tasks.items()}

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find there: the images, and this project."""
        from sweeper.training import forecast, train

        return Shared(folder, forecast.files(self._spec.corners()), software(), (train.__name__,))

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return what populations of networks need."""
        from sweeper.driver.needs import needs

        return needs(self._spec, self._tasks, machines, workers, planned)

    def given(self, job: Job) -> Job:
        """Return the job: it has all that is needed."""
        return job


class FunctionSubject:
    """A user's own function."""

    modules = ("torch", "pydantic")

    def __init__(self, loaded: LoadedSpec, spec: FunctionSweep, facts: Mapping[str, str]) -> None:
        self._spec, self._folder, self._facts = spec, loaded.folder, facts
        #: What the first epoch took; empty before `look`.
        self.first: Mapping[str, Any] = {}

    def work(self) -> Work:
        """Return the call of the function."""
        return FunctionWork()

    def look(self) -> Mapping[str, str]:
        """Compare the code with what was planned, and call the function for one epoch."""
        found = self._asked("function", json.dumps({"source": self._spec.train, "folder": self._folder}))
        if problem := found.get("problem"):
            raise SpecError(f"{problem}. Bring it back, or start a new sweep with --name.")
        self._refuse_other_code(found["files"])
        if self._spec.early_stopping is not None and not found["takes_trial"]:
            raise SpecError(
                f"early_stopping must be left out: {self._spec.train} takes no argument `trial`, so that it can "
                "neither pause nor go on. Give it one, and call trial.report(state=…) after each epoch."
            )
        self.first = self._first_epoch()
        return {CODE: json.dumps(found["files"], sort_keys=True), CODE_FOLDER: self._folder}

    def _refuse_other_code(self, files: Mapping[str, str]) -> None:
        planned = json.loads(self._facts.get(CODE, "null"))
        if planned is None or planned == files:
            return
        changed = sorted(name for name in planned.keys() | files.keys() if planned.get(name) != files.get(name))
        raise SpecMismatchError(
            f"the code of {self._spec.train} is not what this sweep was planned with: {', '.join(changed)} changed. "
            "Bring it back, or start a new sweep with --name: trials of two codes are not comparable."
        )

    def _first_epoch(self) -> Mapping[str, Any]:
        """Call the function once, with its first setting, and stop it after its first report."""
        first = self._spec.cells()[0]
        job = Job("first", first.task_label, (first.key,), (first.flat(),), (True,), until=1)
        found = self._asked("epoch", json.dumps(asdict(self.given(job))))
        if problem := found.get("problem"):
            raise SpecError(
                f"{self._spec.train} could not be called for one epoch: {problem}. Nothing was planned. Mend it, and "
                "run the sweep again."
            )
        if found["has_ended"] and found["outcome"] != "complete":
            raise SpecError(
                f"{self._spec.train} was called for one epoch with {_told(first)}, and that ended {found['outcome']}: "
                f"{found['reason'].strip()}\nNothing was planned. Mend it, and run the sweep again."
            )
        missing = [one.name for one in self._spec.objectives if one.name not in found["measures"]]
        if missing:
            raise SpecError(
                f"{self._spec.train} must measure what is optimised, but its first epoch did not measure "
                f"{', '.join(missing)} (it measured: {', '.join(found['measures']) or 'nothing'}). Report it, or take "
                "it out of `objectives`."
            )
        if self._spec.early_stopping is not None and not found["has_state"] and not found["has_ended"]:
            raise SpecError(
                f"early_stopping must be left out: {self._spec.train} reports no state, so that it cannot go on after "
                "a pause. Call trial.report(state=…)."
            )
        return found

    def _asked(self, question: str, given: str) -> dict[str, Any]:
        patience = _EPOCH_PATIENCE_S if question == "epoch" else _IMPORT_PATIENCE_S
        answers = ask([question], patience, {"CUDA_VISIBLE_DEVICES": ""}, given)
        first = answers[0] if answers else "it said nothing"
        return first if isinstance(first, dict) else {"problem": str(first)}

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find there: the function's files, and this project."""
        planned = json.loads(self._facts.get(CODE, "{}"))
        files = [path for name in planned if (path := Path(self._folder, name)).is_file()]
        return Shared(folder, {str(path): path.stat().st_size for path in files}, software(), (CALLED,))

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return what a call needs."""
        from sweeper.driver.needs import Needs, asked_of, this_machine

        here = machines or Machines([this_machine()])
        request: Request = asked_of(self._spec, here) if self.first else ONE_CPU
        if here.is_cluster and self._spec.placement.memory_mib == "auto" and self.first:
            request = replace(request, memory_bytes=int(1.25 * self.first["memory_bytes"]) + 128 * 2**20)
        here.refuse_what_never_fits(request)
        here.refuse_problems(request)
        return Needs(1, request, here.at_once(request))

    def given(self, job: Job) -> Job:
        """Return a job with where the code is, and what it may measure."""
        return replace(
            job,
            networks=(),
            own_folder=self._folder,
            measures=dict(self._spec.measures),
            cpus=self._spec.placement.cpus,
        )


def _told(setting: object) -> str:
    if not isinstance(setting, FunctionSetting):
        return "its first setting"
    return ", ".join(f"{name}={value}" for name, value in setting.arguments.items()) or "no arguments"
