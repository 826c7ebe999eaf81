"""The loop that joins plan, execute and record: short enough to read in a minute.

A sweep is planned into its ledger. An executor asks for populations until none is left. Every outcome goes to the
ledger first and is then mirrored. Running and resuming are the same: both run the trials that have no outcome yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sweeper import storage
from sweeper.analysis.formats import read_probes
from sweeper.driver import steps
from sweeper.driver.driver import Driver, Observer, Summary
from sweeper.driver.steps import Agreement, Prepared, Surroundings
from sweeper.driver.subjects import subject_of
from sweeper.errors import HomeError, QueryError, TrackingError
from sweeper.execution.contract import Executor, Work
from sweeper.execution.executors import RayExecutor
from sweeper.ledger.again import repeatable
from sweeper.ledger.counts import Counts
from sweeper.ledger.drive import drive_ledger, keep_shared_ledger, with_files_of
from sweeper.ledger.home import Drive, Home, this_driver
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.standing import Standing, standing_of
from sweeper.ledger.studies import create_ledger
from sweeper.provenance import sweep_facts
from sweeper.spec import LoadedSpec, load_spec
from sweeper.tracking.recorder import Recorder
from sweeper.tracking.trackers import recorder_of, require_usable
from sweeper.trial import Outcome


class Sweep:
    """One sweep: its ledger in a home folder, its mirror in MLflow.

    Args:
        name: Name of the sweep.
        home: Folder that holds sweeps.
        tracking_uri: Address of MLflow. None: the sweep's last one, or a database in the home.
        storage: Folder or `pyarrow.fs` URI for checkpoints and trained networks. None: the sweep's present one, or the
            home.
        ledger: URL of a PostgreSQL database for the ledger. None: the sweep's present one, or SQLite in the home.
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
            name: Replaces the name in the file.
            places: `home`, `tracking_uri`, `storage` and `ledger`, as for `Sweep`.

        Raises:
            SpecError: If the file is wrong; lists every problem.
        """
        loaded = load_spec(source, name=name)
        sweep = cls(loaded.spec.name, **places)
        sweep._loaded = loaded
        return sweep

    def resume(self, **options: Any) -> Summary:
        """Run the trials that have no outcome yet, from the ledger alone; takes the options of `run`.

        With `again=("lost", "failed")`, trials with these outcomes are tried again first.
        """
        self._loaded = None
        return self.run(**options)

    @cached_property
    def tracking_uri(self) -> str:
        """Address of MLflow; a SQLite file by its absolute path, so that it is the same from every folder.

        Raises:
            TrackingError: If the last address carried a password, which is not kept.
        """
        return self._home.tracking_uri_of(self.name, self._tracking_uri)

    @property
    def scratch(self) -> Path:
        """Folder for an executor's temporary files; sweeper never reads them."""
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
        takes_new_code: bool = False,
    ) -> Summary:
        """Run every planned trial that has no outcome yet.

        Args:
            loaded: The spec; None takes the one that this sweep was loaded from, or resumes the planned one.
            executor: Executor that trains populations; Ray Tune on this machine by default.
            workers: Number of populations trained at a time; it shapes the plan when that is first made. None: as many
                as the executor's machines have room for.
            recorder: Recorder that mirrors outcomes; MLflow by default.
            observe: Called after every change.
            should_stop: Called often; once it returns True, running populations are left at their last checkpoint.
            work: Function that works on a job; by default the one of the spec's subject.
            takes_on: Whether to continue a sweep of the same spec that another home has planned in a shared ledger.
            again: Outcomes after which trials are tried again, such as `lost` and `failed`; never `complete` or
                `pruned`.
            takes_new_code: Whether to continue if the user's code is not the one that the sweep was planned with.

        Raises:
            SweepError: For everything that a user can correct; no training is started then.
        """
        repeated = repeatable(again)
        loaded = loaded or self._loaded
        if loaded is None:
            self._home.known(self.name)
        with self._driving(takes_on or loaded is None) as (lease, planned), ExitStack() as stack:
            if planned and steps.has_had_its_day(self.name, loaded, planned, repeated):
                return self._mirror(planned, lease, recorder)
            agreed = steps.agree(self.name, loaded, planned)
            executor = executor or RayExecutor(workers, scratch=self.scratch)
            connect: Callable[[], Recorder] = self._mlflow if recorder is None else lambda: recorder
            around = Surroundings(self._home, self._folder, planned, executor, workers, connect, repeated)
            if planned and around.has_all(agreed.spec):  # this needs no machines, and no images, which may be gone
                executor.clear()
                keep_shared_ledger(self._folder, planned.identity)
                driver = Driver(planned, self._folder, lease, connect(), observe, should_stop)
                self._open(driver, agreed)
                if repeated:
                    driver.say(_said_again(repeated, {}))
                return driver.finish()
            subject = subject_of(agreed.loaded, planned, takes_new_code=takes_new_code)
            if recorder is None:
                require_usable(self.tracking_uri)  # a mistake is said before machines are started, which takes seconds
            stack.enter_context(steps.starting(agreed, around, () if work else subject.modules))
            seen = steps.look(agreed, subject, around, stack)
            ledger = planned or stack.enter_context(closing(self._new_ledger()))
            self._plan(ledger, lease, agreed, seen, should_stop)
            tried_again = ledger.try_again(repeated, self._begin_anew)
            driver = Driver(ledger, self._folder, lease, seen.recorder, observe, should_stop, subject.given)
            stack.callback(driver.stop)
            self._open(driver, agreed)
            for change in subject.changes:
                driver.say(change)
            if repeated:
                driver.say(_said_again(repeated, tried_again))
            return steps.drive(driver, executor, work or subject.work(), seen.needs.request)

    def _plan(
        self, ledger: Ledger, lease: Drive, agreed: Agreement, seen: Prepared, should_stop: Callable[[], bool]
    ) -> None:
        """Write every trial that the ledger does not hold yet."""
        facts = sweep_facts(seen.facts)
        facts |= self._kept_at(lease, ledger) | {"population": str(seen.needs.population)}
        keep_shared_ledger(self._folder, facts["identity"])

        def stops() -> bool:
            lease.require_home()
            return should_stop()

        ledger.plan(agreed.loaded, seen.needs.population, facts, stops, seen.known)

    def _open(self, driver: Driver, agreed: Agreement) -> None:
        """Open the mirror, show the spec's changes, and note the storage and the tracking URI."""
        driver.open()
        for change in agreed.changes:
            driver.say(change)
        self._folder.keep_storage()
        self._folder.keep_tracking_uri(self.tracking_uri)

    def _begin_anew(self, population: str) -> None:
        """Remove the checkpoint of a failed population, so that the new attempt does not fail from there again."""
        from sweeper.training.checkpoints import Checkpoints

        location = self._folder.checkpoint(population)
        try:
            Checkpoints(location).remove()
        except OSError as error:
            raise HomeError(
                f"trials that failed begin anew, but the checkpoint {storage.without_credentials(location)} cannot be "
                f"removed: {error.strerror}. Give the rights to write there, or leave --again out."
            ) from error

    @contextmanager
    def _driving(self, takes_on: bool = False) -> Iterator[tuple[Drive, Ledger | None]]:
        """Become the only driver, in the home and in a shared ledger; yield the lease, and the ledger if it exists."""
        with self._folder.drive() as lease:
            ledger = drive_ledger(self._folder, this_driver(), takes_on)
            self._folder = with_files_of(self._folder, ledger)
            try:
                yield lease, ledger
            finally:
                if ledger:
                    ledger.close()

    def _kept_at(self, lease: Drive, ledger: Ledger) -> dict[str, str]:
        """Return the facts that identify the sweep and say where it is kept, to note when it is planned."""
        folder = self._folder
        identity = ledger.identity or folder.shared_ledger.get("identity") or lease.session
        kept = {"storage": storage.without_credentials(folder.storage)} if folder.storage else {}
        return {"identity": identity, "home": str(folder.path.parent), **kept}

    def mirror(self, recorder: Recorder | None = None) -> Summary:
        """Write every outcome and front of the ledger to MLflow, except those that MLflow already holds completely."""
        self._home.known(self.name)
        with self._driving() as (lease, planned):
            if planned is None:
                raise HomeError(f"the ledger of sweep {self.name!r} has gone: {self._folder.path / 'ledger.db'}.")
            return self._mirror(planned, lease, recorder)

    def _mirror(self, ledger: Ledger, lease: Drive, recorder: Recorder | None) -> Summary:
        driver = Driver(ledger, self._folder, lease, recorder or self._mlflow(is_thorough=True))
        driver.open()
        if recorder is None:
            self._folder.keep_tracking_uri(self.tracking_uri)
        return driver.finish()

    def _mlflow(self, *, is_thorough: bool = False) -> Recorder:
        is_sqlite = self.tracking_uri.startswith("sqlite")  # artifacts are then beside the file
        root = None if is_sqlite else self._home.artifact_root
        return recorder_of(self.tracking_uri, root, self._network_bytes, self._probe_bytes, is_thorough=is_thorough)

    def _network_bytes(self, key: str) -> bytes | None:
        from sweeper.training.network_file import content_problem

        try:
            data = storage.read_bytes(self._folder.network(key))
        except OSError:
            return None  # the next front asks for it again
        # A damaged network must not replace a mirrored one; `sweeper audit` names it.
        return None if data is None or content_problem(data, key) else data

    def _probe_bytes(self, key: str) -> bytes | None:
        location = self._folder.probes(key)
        where = storage.without_credentials(location)
        try:
            data = storage.read_bytes(location)
            if data is not None:
                read_probes(data, key)
        except OSError as error:  # the file is written only once, and a trial counts as mirrored only with its file
            raise TrackingError(f"{where} cannot be read to be mirrored: {error.strerror}") from error
        except QueryError as error:
            raise TrackingError(f"{where} cannot be mirrored: {error} Or restore it from a copy.") from error
        return data

    def _new_ledger(self) -> Ledger:
        self._folder.make_ledger(create_ledger)
        return Ledger(self._folder.ledger_url, self.name, this_driver())

    @property
    def standing(self) -> Standing:
        """Summary of the sweep's state: counts, driver, and the rules that it is measured by."""
        return standing_of(self._home.known(self.name))

    def counts(self) -> Counts:
        """Return how many trials are in which state. Trials that a dead driver left running count as waiting."""
        return self.standing.counts

    @property
    def driver(self) -> str | None:
        """Description of the process that drives this sweep now; None if nobody does."""
        folder = self._home.known(self.name)
        return self.standing.driver if folder.has_shared_ledger and not folder.driver else folder.driver


def _said_again(wanted: Iterable[Outcome], tried: Mapping[Outcome, int]) -> str:
    """Return a sentence on how many trials are tried again."""
    if not tried:
        return f"no trial ended {' or '.join(wanted)}: none is tried again"
    counted = ", ".join(f"{tried[outcome]} {outcome}" for outcome in wanted if outcome in tried)
    return f"tried again, as asked for: {counted}; their former outcomes stay in the ledger"
