"""The two kinds of subjects that a sweep trains, lattices or a user's own function, behind one interface."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper import own_code
from sweeper.driver import own_parts
from sweeper.driver.own_parts import OwnParts
from sweeper.errors import SpecError, SpecMismatchError
from sweeper.execution.contract import Work
from sweeper.execution.resources import Machines, Request, Shared, SharedCode
from sweeper.isolated import NO_ANSWER, ask
from sweeper.job import Job
from sweeper.ledger.reading import LedgerReader
from sweeper.provenance import software
from sweeper.spec import FunctionSetting, FunctionSweep, LatticeSweep, LoadedSpec
from sweeper.training.heavy import HEAVY
from sweeper.training.own_work import CALLED, FunctionWork

if TYPE_CHECKING:  # this loads torch, which commands that only look at a sweep do not need
    from sweeper.driver.needs import Needs

#: Longest wait for a first epoch, in seconds; after that the sweep begins without knowing an epoch's costs.
FIRST_EPOCH_PATIENCE_S = 120.0
_IMPORT_PATIENCE_S = 120.0


class Subject(Protocol):
    """The subject that a sweep trains."""

    @property
    def modules(self) -> Sequence[str]:
        """Modules that the training imports and that take seconds to load."""

    def work(self) -> Work:
        """Return the function that works on a job."""

    def look(self) -> Mapping[str, str]:
        """Check everything that training needs, before anything is written.

        Returns:
            Facts to note of the sweep: hashes of data or code, by name.

        Raises:
            SpecError: If something is missing or does not fit.
        """

    @property
    def changes(self) -> Sequence[str]:
        """Sentences on accepted differences from the plan; call `look` first."""

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find in the shared folder and on itself."""

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return the needs of its populations; call `look` first."""

    def given(self, job: Job) -> Job:
        """Return a job completed by everything that its work needs."""


def subject_of(loaded: LoadedSpec, planned: LedgerReader | None = None, *, takes_new_code: bool = False) -> Subject:
    """Return the subject of a spec.

    Args:
        loaded: The spec.
        planned: The sweep's ledger, if the sweep was planned.
        takes_new_code: Whether to continue under code of the user's that has changed since.
    """
    if isinstance(loaded.spec, FunctionSweep):
        facts, code = (planned.facts, planned.code) if planned else (None, None)
        return FunctionSubject(loaded, loaded.spec, facts, code, takes_new_code)
    if isinstance(loaded.spec, LatticeSweep):
        return LatticeSubject(loaded, loaded.spec, planned.code if planned else None, takes_new_code)
    raise TypeError(f"a spec is of lattices or of a function, not {type(loaded.spec).__name__}")


class LatticeSubject:
    """Lattices on images."""

    modules = HEAVY

    def __init__(
        self,
        loaded: LoadedSpec,
        spec: LatticeSweep,
        planned: Mapping[str, str] | None = None,
        takes_new_code: bool = False,
    ) -> None:
        self._loaded, self._spec = loaded, spec
        self._planned, self._takes_new_code = dict(planned or {}), takes_new_code
        #: Facts about the tasks, and about the user's own code; empty before `look`.
        self.tasks: Mapping[str, Any] = {}
        self.own = OwnParts()

    def work(self) -> Work:
        """Return the function that trains networks side by side."""
        from sweeper.training.train import train_population

        return train_population

    def look(self) -> Mapping[str, str]:
        """Load every task and build every window once, and try the user's own functions."""
        from sweeper.training import forecast
        from sweeper.training.forecast import TaskFacts

        # Images that a user's function makes are checked in the process that runs it, not here.
        self.tasks = {} if self._spec.has_own_images else forecast.check(self._spec.corners())
        self.own = own_parts.look(self._loaded, self._spec, self._refuse_other_code)
        self.tasks = self.tasks or {label: TaskFacts.from_values(one) for label, one in self.own.tasks.items()}
        facts = {f"data.{label}": task.fingerprint for label, task in self.tasks.items()}
        if self._spec.own_sources:
            facts |= {own_code.FILES: own_code.fact_of(self.own.files), own_code.FOLDER: self._loaded.folder}
        return facts

    def _refuse_other_code(self, files: Mapping[str, str]) -> None:
        if not self._takes_new_code:
            _refuse(self._planned, files, ", ".join(self._spec.own_sources), self._loaded.folder)

    @property
    def changes(self) -> Sequence[str]:
        """A sentence on changed files of the user's own code, if they are accepted."""
        return _said_of(self._planned, self.own.files)

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find there: the images, the user's own code, and this project."""
        from sweeper.training import forecast, train

        code = [path for name in self.own.files if (path := Path(self._loaded.folder, name)).is_file()]
        files = forecast.files(self._spec.corners()) | {str(path): path.stat().st_size for path in code}
        return Shared(folder, files, software(), (train.__name__,))

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return the needs of populations of networks."""
        from sweeper.driver.needs import needs

        return needs(self._spec, self.tasks, machines, workers, planned, self._loaded.folder)

    def given(self, job: Job) -> Job:
        """Return a job completed by the places of the user's own code."""
        measures = {name: one.of for name, one in self._spec.measures.items()}
        probes = self._spec.own_probes
        return replace(
            job,
            own_folder=self._loaded.folder,
            own_measures=measures,
            own_probes=probes,
            code=dict(self.own.files),
        )


class FunctionSubject:
    """A user's own function.

    Args:
        loaded: The spec.
        spec: The same spec, known to be of a function.
        facts: Facts noted of the sweep; empty before it is planned.
        planned: Hashes of the code's files when they were last accepted; empty before the sweep is planned.
        takes_new_code: Whether to continue under code that has changed.
    """

    modules = ("torch", "pydantic")

    def __init__(
        self,
        loaded: LoadedSpec,
        spec: FunctionSweep,
        facts: Mapping[str, str] | None = None,
        planned: Mapping[str, str] | None = None,
        takes_new_code: bool = False,
    ) -> None:
        self._spec, self._folder, self._takes_new_code = spec, loaded.folder, takes_new_code
        self._planned = dict(planned or {})
        self._files: Mapping[str, str] = {}
        #: Costs and measurements of the first epoch; empty if it took too long to wait for.
        self.first: Mapping[str, Any] = json.loads((facts or {}).get(own_code.FIRST, "{}"))

    def work(self) -> Work:
        """Return the work that calls the function."""
        return FunctionWork()

    def look(self) -> Mapping[str, str]:
        """Compare the code with the planned one; if it is new, call the function for one epoch."""
        found = self._asked("function", json.dumps({"source": self._spec.train, "folder": self._folder}))
        if problem := found.get("problem"):
            raise SpecError(f"{problem}. Bring it back, or start a new sweep with --name.")
        if self._spec.early_stopping is not None and not found["takes_trial"]:
            raise SpecError(
                f"early_stopping must be left out: {self._spec.train} takes no argument `trial`, so that it can "
                "neither pause nor go on. Give it one, and call trial.report(state=…) after each epoch."
            )
        # Files that the function imports while it runs are known only after a call; until then the planned list counts.
        self._files = {**own_code.still_there(self._planned, Path(self._folder)), **found["files"]}
        self._refuse_other_code()
        if not self._planned or self._files != self._planned:
            self.first = self._first_epoch()
            self._files = self.first.get("files") or self._files
        self._refuse_other_code()
        told = {name: value for name, value in self.first.items() if name != "files"}
        return {
            own_code.FILES: own_code.fact_of(self._files),
            own_code.FOLDER: self._folder,
            own_code.FIRST: json.dumps(told, sort_keys=True),
        }

    @cached_property
    def _gpus_here(self) -> float:
        """Number of this machine's GPUs that torch can use."""
        from sweeper.driver.needs import this_machine

        return this_machine().has.gpus

    @property
    def changes(self) -> Sequence[str]:
        """A sentence on changed files of the code, if they are accepted."""
        return _said_of(self._planned, self._files)

    def _refuse_other_code(self) -> None:
        if not self._takes_new_code:
            _refuse(self._planned, self._files, self._spec.train, self._folder)

    def _first_epoch(self) -> Mapping[str, Any]:
        """Call the function once, with its first setting, and stop it after its first report.

        Returns:
            Costs and measurements of that epoch; empty if it takes too long, or wants a GPU that is not here.
        """
        wanted = self._spec.placement.gpus
        if wanted not in ("auto", 0) and not self._gpus_here:
            return {}
        first = self._spec.cells()[0]
        job = Job("first", first.task_label, (first.key,), (first.flat(),), (True,), until=1)
        job = replace(self.given(job), device="cuda" if wanted and self._gpus_here else "cpu", code={})
        found = self._asked("epoch", json.dumps(asdict(job)))
        if problem := found.get("problem"):
            if problem.startswith(NO_ANSWER):
                return {}
            raise SpecError(
                f"{self._spec.train} could not be called: {problem}. Nothing was planned. Mend it, and "
                "run the sweep again."
            )
        if found["has_ended"] and found["outcome"] != "complete":
            raise SpecError(
                f"{self._spec.train} was called with {_told(first)}, and that ended {found['outcome']}: "
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
        patience = FIRST_EPOCH_PATIENCE_S if question == "epoch" else _IMPORT_PATIENCE_S
        is_shown = question == "epoch" and self._spec.placement.gpus and self._gpus_here
        hidden = {} if is_shown else {"CUDA_VISIBLE_DEVICES": ""}
        answers = ask([question], patience, hidden, given)
        first = answers[0] if answers else "it said nothing"
        return first if isinstance(first, dict) else {"problem": str(first)}

    def shared(self, folder: str) -> Shared:
        """Return what every machine must find there: the function's code, and this project."""
        code = SharedCode(self._spec.train, self._folder, self._files)
        return Shared(folder, {}, software(), (CALLED,), code)

    def needs(self, machines: Machines | None, workers: int | None, planned: int | None) -> Needs:
        """Return the needs of a call."""
        from sweeper.driver.needs import Needs, asked_of, this_machine

        here = machines or Machines([this_machine()])
        request: Request = asked_of(self._spec, here)
        if here.is_cluster and self._spec.placement.memory_mib == "auto" and self.first:
            request = replace(request, memory_bytes=int(1.25 * self.first["memory_bytes"]) + 128 * 2**20)
        here.refuse_what_never_fits(request)
        here.refuse_problems(request)
        return Needs(1, request, here.at_once(request))

    def given(self, job: Job) -> Job:
        """Return a job completed by the folder and hashes of the code, and by the measures it may report."""
        return replace(
            job,
            networks=(),
            own_folder=self._folder,
            measures=dict(self._spec.measures),
            cpus=self._spec.placement.cpus,
            code=dict(self._files),
        )


def _refuse(planned: Mapping[str, str], files: Mapping[str, str], what: str, folder: str) -> None:
    """Refuse code that has changed since the sweep was planned; do nothing if it was not planned."""
    if told := own_code.changed(planned, files) if planned else []:
        raise SpecMismatchError(
            f"the code of {what} is not what this sweep was planned with: {', '.join(told)} (in {folder}). Bring it "
            "back, or go on under the new code with --new-code: each trial then says which one it is of, and so does a "
            "front that mixes them."
        )


def _said_of(planned: Mapping[str, str], files: Mapping[str, str]) -> list[str]:
    told = own_code.changed(planned, files) if planned else []
    return [f"the code is not what it was: {', '.join(told)}"] if told else []


def _told(setting: object) -> str:
    if not isinstance(setting, FunctionSetting):
        return "its first setting"
    return ", ".join(f"{name}={value}" for name, value in setting.arguments.items()) or "no arguments"
