"""The four steps of a run: agree on the spec, look at everything it needs, plan it into the ledger, drive it.

What can fail fails in the first two steps, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper import storage
from sweeper.driver.driver import Driver, Summary
from sweeper.errors import SpecMismatchError, SweepError, UnknownSweepError
from sweeper.execution.contract import Executor, Work
from sweeper.execution.resources import ONE_CPU, Request, Shared
from sweeper.ledger.home import Home, SweepFolder
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import read_ledger
from sweeper.provenance import software
from sweeper.search.cells import knowledge_for
from sweeper.search.sampling import Known
from sweeper.spec import LoadedSpec, SweepSpec, check_name, differences, placement_changes
from sweeper.tracking.recorder import Recorder

if TYPE_CHECKING:  # they load torch: whoever only looks at a sweep does without
    from sweeper.driver.needs import Needs
    from sweeper.training.forecast import TaskFacts


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
    """

    home: Home
    folder: SweepFolder
    ledger: Ledger | None
    executor: Executor
    workers: int | None
    connect: Callable[[], Recorder]


@dataclass(frozen=True)
class Look:
    """What was found before the plan is written.

    Attributes:
        tasks: What is known of each task, by label.
        known: What the sampler is to be told of other sweeps, by cell.
        recorder: Where outcomes are mirrored.
        needs: What populations need.
    """

    tasks: Mapping[str, TaskFacts]
    known: Mapping[str, list[Known]]
    recorder: Recorder
    needs: Needs


def look(agreed: Agreement, around: Surroundings, stack: ExitStack) -> Look:
    """Look at storage, images, windows, other sweeps, the mirror and machines: what cannot work is refused now.

    Args:
        agreed: What is run.
        around: What it is run with.
        stack: Leaves the machines that are joined here, when the run ends.

    Raises:
        SweepError: If something is missing or does not fit.
    """
    from sweeper.training import forecast

    if around.folder.has_files_elsewhere:
        storage.check(around.folder.files)
    tasks = forecast.check(agreed.spec.corners())
    known = knowledge(agreed.spec, around.home) if agreed.former is None else {}
    recorder = around.connect()
    return Look(tasks, known, recorder, _needs(agreed.spec, tasks, around, stack))


def _needs(spec: SweepSpec, tasks: Mapping[str, TaskFacts], around: Surroundings, stack: ExitStack) -> Needs:
    """Join the machines, where there is anything to train on them, and find out what populations need of them."""
    from sweeper.driver.needs import Needs, needs
    from sweeper.training import forecast

    ledger = around.ledger
    former = ledger.revisions[-1] if ledger and ledger.revisions else None
    is_planned = former is not None and former.spec == spec
    size = former.population_size if former and is_planned else None
    if ledger and is_planned and size and ledger.counts().without_driver().waiting == 0:
        return Needs(size, ONE_CPU, 0)
    shared = Shared(around.folder.files, forecast.files(spec.corners()), software())
    machines = stack.enter_context(around.executor.joined(shared))
    return needs(spec, tasks, machines, around.workers, size)


def knowledge(spec: SweepSpec, home: Home) -> dict[str, list[Known]]:
    """Return what the sampler is to be told of other sweeps, by cell.

    Raises:
        SweepError: If there is no such sweep, or it is about something else.
    """
    found: dict[str, list[Known]] = {}
    for name in spec.search.warm_start if spec.search else ():
        check_name(name)
        with closing(read_ledger(home.known(name))) as ledger:
            other, records = ledger.spec, ledger.records()
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
