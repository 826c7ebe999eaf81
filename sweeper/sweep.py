"""The loop that joins plan, execute and record: short enough to read in a minute.

A sweep is planned into its ledger; an executor asks for populations until none is left; every outcome goes to the
ledger first and is then mirrored. Running and resuming are the same: what has no outcome yet is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweeper import objective, query
from sweeper.errors import TrackingError, UnknownSweepError
from sweeper.execute import RayExecutor
from sweeper.facts import sweep_facts
from sweeper.home import Home, SweepFolder
from sweeper.jobs import Executor, Work
from sweeper.plan import Ledger
from sweeper.population import Counts, Population, count, form_populations, population_size
from sweeper.record import MlflowRecorder, Recorder, SweepFacts
from sweeper.spec import LoadedSpec, SweepSpec
from sweeper.table import ArrowTable, Front, compute_front
from sweeper.vocabulary import Ended, Job, Lease, Progress, TrialRecord


@dataclass
class Snapshot:
    """What a sweep looks like while it runs; handed to an observer after every change.

    Attributes:
        counts: Trials by state, as in the ledger.
        best_accuracy: By task: the best accuracy measured so far, in any epoch.
        epochs: By running population: epochs done, epochs in all, and members.
        note: Something the user should know now, such as a tracking server that does not answer.
    """

    counts: Counts
    best_accuracy: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Summary:
    """How a run of a sweep ended.

    Attributes:
        is_finished: Whether every planned trial has an outcome.
        unmirrored: Why MLflow does not hold every outcome; empty where it does.
    """

    name: str
    counts: Counts
    fronts: Sequence[Front]
    is_finished: bool
    unmirrored: str = ""

    @property
    def is_mirrored(self) -> bool:
        """Whether MLflow holds every outcome."""
        return not self.unmirrored


Observer = Callable[[Snapshot], None]


class Sweep:
    """One sweep: its ledger in a home folder, its mirror in MLflow.

    Args:
        name: Name of the sweep.
        home: Folder that holds sweeps.
        tracking_uri: Where MLflow is. None: where this sweep was last mirrored, or a database in the home.
    """

    def __init__(self, name: str, home: str | Path = "sweeps", tracking_uri: str | None = None) -> None:
        self.name = name
        self._home = Home(Path(home))
        self._folder = self._home.sweep(name)
        self.tracking_uri = tracking_uri or self._folder.tracking_uri or self._home.tracking_uri

    @property
    def scratch(self) -> Path:
        """Folder for what an executor writes beside; nothing in it is ever read again."""
        return self._folder.path / "placement"

    def run(
        self,
        loaded: LoadedSpec | None = None,
        *,
        executor: Executor | None = None,
        workers: int = 1,
        recorder: Recorder | None = None,
        observe: Observer = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        work: Work = objective.train_population,
    ) -> Summary:
        """Run every planned trial that has no outcome yet.

        Args:
            loaded: The spec; None resumes what was planned.
            executor: Where populations are trained; Ray Tune on this machine by default.
            workers: How many populations will be trained at a time; shapes the plan when it is first made.
            recorder: Where outcomes are mirrored; MLflow by default.
            observe: Called after every change.
            should_stop: Asked often; once true, running populations are left at their last checkpoint.
            work: What trains a population.

        Raises:
            SweepError: For everything a user can mend; nothing is started then.
        """
        if loaded is None:
            self._home.known(self.name)
        with self._folder.drive() as lease:
            # What can fail before the plan is written fails first: images, windows, the tracking server.
            stored = Ledger(self._folder.ledger_url, self.name) if self._folder.is_planned else None
            loaded = self._agreed(loaded, stored)
            tasks = objective.check(loaded.spec.settings())
            recorder = recorder or MlflowRecorder(self.tracking_uri)
            ledger = stored or Ledger(self._folder.ledger_url, self.name)
            pixels = max(task.image[1] * task.image[2] for task in tasks.values())
            ledger.plan(loaded, population_size(loaded.spec, workers, pixels), identity=lease.session)
            recorder.open(self._facts(ledger, {label: task.fingerprint for label, task in tasks.items()}))
            self._folder.keep_tracking_uri(self.tracking_uri)
            driver = _Driver(ledger, self._folder, lease, recorder)
            driver.observe, driver.should_stop = observe, should_stop
            if driver.has_work:  # a finished sweep needs no cluster
                (executor or RayExecutor(workers, scratch=self.scratch)).run(work, driver)
            return driver.finish()

    def _agreed(self, loaded: LoadedSpec | None, ledger: Ledger | None) -> LoadedSpec:
        """Return the spec to run: the planned one, which the given one must equal."""
        planned = ledger.planned_spec if ledger else None
        if planned is None:
            if loaded is None:
                raise UnknownSweepError(
                    f"sweep {self.name!r} was never planned to the end. Start it again with `sweeper run`."
                )
            return loaded
        if loaded is not None and ledger is not None:
            ledger.refuse_other(loaded)
        return planned

    def _facts(self, ledger: Ledger, data_hashes: Mapping[str, str]) -> SweepFacts:
        spec = ledger.spec
        facts = sweep_facts(data_hashes) | {"home": str(self._folder.path.parent)}
        facts["seeds"] = ", ".join(str(spec.seed + replicate) for replicate in range(spec.replicates))
        planned = ledger.planned_spec
        return SweepFacts(self.name, planned.text if planned else "", spec.to_json(), facts, identity=ledger.identity)

    def mirror(self, recorder: Recorder | None = None) -> Summary:
        """Write every outcome and front of the ledger to MLflow; what is there already stays as it is."""
        self._home.known(self.name)
        with self._folder.drive() as lease:
            ledger = Ledger(self._folder.ledger_url, self.name)
            recorder = recorder or MlflowRecorder(self.tracking_uri)
            recorder.open(self._facts(ledger, {}))
            return _Driver(ledger, self._folder, lease, recorder).finish()

    def counts(self) -> Counts:
        """Return how many trials stand where. Trials that a dead driver left running are waiting."""
        folder = self._home.known(self.name)
        counts = Ledger(folder.ledger_url, self.name).counts()
        return counts if folder.driver else counts.without_driver()

    def front(self, task: str | None = None, where: Sequence[str] = ()) -> ArrowTable:
        """Return the stored front as an Arrow table, from MLflow alone; of all tasks unless one is named."""
        return query.as_table(query.pareto(self.tracking_uri, self.name, task=task, where=where))


class _Driver:
    """Hands out populations and takes outcomes back; the source of an executor's jobs."""

    def __init__(self, ledger: Ledger, folder: SweepFolder, lease: Lease, recorder: Recorder) -> None:
        self._ledger, self._folder, self._lease, self._recorder = ledger, folder, lease, recorder
        self.observe: Observer = lambda _: None
        self.should_stop: Callable[[], bool] = lambda: False
        self._spec: SweepSpec = ledger.spec
        self._waiting = ledger.open_populations()
        self._running: dict[str, Population] = {}
        self._records: dict[str, TrialRecord] = {record.key: record for record in ledger.records()}
        self._snapshot = Snapshot(count(self._records.values()).without_driver())
        self._fronts: dict[str, Front] = {}
        self._unmirrored = ""

    @property
    def has_work(self) -> bool:
        """Whether any trial has no outcome yet."""
        return bool(self._waiting)

    def next_job(self) -> Job | None:
        if not self._waiting:
            return None
        population = self._waiting.pop(0)
        self._ledger.claim(population, self._lease.session, _now_ms())
        self._running[population.key] = population
        self._snapshot.counts = self._snapshot.counts.started(len(population.open))
        self._show(population, 0, 0)
        return Job(
            key=population.key,
            task=population.task,
            keys=population.keys,
            settings=tuple(setting.flat() for setting in population.settings),
            wanted=tuple(key in population.open for key in population.keys),
            checkpoint=str(self._folder.checkpoint(population.key)),
            lease=self._lease,
        )

    def on_progress(self, job: Job, progress: Progress) -> None:
        population = self._running[job.key]
        self._ledger.hear(population, _now_ms())
        best = self._snapshot.best_accuracy
        for values in progress.values:
            best[job.task] = max(best.get(job.task, 0.0), values.get("accuracy", 0.0))
        self._show(population, progress.epoch, progress.epochs, "; ".join(progress.notes))

    def on_ended(self, job: Job, ended: Sequence[Ended]) -> None:
        population = self._running.pop(job.key)
        for key, member in zip(job.wanted_keys, ended, strict=True):
            record = self._ledger.tell(population, key, member)
            self._records[key] = record
            self._snapshot.counts = self._snapshot.counts.ended(record)
        self._snapshot.epochs.pop(job.key, None)
        self._mirror([self._records[key] for key in job.keys], [job.task])
        self.observe(self._snapshot)

    def finish(self) -> Summary:
        """Mirror what is not mirrored yet, and say how it ended."""
        counts = count(self._records.values()).without_driver()
        is_finished = counts.waiting == 0
        self._unmirrored = ""
        self._mirror(list(self._records.values()), self._spec.tasks)
        state = ("FAILED" if counts.failed else "FINISHED") if is_finished else "KILLED"
        if not self._unmirrored:
            self._try(lambda: self._recorder.close(state))
        fronts = [self._fronts.get(task) or self._front(task) for task in self._spec.tasks]
        return Summary(self._folder.name, counts, fronts, is_finished, self._unmirrored)

    def _show(self, population: Population, epoch: int, epochs: int, note: str = "") -> None:
        self._snapshot.epochs[population.key] = (epoch, epochs, len(population.open))
        self._snapshot.note = note
        self.observe(self._snapshot)

    def _mirror(self, records: Sequence[TrialRecord], tasks: Sequence[str]) -> None:
        """Bring MLflow up to the ledger; what fails now is caught up at the end."""

        def write() -> None:
            for record in records:
                if record.state.is_finished:
                    self._recorder.record(record)
            for task in tasks:
                self._fronts[task] = self._recorder.record_front(self._front(task))

        self._try(write)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except TrackingError as error:
            # The ledger has the outcome: a tracking server that is away must not stop the sweep.
            self._unmirrored = str(error)
            self._snapshot.note = str(error)

    def _front(self, task: str) -> Front:
        return compute_front(
            self._records.values(),
            sweep=self._folder.name,
            task=task,
            objectives=self._spec.objectives,
            reference_point=self._spec.reference_point,
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Estimate:
    """What a sweep will need: an estimate from a short probe training on this machine."""

    cells: Mapping[str, int]
    populations: int
    population_size: int
    train_s: float
    memory_bytes: int
    disk_bytes: int


def estimate(loaded: LoadedSpec, workers: int) -> Estimate:
    """Plan a sweep without writing anything, and probe what it needs."""
    spec = loaded.spec
    settings = spec.settings()
    tasks = objective.check(settings)
    pixels = max(task.image[1] * task.image[2] for task in tasks.values())
    size = population_size(spec, workers, pixels)
    populations = form_populations(settings, size)
    probes: dict[tuple[str, int], objective.Probe] = {}
    ends = [0.0] * workers  # each population goes to the worker that is free first, as Ray Tune does it
    for population in populations:
        kind = (population.settings[0].group_key, len(population.settings))
        if kind not in probes:
            probes[kind] = objective.probe(population.settings)
        ends[ends.index(min(ends))] += probes[kind].epoch_s * population.settings[0].training.epochs
    cells = {task: sum(s.task.label == task for s in settings) for task in spec.tasks}
    return Estimate(
        cells=cells,
        populations=len(populations),
        population_size=max(len(population.keys) for population in populations),
        train_s=max(ends),
        memory_bytes=min(workers, len(populations)) * max(p.memory_bytes for p in probes.values()),
        disk_bytes=workers * max(p.checkpoint_bytes for p in probes.values()) + 12_000 * len(settings),
    )
