"""The four steps of a run: agree on the spec, look at everything it needs, plan it into the ledger, drive it.

What can fail fails in the first two steps, before anything is written.
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

if TYPE_CHECKING:  # they load torch: whoever only looks at a sweep does without
    from sweeper.driver.needs import Needs


@dataclass(frozen=True)
class Agreement:
    """What is run.

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
        """What is other than it was planned, in words."""
        if self.former is None:
            return ()
        grown = differences(self.former.spec, self.spec)
        moved = placement_changes(self.former.spec, self.spec)
        return [
            *([f"the spec has grown since this sweep was planned: {'; '.join(grown)}"] if grown else []),
            *([f"it runs otherwise than it was planned: {'; '.join(moved)}"] if moved else []),
        ]


def agree(name: str, given: LoadedSpec | None, ledger: Ledger | None) -> Agreement:
    """Find out which spec to run: the given one, which the planned one must equal or have grown into, or that.

    Args:
        name: Name of the sweep.
        given: The spec that the user names; None resumes what was planned.
        ledger: The sweep's ledger; None where it has none yet.

    Raises:
        UnknownSweepError: If there is neither.
        SpecMismatchError: If the given spec is another one than what was planned.
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
    """Tell whether a sweep is of earlier rules, and has nothing left to train.

    Args:
        name: Name of the sweep.
        given: The spec that the user names; None resumes what was planned.
        ledger: The sweep's ledger; None where it has none yet.
        repeated: How trials ended that are tried again.

    Raises:
        SpecMismatchError: If it is of earlier rules, and something of it would have to be trained by today's.
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
    """What a sweep is run with.

    Attributes:
        home: Where other sweeps are.
        folder: This sweep's.
        ledger: Its ledger; None where it has none yet.
        executor: Where populations are trained.
        workers: Populations at a time, where the user has said so.
        connect: Returns where outcomes are mirrored, once that is reached.
        repeated: How trials ended that are tried again.
    """

    home: Home
    folder: SweepFolder
    ledger: Ledger | None
    executor: Executor
    workers: int | None
    connect: Callable[[], Recorder]
    repeated: Collection[Outcome] = ()

    def is_planned(self, spec: SweepSpec) -> bool:
        """Tell whether the ledger holds every trial of a spec."""
        former = self.ledger.revisions[-1] if self.ledger and self.ledger.revisions else None
        return former is not None and former.spec == spec

    @cached_property
    def left(self) -> int:
        """How many trials that are planned have no outcome, or are tried again."""
        ledger = self.ledger
        return ledger.counts().without_driver().waiting + ledger.ended_so(self.repeated) if ledger else 0

    def has_all(self, spec: SweepSpec) -> bool:
        """Tell whether every trial of a spec has an outcome: then nothing is trained, and no images are needed."""
        return self.is_planned(spec) and not self.left


@dataclass(frozen=True)
class Prepared:
    """What was found before the plan is written.

    Attributes:
        facts: What is noted of what is trained: hashes of data or code, by name.
        known: What the sampler is to be told of other sweeps, by cell.
        recorder: Where outcomes are mirrored.
        needs: What populations need.
    """

    facts: Mapping[str, str]
    known: Mapping[str, list[Known]]
    recorder: Recorder
    needs: Needs


def starting(agreed: Agreement, around: Surroundings, modules: Sequence[str]) -> AbstractContextManager[object]:
    """Begin to start what populations are trained on, where any is left: it takes seconds, and so does the rest.

    Args:
        agreed: What is run.
        around: What it is run with.
        modules: What a population's training imports.
    """
    jobs = around.left if around.is_planned(agreed.spec) else agreed.spec.planned
    if not jobs:
        return nullcontext()
    return around.executor.starting(Expected(jobs, agreed.spec.placement.cpus, modules))


def look(agreed: Agreement, subject: Subject, around: Surroundings, stack: ExitStack) -> Prepared:
    """Look at storage, what is trained, other sweeps, the mirror and machines: what cannot work is refused now.

    Args:
        agreed: What is run.
        subject: What that trains.
        around: What it is run with.
        stack: Leaves the machines that are joined here, when the run ends.

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
    """Join the machines, where there is anything to train on them, and find out what populations need of them."""
    from sweeper.driver.needs import Needs

    size = around.ledger.revisions[-1].population_size if around.ledger and around.is_planned(spec) else None
    if size and not around.left:
        return Needs(size, ONE_CPU, 0)
    machines = stack.enter_context(around.executor.joined(subject.shared(around.folder.files)))
    return subject.needs(machines, around.workers, size)


def knowledge(spec: SweepSpec, home: Home) -> dict[str, list[Known]]:
    """Return what the sampler is to be told of other sweeps, by cell.

    Raises:
        SweepError: If there is no such sweep, or it is about something else.
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
    """Have every population trained that has no outcome yet; whatever happens, what is known is mirrored.

    Args:
        driver: Hands out populations and takes outcomes back.
        executor: Where they are trained.
        work: What trains a population.
        request: What each population asks for.

    Raises:
        SweepError: If it cannot go on.
    """
    try:
        if driver.has_work and not driver.should_stop():
            driver.begin()
            executor.run(work, driver, request)
    except SweepError:
        driver.finish()
        raise
    return driver.finish()
