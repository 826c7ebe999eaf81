"""The four steps of a run: agree on the spec, look at everything it needs, plan it into the ledger, drive it.

Mistakes show in the first two steps, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sweeper import storage
from sweeper.driver.driver import Driver, Summary
from sweeper.driver.subjects import Subject
from sweeper.errors import SpecMismatchError, SweepError, UnknownSweepError
from sweeper.execution.contract import Executor, Expected, Work
from sweeper.execution.resources import ONE_CPU, Request
from sweeper.ledger.home import Home, SweepFolder
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import read_ledger
from sweeper.rules import earlier_rules
from sweeper.search.cells import knowledge_for
from sweeper.search.sampling import Known
from sweeper.spec import LoadedSpec, SweepSpec, check_name, differences, placement_changes
from sweeper.tracking.recorder import Recorder
from sweeper.trial import Outcome

if TYPE_CHECKING:  # this loads torch, which commands that only look at a sweep do not need
    from sweeper.driver.needs import Needs


@dataclass(frozen=True)
class Agreement:
    """The spec to run.

    Attributes:
        loaded: The spec.
        former: The spec that the sweep was planned with before; None for a new sweep.
    """

    loaded: LoadedSpec
    former: LoadedSpec | None

    @property
    def spec(self) -> SweepSpec:
        """The spec without its text."""
        return self.loaded.spec

    @property
    def changes(self) -> Sequence[str]:
        """Sentences on the differences from the former spec."""
        if self.former is None:
            return ()
        grown = differences(self.former.spec, self.spec)
        moved = placement_changes(self.former.spec, self.spec)
        return [
            *([f"the spec has grown since this sweep was planned: {'; '.join(grown)}"] if grown else []),
            *([f"it runs otherwise than it was planned: {'; '.join(moved)}"] if moved else []),
        ]


def agree(name: str, given: LoadedSpec | None, ledger: Ledger | None) -> Agreement:
    """Find out which spec to run: the given one, or without one the planned one.

    Args:
        name: Name of the sweep.
        given: The spec that the user names, which must equal the planned one or have grown from it; None resumes the
            planned one.
        ledger: The sweep's ledger; None if it has none yet.

    Raises:
        UnknownSweepError: If there is neither a given nor a planned spec.
        SpecMismatchError: If the given spec does not continue the planned one.
    """
    planned = ledger.planned_spec if ledger else None
    if planned is None:
        if given is None:
            raise UnknownSweepError(f"sweep {name!r} was never planned to the end. Start it again with `sweeper run`.")
        return Agreement(given, None)
    if given is not None and ledger is not None:
        ledger.refuse_other(given)
    return Agreement(given or planned, planned)


def has_had_its_day(name: str, given: LoadedSpec | None, ledger: Ledger | None, repeated: Collection[Outcome]) -> bool:
    """Return whether a sweep follows earlier rules and has nothing left to train.

    Args:
        name: Name of the sweep.
        given: The spec that the user names; None resumes the planned one.
        ledger: The sweep's ledger; None if it has none yet.
        repeated: Outcomes after which trials are tried again.

    Raises:
        SpecMismatchError: If the sweep follows earlier rules, and some of it would have to be trained by today's.
    """
    earlier = earlier_rules(ledger.rules) if ledger else None
    if ledger is None or earlier is None:
        return False
    counts, planned = ledger.counts().without_driver(), ledger.planned_spec
    again = ledger.ended_so(repeated)
    has_grown = given is not None and planned is not None and given.spec != planned.spec
    if not counts.waiting and not again and not has_grown:
        return True
    left = f"{counts.waiting} of its {counts.planned} trials have no outcome" if counts.waiting else ""
    more = left or (f"{again} of its trials would be trained again" if again else "the spec given is another one")
    raise SpecMismatchError(
        f"sweep {name!r} is {earlier}; {more}, and they can be trained by today's rules alone, which one sweep must "
        f"not mix with others. Read it as it is (`sweeper pareto {name}`, `sweeper report {name}`), and train its spec "
        "anew under another name with --name."
    )


@dataclass(frozen=True)
class Surroundings:
    """The surroundings that a sweep runs in.

    Attributes:
        home: Home of this and other sweeps.
        folder: Folder of this sweep.
        ledger: Ledger of this sweep; None if it has none yet.
        executor: Executor that trains populations.
        workers: Number of populations at a time, if the user named one.
        connect: Connects to the mirror, and returns its recorder.
        repeated: Outcomes after which trials are tried again.
    """

    home: Home
    folder: SweepFolder
    ledger: Ledger | None
    executor: Executor
    workers: int | None
    connect: Callable[[], Recorder]
    repeated: Collection[Outcome] = ()

    def is_planned(self, spec: SweepSpec) -> bool:
        """Return whether the ledger's newest plan is of this spec."""
        former = self.ledger.revisions[-1] if self.ledger and self.ledger.revisions else None
        return former is not None and former.spec == spec

    @cached_property
    def left(self) -> int:
        """Number of planned trials that have no outcome or are tried again."""
        ledger = self.ledger
        return ledger.counts().without_driver().waiting + ledger.ended_so(self.repeated) if ledger else 0

    def has_all(self, spec: SweepSpec) -> bool:
        """Return whether every trial of a spec has an outcome: then nothing is trained, and no images are needed."""
        return self.is_planned(spec) and not self.left


@dataclass(frozen=True)
class Prepared:
    """Findings of `look`, before the plan is written.

    Attributes:
        facts: Facts to note of the subject: hashes of data or code, by name.
        known: Settings of other sweeps for the sampler, by cell.
        recorder: Recorder that mirrors outcomes.
        needs: Needs of the populations.
    """

    facts: Mapping[str, str]
    known: Mapping[str, list[Known]]
    recorder: Recorder
    needs: Needs


def starting(agreed: Agreement, around: Surroundings, modules: Sequence[str]) -> AbstractContextManager[object]:
    """Start the executor in the background if there is anything to train, because a start takes seconds.

    Args:
        agreed: The spec to run.
        around: The surroundings of the run.
        modules: Modules that a population's training imports.
    """
    jobs = around.left if around.is_planned(agreed.spec) else agreed.spec.planned
    if not jobs:
        return nullcontext()
    return around.executor.starting(Expected(jobs, agreed.spec.placement.cpus, modules))


def look(agreed: Agreement, subject: Subject, around: Surroundings, stack: ExitStack) -> Prepared:
    """Check the storage, the subject, other sweeps, the mirror and the machines before anything is written.

    Args:
        agreed: The spec to run.
        subject: The subject that the spec trains.
        around: The surroundings of the run.
        stack: Leaves the joined machines when the run ends.

    Raises:
        SweepError: If something is missing or does not fit.
    """
    if around.folder.has_files_elsewhere:
        storage.check(around.folder.files)
    facts = subject.look()
    known = knowledge(agreed.spec, around.home) if agreed.former is None else {}
    recorder = around.connect()
    return Prepared(facts, known, recorder, _needs(agreed.spec, subject, around, stack))


def _needs(spec: SweepSpec, subject: Subject, around: Surroundings, stack: ExitStack) -> Needs:
    """Join the machines if there is anything to train, and find out what populations need of them."""
    from sweeper.driver.needs import Needs

    size = around.ledger.revisions[-1].population_size if around.ledger and around.is_planned(spec) else None
    if size and not around.left:
        return Needs(size, ONE_CPU, 0)
    machines = stack.enter_context(around.executor.joined(subject.shared(around.folder.files)))
    return subject.needs(machines, around.workers, size)


def knowledge(spec: SweepSpec, home: Home) -> dict[str, list[Known]]:
    """Return the settings of other sweeps that the sampler starts from, by cell.

    Raises:
        SweepError: If there is no such sweep, or it has other rules, objectives, tasks or ranges.
    """
    found: dict[str, list[Known]] = {}
    for name in spec.search.warm_start if spec.search else ():
        check_name(name)
        with closing(read_ledger(home.known(name))) as ledger:
            other, records, rules = ledger.spec, ledger.records(), ledger.rules
        if earlier := earlier_rules(rules):
            raise SpecMismatchError(
                f"search.warm_start must name sweeps that are measured by today's rules, but {name!r} is {earlier}. "
                "Take it out of warm_start."
            )
        if other.objectives != spec.objectives:
            goals = [", ".join(f"{o.goal} {o.name}" for o in one.objectives) for one in (spec, other)]
            raise SpecMismatchError(
                f"search.warm_start must name sweeps with the same objectives ({goals[0]}), but {name!r} has "
                f"{goals[1]}. Take it out of warm_start."
            )
        here = knowledge_for(spec, records)
        if not here:
            raise SpecMismatchError(
                f"search.warm_start must name sweeps with trials of the same tasks and within the searched ranges, "
                f"but {name!r} has none (its tasks: {', '.join(other.tasks)}). Take it out of warm_start."
            )
        for cell, known in here.items():
            found.setdefault(cell, []).extend(known)
    return found


def drive(driver: Driver, executor: Executor, work: Work, request: Request) -> Summary:
    """Train every population that has no outcome yet, and mirror all outcomes, even after an error.

    Args:
        driver: Hands out populations and takes outcomes back.
        executor: Executor that trains the populations.
        work: Function that trains a population.
        request: Resources that each population asks for.

    Raises:
        SweepError: If the run cannot continue.
    """
    try:
        if driver.has_work and not driver.should_stop():
            driver.begin()
            executor.run(work, driver, request)
    except SweepError:
        driver.finish()
        raise
    return driver.finish()
