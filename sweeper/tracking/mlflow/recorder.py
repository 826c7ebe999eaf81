"""Mirrors the ledger to MLflow: outcomes, fronts and the fronts' networks.

Writing is idempotent: a run is looked up by its trial key before it is created, its values carry
the ledger's own times, and its final status is set last. That status is the *commit mark* of a
trial; a tag on the sweep's run is the commit mark of a front. A piece without its mark counts as
not written and is completed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sweeper.analysis.fronts import Front
from sweeper.credentials import redacted
from sweeper.errors import QueryError, TrackingError
from sweeper.tracking.live import LiveState
from sweeper.tracking.mlflow.client import (
    FRONT,
    KIND,
    SWEEP,
    TRIAL_KEY,
    artifact_location,
    artifact_paths,
    connect,
    downloaded,
    experiment_of,
    search_runs,
    settle,
    translated,
    upload,
    write_batches,
)
from sweeper.tracking.mlflow.notes import NOTE, experiment_note
from sweeper.tracking.mlflow.page import SweepPage
from sweeper.tracking.mlflow.reader import (
    download_front,
    sweep_run,
)
from sweeper.tracking.mlflow.runs import (
    AIMS,
    COMMITTED,
    IDENTITY,
    LIVE,
    SPECS,
    STATUSES,
    attempt_of,
    closed_mark,
    front_mark,
    network_path,
    readable_marks,
    time_of,
    trial_metrics,
    trial_params,
    trial_tags,
)
from sweeper.tracking.mlflow.trial_files import TrialParts
from sweeper.tracking.recorder import (
    SweepFacts,
    checked_closing,
    member_keys,
    probes_path,
    require_finished,
    shortened,
)
from sweeper.trial import State, TrialRecord

if TYPE_CHECKING:
    from sweeper.tracking.mlflow.client import Run


_PARENT = "mlflow.parentRunId"

_DELETED = 2  # the value of MLflow's ViewType.DELETED_ONLY, without importing MLflow


class MlflowRecorder:
    """Mirrors one sweep at a time to an MLflow tracking server or database. One writer only.

    Args:
        tracking_uri: Address of MLflow, such as `sqlite:////home/me/mlflow.db` or `http://host:5000`.
        artifact_root: URI of the folder for artifacts if the tracking URI is a database (a server
            decides by itself). By default `artifacts` beside a SQLite file.
        network: Returns the file of a complete trial's network by the trial's key; None if there is none.
        probes: Returns the file of that network's answers under probes in the same way.
        is_thorough: Whether to compare files that are stored already, and store them again if they differ.

    Raises:
        TrackingError: If MLflow cannot be reached.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: str | None = None,
        network: Callable[[str], bytes | None] = lambda _: None,
        probes: Callable[[str], bytes | None] = lambda _: None,
        *,
        is_thorough: bool = False,
    ) -> None:
        self._uri, self._is_thorough = tracking_uri, is_thorough
        self._artifact_root, self._network, self._probes = artifact_root, network, probes
        self._table: TrialParts  # this one and the next are set by `open`
        self._page: SweepPage
        self._networks: set[str] = set()  # paths of stored networks
        self._tasks: set[str] = set()  # tasks with a stored front
        self._client = connect(tracking_uri)
        self._experiment_id = ""
        self._sweep = ""
        self._parent_id = ""
        self._runs: dict[str, str] = {}  # trial key -> run id
        self._committed: set[str] = set()
        self._attempts: dict[str, int] = {}  # trial key -> the attempt that its committed run holds
        self._former: list[str] = []  # ids of runs that others have replaced
        self._doubtful: set[str] = set()  # trial keys whose run may have been created
        self._members: dict[str, set[str]] = {}  # task -> trial keys that carry the front's tag
        self._fronts: dict[str, Front] = {}  # by key
        self._latest_ms = 0

    def open(self, sweep: SweepFacts) -> None:
        """Begin or continue a sweep: open its experiment and run, and read what is already mirrored.

        Raises:
            TrackingError: If the experiment is deleted or not sweeper's, or MLflow fails.
        """
        with translated(self._uri, f"open sweep '{sweep.name}'"):
            self._sweep = sweep.name
            self._experiment_id = self._own_experiment(sweep.name)
            self._parent_id = self._own_parent(sweep)
            tags = {f"sweeper.{name}": shortened(value) for name, value in sweep.facts.items()}
            tags |= {KIND: "sweep", SWEEP: sweep.name, AIMS: sweep.aims}
            specs = dict(zip(SPECS, (sweep.spec_text.encode(), sweep.spec_json.encode()), strict=True))
            tags |= {SPECS[path]: hashlib.sha256(data).hexdigest() for path, data in specs.items()}
            write_batches(self._client, self._parent_id, tags=tags)
            for path, data in specs.items():
                upload(self._client, self._parent_id, path, data)
            self._load_runs()
            parent = self._client.get_run(self._parent_id)
            self._table = TrialParts(self._client, parent)
            self._networks = artifact_paths(self._client, self._parent_id, "networks")
            self._tasks = {key for key in readable_marks(parent)[0] if "/" not in key}
            self._page = SweepPage(self._client, parent, sweep.name)

    def record(self, trial: TrialRecord) -> None:
        """Mirror a finished trial as one run, unless its run carries the commit mark of this attempt or a later one."""
        require_finished(trial)
        self._require_open()
        with translated(self._uri, f"mirror trial {trial.key} of sweep '{trial.sweep}'", leaves_out=True):
            if trial.key in self._committed and self._attempts.get(trial.key, 0) < trial.attempt:
                self._forget_run(trial.key)
            if trial.key not in self._committed:
                self._write_run(trial)
            elif self._is_thorough and trial.state is State.COMPLETE:
                self._renew(probes_path(trial.key), self._probes(trial.key))
            self._table.add(trial)

    def _renew(self, path: str, data: bytes | None) -> None:
        """Store a file again if the stored one is lost or differs; do nothing for None."""
        if data is None:
            return
        stored = None
        with suppress(TrackingError):
            stored = downloaded(self._client, self._parent_id, path)
        if stored != data:
            upload(self._client, self._parent_id, path, data)

    def _forget_run(self, key: str) -> None:
        """Remove the run of a former attempt, because its curve and measurements would mix with the new attempt's."""
        self._client.delete_run(self._runs[key])
        self._committed.discard(key)
        del self._runs[key]

    def _write_run(self, trial: TrialRecord) -> None:
        run_id = self._runs.get(trial.key) or self._found(trial)
        if trial.key in self._committed:
            return
        tags = trial_tags(trial) if run_id else {}  # a new run is created with its tags
        run_id = run_id or self._create(trial)
        write_batches(self._client, run_id, trial_metrics(trial), trial_params(trial), tags)
        if trial.state is State.COMPLETE and (data := self._probes(trial.key)) is not None:
            upload(self._client, self._parent_id, probes_path(trial.key), data)
        self._client.set_terminated(run_id, STATUSES[trial.state], end_time=trial.ended_ms)
        self._committed.add(trial.key)
        self._attempts[trial.key] = trial.attempt
        self._latest_ms = max(self._latest_ms, time_of(trial))

    def record_front(self, front: Front) -> Front:
        """Store a front as a Parquet artifact, mark it, and tag the runs of its members."""
        self._require_open()
        with translated(self._uri, f"store the front of task '{front.task}' of sweep '{self._sweep}'", leaves_out=True):
            self._table.write()
            version, stored = self._stored_front(front.key)
            if stored is None or not stored.same_content(front):
                stored = self._write_front(replace(front, version=version + 1))
            self._fronts[front.key] = stored
            if not front.is_chosen:
                self._tag_members(front.task, set(member_keys(stored)))
                self._store_networks(stored)
                self._describe(stored)
            return stored

    def bring_front(self, front: Front) -> None:
        """Store a front from another tracker under its own version, unless that or a later version is here."""
        self._require_open()
        with translated(self._uri, f"store the front of task '{front.task}' of sweep '{self._sweep}'", leaves_out=True):
            if self._stored_front(front.key)[0] < front.version:
                self._fronts[front.key] = self._write_front(front)

    def record_live(self, state: LiveState) -> None:
        """Write the sweep's state into a tag of its run, which is all that a watcher reads."""
        self._require_open()
        with translated(self._uri, f"say how sweep '{self._sweep}' stands"):
            self._client.set_tag(self._parent_id, LIVE, state.to_json(), synchronous=True)

    def live(self) -> LiveState | None:
        """Return the sweep's last state from its tag; None if there is none."""
        self._require_open()
        with translated(self._uri, f"read how sweep '{self._sweep}' stands"):
            text = self._client.get_run(self._parent_id).data.tags.get(LIVE)
        return LiveState.from_json(text) if text else None

    def close(self, state: str) -> None:
        """End the sweep's run as FINISHED, KILLED or FAILED."""
        self._require_open()
        with translated(self._uri, f"close sweep '{self._sweep}'", leaves_out=True):
            self._table.write()
            self._remove_copies()
            fronts, torn = readable_marks(self._client.get_run(self._parent_id))
            mark = closed_mark({*fronts, *torn}, len(self._table.attempts))
            self._client.set_tag(self._parent_id, *mark, synchronous=True)
            self._client.set_terminated(self._parent_id, checked_closing(state))
        settle(self._client, self._uri)

    def _require_open(self) -> None:
        if not self._parent_id:
            raise RuntimeError("this recorder has no sweep yet. Call open() first.")

    def _own_experiment(self, name: str) -> str:
        experiment = experiment_of(self._client, self._uri, name)
        if experiment is None:
            location = artifact_location(self._uri, self._artifact_root, name)
            tags = {SWEEP: name, NOTE: experiment_note(name)}
            return str(self._client.create_experiment(name, location, tags))
        if NOTE not in experiment.tags:  # made by an earlier version; a user's own words stay
            self._client.set_experiment_tag(experiment.experiment_id, NOTE, experiment_note(name))
        return str(experiment.experiment_id)

    def _own_parent(self, sweep: SweepFacts) -> str:
        runs = search_runs(self._client, [self._experiment_id], **{KIND: "sweep"})
        runs = runs or self._restored(sweep)
        if not runs:
            tags = {KIND: "sweep", SWEEP: sweep.name, IDENTITY: sweep.identity}
            return str(self._client.create_run(self._experiment_id, tags=tags, run_name=sweep.name).info.run_id)
        tags = runs[0].data.tags
        if tags.get(IDENTITY, "") != sweep.identity:
            raise TrackingError(
                f"MLflow at {redacted(self._uri)} holds another sweep named '{sweep.name}', from the home "
                f"{tags.get('sweeper.home', 'unknown')}. Give this one another name with --name, or mirror "
                "it elsewhere with --tracking-uri."
            )
        run_id = str(runs[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _restored(self, sweep: SweepFacts) -> list[Run]:
        """Restore this sweep's run if it was deleted, because trials are below it and it has the artifacts."""
        condition = f"tags.`{KIND}` = 'sweep' and tags.`{IDENTITY}` = '{sweep.identity}'"
        deleted = self._client.search_runs([self._experiment_id], condition, run_view_type=_DELETED, max_results=1)
        for run in deleted:
            self._client.restore_run(run.info.run_id)
        return list(deleted)

    def _load_runs(self) -> None:
        self._runs, self._committed, self._members, self._fronts = {}, set(), {}, {}
        self._attempts, self._former = {}, []
        self._latest_ms = 0
        for run in search_runs(self._client, [self._experiment_id], **{KIND: "trial"}):
            self._note(run)

    def _note(self, run: Run) -> None:
        key, task = run.data.tags.get(TRIAL_KEY), run.data.tags.get(FRONT)
        if key is None:  # a user removed the tag with its key, so it cannot be found and another run replaces it
            self._former.append(str(run.info.run_id))
            return
        is_committed = run.info.status in COMMITTED
        if key in self._committed and is_committed and attempt_of(run) != self._attempts[key]:
            # Deleting and restoring an experiment brings back the runs of former attempts.
            is_newer = attempt_of(run) > self._attempts[key]
            self._former.append(self._runs[key] if is_newer else str(run.info.run_id))
            if not is_newer:
                return
        elif key in self._runs and (key in self._committed or not is_committed):
            return  # a copy of a run that is known already
        self._runs[key] = str(run.info.run_id)
        if is_committed:
            self._committed.add(key)
            self._attempts[key] = attempt_of(run)
            self._latest_ms = max(self._latest_ms, run.info.end_time or 0)
        if task is not None:
            self._members.setdefault(task, set()).add(key)

    def _found(self, trial: TrialRecord) -> str | None:
        """Look for a run that may exist although its creation failed; `open` found all others."""
        if trial.key in self._doubtful:
            for run in search_runs(self._client, [self._experiment_id], **{TRIAL_KEY: trial.key}):
                self._note(run)
        return self._runs.get(trial.key)

    def _create(self, trial: TrialRecord) -> str:
        tags = {_PARENT: self._parent_id, KIND: "trial", SWEEP: trial.sweep, TRIAL_KEY: trial.key}
        self._doubtful.add(trial.key)
        run = self._client.create_run(
            self._experiment_id,
            start_time=trial.started_ms,
            tags=tags | trial_tags(trial),
            run_name=f"{trial.task} {trial.key}",
        )
        self._doubtful.discard(trial.key)
        self._runs[trial.key] = str(run.info.run_id)
        return self._runs[trial.key]

    def _remove_copies(self) -> None:
        """Remove duplicate runs, which arise if MLflow repeats a request that was answered too late."""
        while self._former:
            self._client.delete_run(self._former.pop())
        begun = self._client.search_runs([self._experiment_id], "attributes.status = 'RUNNING'", max_results=1000)
        for run in begun:
            key, kind = run.data.tags.get(TRIAL_KEY), run.data.tags.get(KIND)
            is_copy = key in self._committed and run.info.run_id != self._runs[key]
            if is_copy or (kind == "sweep" and run.info.run_id != self._parent_id):
                self._client.delete_run(run.info.run_id)

    def _stored_front(self, key: str) -> tuple[int, Front | None]:
        """Return the last marked version (0 for none) and its front, None if it cannot be read."""
        if key in self._fronts:
            return self._fronts[key].version, self._fronts[key]
        parent = self._client.get_run(self._parent_id)
        marks, torn = readable_marks(parent)
        if (mark := marks.get(key)) is None:
            return self._versions(key) if key in torn else 0, None
        try:
            self._fronts[key] = download_front(self._client, parent, key, mark)
            return int(mark["version"]), self._fronts[key]
        except (QueryError, TrackingError):
            return int(mark["version"]), None  # the next version replaces a lost or damaged artifact

    def _versions(self, key: str) -> int:
        """Return the last version of a front that has a file, if the front's mark is damaged."""
        paths = artifact_paths(self._client, self._parent_id, f"fronts/{key}")
        numbers = [path.rpartition("/v")[2].removesuffix(".parquet") for path in paths]
        return max((int(number) for number in numbers if number.isdecimal()), default=0)

    def _write_front(self, front: Front) -> Front:
        path = f"fronts/{front.key}/v{front.version:04d}.parquet"
        data = front.to_parquet_bytes()
        upload(self._client, self._parent_id, path, data)
        # The time of the last trial, not of the clock, so that mirroring again writes the same history.
        volume = (f"hypervolume/{front.key}", front.hypervolume, front.version, self._latest_ms)
        write_batches(self._client, self._parent_id, [volume])
        self._client.set_tag(self._parent_id, *front_mark(front, path, data), synchronous=True)
        return front

    def _describe(self, front: Front) -> None:
        """Show the fronts of all tasks on MLflow's page."""
        self._tasks.add(front.task)
        stored = (self._stored_front(task)[1] for task in sorted(self._tasks))
        self._page.show([front for front in stored if front is not None])

    def _store_networks(self, front: Front) -> None:
        """Store the networks of a front, so that all users of MLflow can draw and use them."""
        for key in front.table["key"].to_pylist():
            path = network_path(key)
            if path in self._networks and not self._is_thorough:
                continue
            if (data := self._network(key)) is not None:
                self._renew(path, data)
                self._networks.add(path)

    def _tag_members(self, task: str, keys: set[str]) -> None:
        tagged = self._members.setdefault(task, set())
        for key in sorted(tagged - keys):
            self._client.delete_tag(self._runs[key], FRONT)
            tagged.discard(key)
        for key in sorted(keys - tagged):
            if key in self._runs:  # a member that is not mirrored yet is tagged next time
                self._client.set_tag(self._runs[key], FRONT, task, synchronous=True)
                tagged.add(key)


def store_report(tracking_uri: str, sweep: str, page: bytes) -> None:
    """Store a report among the artifacts of a sweep's run, as `report.html`.

    Raises:
        UnknownSweepError: If there is no such sweep.
        TrackingError: If MLflow cannot be reached or refuses it.
    """
    client = connect(tracking_uri)
    # Any Exception, because each artifact store has its own.
    with translated(tracking_uri, f"store the report of sweep '{sweep}'", Exception):
        if run := sweep_run(client, tracking_uri, sweep):
            upload(client, str(run.info.run_id), "report.html", page)
