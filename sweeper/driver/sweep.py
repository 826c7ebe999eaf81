"""The loop that joins plan, execute and record: short enough to read in a minute.

A sweep is planned into its ledger; an executor asks for populations until none is left; every outcome goes to the
ledger first and is then mirrored. Running and resuming are the same: what has no outcome yet is run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper import storage
from sweeper.driver.driver import Driver, Observer, Summary
from sweeper.errors import HomeError, SpecMismatchError, SweepError, UnknownSweepError
from sweeper.execution.contract import Executor, Work
from sweeper.execution.executors import RayExecutor
from sweeper.execution.resources import ONE_CPU, Shared
from sweeper.job import Lease
from sweeper.ledger.again import repeatable
from sweeper.ledger.counts import Counts
from sweeper.ledger.home import Home, this_driver
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import drive_ledger, keep_shared_ledger, read_ledger, with_files_of
from sweeper.ledger.studies import create_ledger
from sweeper.provenance import software, sweep_facts
from sweeper.search.cells import knowledge_for
from sweeper.search.sampling import Known
from sweeper.spec import LoadedSpec, SweepSpec, check_name, differences, load_spec, placement_changes
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.recorder import Recorder
from sweeper.trial import Outcome

if TYPE_CHECKING:  # they load torch: whoever only looks at a sweep does without
    from sweeper.driver.needs import Needs
    from sweeper.training.forecast import TaskFacts


class Sweep:
    """One sweep: its ledger in a home folder, its mirror in MLflow.

    Args:
        name: Name of the sweep.
        home: Folder that holds sweeps.
        tracking_uri: Where MLflow is. None: where this sweep was last mirrored, or a database in the home.
        storage: Folder or `pyarrow.fs` URI for checkpoints and trained networks. None: where this sweep's are, or the
            home.
        ledger: URL of a PostgreSQL database for the ledger. None: where this sweep's is, or SQLite in the home.
    """

    def __init__(
        self,
        name: str,
        home: str | Path = "sweeps",
        tracking_uri: str | None = None,
        storage: str | None = None,
        ledger: str | None = None,
    ) -> None:
        self.name = name
        self._home = Home(Path(home), storage, ledger)
        self._folder = self._home.sweep(name)
        self._tracking_uri = tracking_uri
        self._loaded: LoadedSpec | None = None

    @classmethod
    def load(cls, source: str | Path, *, name: str | None = None, **places: Any) -> Sweep:
        """Return the sweep of a YAML file, or of a shipped space by its name; nothing is written yet.

        Args:
            source: Path of a file, or a name such as `quickstart`.
            name: Takes the place of the name in the file.
            places: `home`, `tracking_uri`, `storage` and `ledger`, as for `Sweep`.

        Raises:
            SpecError: With every problem of the file.
        """
        loaded = load_spec(source, name=name)
        sweep = cls(loaded.spec.name, **places)
        sweep._loaded = loaded
        return sweep

    def resume(self, **options: Any) -> Summary:
        """Run what has no outcome yet, from the ledger alone; takes the options of `run`.

        With `again=("lost", "failed")` trials that ended so are tried again first.
        """
        self._loaded = None
        return self.run(**options)

    @cached_property
    def tracking_uri(self) -> str:
        """Where MLflow is; a SQLite file by its absolute path, so that it is the same from every folder.

        Raises:
            TrackingError: If it was an address with a password, which is not kept.
        """
        return self._home.tracking_uri_of(self.name, self._tracking_uri)

    @property
    def scratch(self) -> Path:
        """Folder for what an executor writes beside; nothing in it is ever read again."""
        return self._folder.path / "placement"

    def run(
        self,
        loaded: LoadedSpec | None = None,
        *,
        executor: Executor | None = None,
        workers: int | None = 1,
        recorder: Recorder | None = None,
        observe: Observer = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        work: Work | None = None,
        takes_on: bool = False,
        again: Iterable[str] = (),
    ) -> Summary:
        """Run every planned trial that has no outcome yet.

        Args:
            loaded: The spec; None takes the one this sweep was loaded from, or resumes what was planned.
            executor: Where populations are trained; Ray Tune on this machine by default.
            workers: How many populations will be trained at a time; shapes the plan when it is first made. None: as
                many as the executor's machines have room for.
            recorder: Where outcomes are mirrored; MLflow by default.
            observe: Called after every change.
            should_stop: Asked often; once true, running populations are left at their last checkpoint.
            work: What trains a population; the model's training by default.
            takes_on: Whether to go on with a sweep of the same spec that another home has planned in a shared ledger.
            again: How trials ended that are tried again, such as `lost` and `failed`; never `complete` or `pruned`.

        Raises:
            SweepError: For everything a user can mend; no training is started then.
        """
        from sweeper.training import forecast, train

        repeated = repeatable(again)
        loaded = loaded or self._loaded
        if loaded is None:
            self._home.known(self.name)
        with self._driving(takes_on or loaded is None) as (lease, planned), ExitStack() as stack:
            # What can fail before the plan is written fails first: storage, images, windows, the tracking server.
            if self._folder.has_files_elsewhere:
                storage.check(self._folder.files)
            former = planned.planned_spec if planned else None
            loaded = self._agreed(loaded, planned)
            tasks = forecast.check(loaded.spec.corners())
            knowledge = self._knowledge(loaded.spec) if former is None else {}
            recorder = recorder or self._mlflow()
            executor = executor or RayExecutor(workers, scratch=self.scratch)
            needed = self._needs(stack, loaded.spec, tasks, executor, workers, planned, repeated)
            ledger = planned or stack.enter_context(closing(self._new_ledger()))
            size = needed.population
            facts = sweep_facts({label: task.fingerprint for label, task in tasks.items()})
            facts |= self._places(lease, ledger) | {"population": str(size)}
            keep_shared_ledger(self._folder, facts["identity"])
            ledger.plan(loaded, size, facts, should_stop, knowledge)
            tried_again = ledger.try_again(repeated, self._begin_anew)
            driver = Driver(ledger, self._folder, lease, recorder, observe, should_stop)
            stack.callback(driver.stop)
            driver.open()
            self._say_what_changed(driver, former, loaded)
            if repeated:
                driver.say(_said_again(repeated, tried_again))
            self._folder.keep_storage()
            self._folder.keep_tracking_uri(self.tracking_uri)
            try:
                if driver.has_work and not should_stop():
                    driver.begin()
                    executor.run(work or train.train_population, driver, needed.request)
            except SweepError:
                driver.finish()
                raise
            return driver.finish()

    def _needs(
        self,
        stack: ExitStack,
        spec: SweepSpec,
        tasks: Mapping[str, TaskFacts],
        executor: Executor,
        workers: int | None,
        planned: Ledger | None,
        repeated: Collection[Outcome] = (),
    ) -> Needs:
        """Join the machines, where there is anything to train on them, and find out what populations need of them."""
        from sweeper.driver.needs import Needs, needs
        from sweeper.training import forecast, train

        former = planned.revisions[-1] if planned and planned.revisions else None
        is_planned = former is not None and former.spec == spec
        size = former.population_size if former and is_planned else None
        has_work = planned and (planned.counts().without_driver().waiting or planned.ended_so(repeated))
        if is_planned and size and not has_work:
            return Needs(size, ONE_CPU, 0)
        shared = Shared(self._folder.files, forecast.files(spec.corners()), software(), (train.__name__,))
        machines = stack.enter_context(executor.joined(shared))
        return needs(spec, tasks, machines, workers, size)

    def _begin_anew(self, population: str) -> None:
        """Remove the checkpoint of a population that failed, so that it does not fail from there again."""
        from sweeper.training.checkpoints import Checkpoints

        location = self._folder.checkpoint(population)
        try:
            Checkpoints(location).remove()
        except OSError as error:
            raise HomeError(
                f"trials that failed begin anew, but the checkpoint {storage.without_credentials(location)} cannot be "
                f"removed: {error.strerror}. Give the rights to write there, or leave --again out."
            ) from error

    def _say_what_changed(self, driver: Driver, former: LoadedSpec | None, loaded: LoadedSpec) -> None:
        if grown := differences(former.spec, loaded.spec) if former else []:
            driver.say(f"the spec has grown since this sweep was planned: {'; '.join(grown)}")
        if moved := placement_changes(former.spec, loaded.spec) if former else []:
            driver.say(f"it runs otherwise than it was planned: {'; '.join(moved)}")

    @contextmanager
    def _driving(self, takes_on: bool = False) -> Iterator[tuple[Lease, Ledger | None]]:
        """Become the only driver, in the home and in a shared ledger; gives the ledger where there is one."""
        with self._folder.drive() as lease:
            ledger = drive_ledger(self._folder, this_driver(), takes_on)
            self._folder = with_files_of(self._folder, ledger)
            try:
                yield lease, ledger
            finally:
                if ledger:
                    ledger.close()

    def _places(self, lease: Lease, ledger: Ledger) -> dict[str, str]:
        """Return which sweep this is, and where it is kept, as noted when it is first planned."""
        folder = self._folder
        identity = ledger.identity or folder.shared_ledger.get("identity") or lease.session
        kept = {"storage": storage.without_credentials(folder.storage)} if folder.storage else {}
        return {"identity": identity, "home": str(folder.path.parent), **kept}

    def mirror(self, recorder: Recorder | None = None) -> Summary:
        """Write every outcome and front of the ledger to MLflow; what is there already stays as it is."""
        self._home.known(self.name)
        with self._driving() as (lease, planned):
            ledger = planned or read_ledger(self._folder)
            driver = Driver(ledger, self._folder, lease, recorder or self._mlflow())
            driver.open()
            return driver.finish()

    def _mlflow(self) -> Recorder:
        is_sqlite = self.tracking_uri.startswith("sqlite")  # artifacts stand beside the file then
        root = None if is_sqlite else self._home.artifact_root
        return MlflowRecorder(self.tracking_uri, root, self._network_bytes)

    def _network_bytes(self, key: str) -> bytes | None:
        try:
            return storage.read_bytes(self._folder.network(key))
        except OSError:
            return None  # asked for again with the next front

    def _new_ledger(self) -> Ledger:
        self._folder.make_ledger(create_ledger)
        return Ledger(self._folder.ledger_url, self.name, this_driver())

    def _knowledge(self, spec: SweepSpec) -> dict[str, list[Known]]:
        """Return what the sampler is to be told of other sweeps, by cell.

        Raises:
            SweepError: If there is no such sweep, or it is about something else.
        """
        found: dict[str, list[Known]] = {}
        for name in spec.search.warm_start if spec.search else ():
            check_name(name)
            with closing(read_ledger(self._home.known(name))) as ledger:
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

    def _agreed(self, loaded: LoadedSpec | None, ledger: Ledger | None) -> LoadedSpec:
        """Return the spec to run: the given one, which the planned one must equal or have grown into, or that."""
        planned = ledger.planned_spec if ledger else None
        if planned is None:
            if loaded is None:
                raise UnknownSweepError(
                    f"sweep {self.name!r} was never planned to the end. Start it again with `sweeper run`."
                )
            return loaded
        if loaded is not None and ledger is not None:
            ledger.refuse_other(loaded)
        return loaded or planned

    def counts(self) -> Counts:
        """Return how many trials stand where. Trials that a dead driver left running are waiting."""
        folder = self._home.known(self.name)
        with closing(read_ledger(folder)) as ledger:
            counts = ledger.counts()
            return counts if folder.driver or ledger.driver else counts.without_driver()

    @property
    def driver(self) -> str | None:
        """Who drives this sweep now, in words; None if nobody does."""
        folder = self._home.known(self.name)
        if folder.driver or not folder.has_shared_ledger:
            return folder.driver
        with closing(read_ledger(folder)) as ledger:
            return ledger.driver


def _said_again(wanted: Iterable[Outcome], tried: Mapping[Outcome, int]) -> str:
    """Return in words how many trials are tried again."""
    if not tried:
        return f"no trial ended {' or '.join(wanted)}: none is tried again"
    counted = ", ".join(f"{tried[outcome]} {outcome}" for outcome in wanted if outcome in tried)
    return f"tried again, as asked for: {counted}; their former outcomes stay in the ledger"
