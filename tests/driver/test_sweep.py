"""The loop that joins plan, execute and record, with an executor in this process."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import sweeper
from sweeper import model, storage
from sweeper.checks.audit import audit
from sweeper.driver.estimate import estimate as estimated
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, SpecError, SpecMismatchError, TrackingError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.results.find_network import find_network
from sweeper.spec import LatticeSetting, PlacementSpec, load_spec
from sweeper.tracking.live import Stage
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.inputs import load_task
from sweeper.training.train import SupersededError, train_population
from sweeper.trial import Ended, Outcome, State

GOOD = Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "breadth": 1.0, "depth": 2.0, "time": 2.0})


@pytest.fixture
def loaded():
    return load_spec("smoke")


@pytest.fixture
def sweep(tmp_path):
    return Sweep("smoke", tmp_path / "sweeps")


def good(job, report):
    """Work that returns a fixed measurement of each network, without training."""
    return [
        Ended(Outcome.COMPLETE, "", {"accuracy": 0.5, "breadth": 1 + i, "depth": 2, "time": 2})
        for i in range(len(job.wanted_keys))
    ]


def run(sweep, loaded=None, work=good, recorder=None, **options):
    return sweep.run(loaded, executor=InlineExecutor(), recorder=recorder or MemoryRecorder(), work=work, **options)


class Idle(InlineExecutor):
    """An executor that runs nothing, so that planned trials wait."""

    def run(self, work, source, request):
        pass


def plan_only(sweep, loaded):
    summary = sweep.run(loaded, executor=Idle(), recorder=MemoryRecorder())
    assert summary.counts.waiting == summary.counts.planned > 0


def records_of(sweep, tmp_path):
    return Ledger(Home(tmp_path / "sweeps").sweep("smoke").ledger_url, "smoke").records()


def test_every_kind_of_end_is_counted_and_stops_nothing_else(sweep, loaded, tmp_path):
    kinds = iter([Outcome.FAILED, Outcome.NOT_FINITE, Outcome.OUT_OF_MEMORY, Outcome.LOST])

    def mixed(job, report):
        return [Ended(next(kinds, Outcome.COMPLETE), "why", good(job, report)[0].measurement) for _ in job.wanted_keys]

    summary = run(sweep, loaded, mixed)
    assert summary.is_finished
    assert dict(summary.counts.outcomes) == {
        "complete": 4, "pruned": 0, "failed": 1, "not_finite": 1, "missing_objective": 0, "out_of_memory": 1,
        "timed_out": 0, "lost": 1,
    }  # fmt: skip
    assert summary.counts.failed == 4


def test_stopped_sweep_goes_on_where_it_was(sweep, loaded, tmp_path):
    worked = []

    def count(job, report):
        worked.extend(job.wanted_keys)
        return good(job, report)

    first = run(sweep, loaded, count, workers=4, should_stop=lambda: len(worked) >= 3)
    assert not first.is_finished
    assert first.counts.complete == len(worked)
    second = run(sweep, None, count)
    assert second.is_finished
    assert sorted(worked) == sorted(setting.key for setting in loaded.spec.settings())


def test_other_spec_under_a_known_name_is_refused_and_changes_nothing(sweep, loaded, tmp_path):
    plan_only(sweep, loaded)
    before = records_of(sweep, tmp_path)
    path = tmp_path / "smoke.yaml"
    path.write_text(loaded.text.replace("epochs: 3", "epochs: 4"))
    with pytest.raises(SpecMismatchError, match=r"training\.epochs: 3 -> 4"):
        run(sweep, load_spec(path))
    assert records_of(sweep, tmp_path) == before


def test_unknown_sweep_cannot_be_resumed_and_nothing_is_made(sweep, tmp_path):
    with pytest.raises(UnknownSweepError, match="'smoke'"):
        run(sweep)
    assert not (tmp_path / "sweeps").exists()


def test_data_that_cannot_be_read_are_refused_before_anything_is_planned(tmp_path):
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"no parquet")
    path = tmp_path / "bad.yaml"
    path.write_text(
        f"task: {{data: {bad}}}\nobjectives: [{{name: accuracy, goal: maximize}}]\nreference_point: {{accuracy: 0}}\n"
    )
    with pytest.raises(SpecError, match=r"bad\.parquet"):
        run(Sweep("bad", tmp_path / "sweeps"), load_spec(path))
    assert Home(tmp_path / "sweeps").sweeps() == []


class AwayRecorder(MemoryRecorder):
    """A recorder whose server can be unreachable."""

    def __init__(self):
        super().__init__()
        self.is_away = True
        self.refused = threading.Event()

    def record(self, trial):
        if self.is_away:
            self.refused.set()
            raise TrackingError("the server is away")
        super().record(trial)


def test_tracking_server_that_goes_away_does_not_stop_the_sweep_and_is_caught_up(sweep, loaded):
    recorder, notes, jobs = AwayRecorder(), [], []

    def back_at_last(snapshot):
        notes.append(snapshot.note)
        recorder.is_away = snapshot.counts.complete < 8

    def in_its_time(job, report):
        if jobs:  # the first one has ended: what it left is refused before the second one ends
            assert recorder.refused.wait(60)
            time.sleep(0.2)
        jobs.append(job.key)
        return good(job, report)

    summary = run(sweep, loaded, in_its_time, recorder, observe=back_at_last)
    assert summary.is_mirrored
    assert len(recorder.trials) == 8
    assert "the server is away" in notes


def test_tracking_server_that_stays_away_is_said_and_mirroring_later_catches_up(sweep, loaded):
    summary = run(sweep, loaded, recorder=AwayRecorder())
    assert (summary.is_finished, summary.is_mirrored) == (True, False)
    assert "away" in summary.unmirrored
    recorder = MemoryRecorder()
    assert sweep.mirror(recorder).is_mirrored
    assert len(recorder.trials) == 8
    assert recorder.fronts.keys() == set(loaded.spec.tasks)


def test_progress_shows_epochs_best_accuracy_and_ends_with_everything_done(sweep, loaded):
    seen, recorder = [], MemoryRecorder()

    def watch(snapshot):
        state = snapshot.live()
        total = state.total
        assert total.waiting == snapshot.counts.waiting
        assert (total.complete, total.running) == (snapshot.counts.complete, snapshot.counts.running)
        seen.append(state)

    summary = run(sweep, loaded, work=train_population, observe=watch, recorder=recorder)
    assert [row.task for row in seen[-1].tasks] == list(loaded.spec.tasks)
    assert all(row.complete == 4 and 0 < row.best_accuracy <= 1 for row in seen[-1].tasks)
    assert {state.workers for state in seen} == {1}
    of_four = {round(state.work % 4, 9) for state in seen}  # four members, three epochs
    assert of_four == {0.0, round(4 / 3, 9), round(8 / 3, 9)}
    last = recorder.live()
    assert (last.stage, last.total.complete, last.busy) == (Stage.FINISHED, 8, 0)
    fronts = {front.task: (front.hypervolume, front.table.num_rows) for front in summary.fronts}
    assert {row.task: (row.hypervolume, row.points) for row in last.tasks} == fronts


def test_sweep_that_is_let_go_of_says_so_and_goes_on_with_what_it_knew(sweep, loaded):
    recorder, seen = MemoryRecorder(), []
    run(sweep, loaded, workers=4, recorder=recorder, should_stop=lambda: bool(recorder.trials))
    first = recorder.live()
    assert first.stage is Stage.INTERRUPTED
    assert 0 < first.total.ended < 8
    assert first.total.running == 0
    run(sweep, None, recorder=recorder, observe=lambda snapshot: seen.append(snapshot.live()))
    known = {row.task: row.points for row in first.tasks if row.ended}
    assert {task: row.points for row in seen[0].tasks if (task := row.task) in known} == known
    assert seen[0].total.ended == first.total.ended
    assert recorder.live().stage is Stage.FINISHED


@pytest.mark.slow
def test_checkpoint_that_is_torn_is_noted_and_the_population_starts_anew(sweep, loaded, tmp_path):
    trained = run(sweep, loaded, work=train_population)
    whole = {record.key: record.measurement for record in records_of(sweep, tmp_path)}
    other = Sweep("smoke", tmp_path / "other")
    torn, notes = [], []

    def tear(job, report):
        if not torn:
            torn.append(job.checkpoint)
            Path(job.checkpoint).parent.mkdir(parents=True)
            Path(job.checkpoint).write_bytes(b"half a file")
        return train_population(job, report)

    run(other, loaded, work=tear, observe=lambda snapshot: notes.append(snapshot.note))
    assert any("torn" in note and "starts anew" in note for note in notes)
    ledger = Ledger(Home(tmp_path / "other").sweep("smoke").ledger_url, "smoke")
    assert {record.key: record.measurement for record in ledger.records()} == whole
    assert trained.is_finished


def test_training_whose_loss_is_nan_is_an_outcome_of_its_own_and_the_other_cells_complete(sweep, loaded, tmp_path):
    def broken(job, report):
        settings = tuple({**s, "task.noise": 1e39} if s["task.classes"] == 3 else s for s in job.settings)
        return train_population(type(job)(**{**vars(job), "settings": settings}), report)

    summary = run(sweep, loaded, work=broken)
    assert summary.counts.complete == 4
    assert summary.counts.outcomes["not_finite"] == 4
    failed = [record for record in records_of(sweep, tmp_path) if record.state is State.FAILED]
    assert all("NaN" in record.reason for record in failed)


@pytest.mark.slow
def test_front_of_replicates_is_one_point_with_its_spread(tmp_path):
    path = tmp_path / "twice.yaml"
    text = load_spec("smoke").text.replace("\nobjectives:", "\nreplicates: 2\nobjectives:")
    path.write_text(text)
    loaded = load_spec(path, name="twice")
    summary = run(Sweep("twice", tmp_path / "sweeps"), loaded, work=train_population)
    for front in summary.fronts:
        for row in front.table.to_pylist():
            assert (row["replicates"], len(row["keys"])) == (2, 2)
            assert row["accuracy_sd"] >= 0


def test_estimate_counts_cells_trials_and_populations_and_writes_nothing(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimate = estimated(loaded, workers=2)
    assert sum(estimate.cells.values()) == 8
    assert estimate.populations * estimate.population_size >= 8
    assert min(estimate.train_s, estimate.memory_bytes, estimate.disk_bytes) > 0
    assert list(tmp_path.iterdir()) == []


def test_training_that_raises_keeps_its_traceback(sweep, loaded, tmp_path):
    def broken(job, report):
        return train_population(replace(job, settings=({**job.settings[0], "task.classes": 11},)), report)

    summary = run(sweep, loaded, work=broken)
    assert summary.counts.outcomes["failed"] == 8
    reasons = {record.reason for record in records_of(sweep, tmp_path)}
    assert all("Traceback" in reason and "11" in reason for reason in reasons)


@pytest.mark.slow
def test_stop_in_the_middle_of_a_training_is_no_outcome_and_the_rest_is_trained_later(sweep, loaded, tmp_path):
    seen = []
    first = run(sweep, loaded, train_population, observe=seen.append, should_stop=lambda: len(seen) >= 3)
    assert (first.is_finished, first.counts.failed) == (False, 0)
    second = run(sweep, work=train_population)
    assert second.counts.complete == 8
    undisturbed = Sweep("smoke", tmp_path / "other")
    run(undisturbed, loaded, train_population)
    ledger = Ledger(Home(tmp_path / "other").sweep("smoke").ledger_url, "smoke")
    measured = {record.key: record.measurement for record in records_of(sweep, tmp_path)}
    assert measured == {record.key: record.measurement for record in ledger.records()}


def test_error_of_the_observer_is_no_outcome_of_a_trial(sweep, loaded, tmp_path):
    def broken(snapshot):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(sweep, loaded, train_population, observe=broken)
    assert {record.outcome for record in records_of(sweep, tmp_path)} == {None}


def test_checkpoint_that_cannot_be_written_is_noted_and_fails_no_trial(sweep, loaded, tmp_path):
    notes = []
    blocked = tmp_path / "sweeps" / "smoke" / "checkpoints"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    summary = run(sweep, loaded, train_population, observe=lambda snapshot: notes.append(snapshot.note))
    assert summary.counts.complete == 8
    assert any("no checkpoint could be written" in note for note in notes)


def test_lease_that_cannot_be_written_is_noted_and_stops_nothing(sweep, loaded, tmp_path):
    notes, leases = [], []
    blocked = tmp_path / "sweeps" / "smoke" / "leases"
    blocked.parent.mkdir(parents=True)
    blocked.touch()

    def work(job, report):
        leases.append(job.lease)
        return good(job, report)

    summary = run(sweep, loaded, work, observe=lambda snapshot: notes.append(snapshot.note))
    assert summary.counts.complete == 8
    assert set(leases) == {None}
    assert any(re.match(r"the lease of population \w+ could not be written", note) for note in notes)


def test_population_that_is_tried_again_has_another_lease_and_the_former_holder_stops(sweep, loaded):
    jobs = []

    def work(job, report):
        jobs.append(job)
        if len(jobs) == 1:
            return [Ended(Outcome.LOST, "its node is gone")] * len(job.wanted_keys)
        if len(jobs) == 2:
            with pytest.raises(SupersededError):
                train_population(jobs[0], report)
        return good(job, report)

    assert run(sweep, loaded, work).counts.complete == 8
    assert jobs[0].key == jobs[1].key
    assert len({job.lease.session for job in jobs}) == len(jobs)


def test_placement_that_changes_is_said_and_kept_and_runs_no_trial_again(sweep, loaded, tmp_path):
    assert run(sweep, loaded, good).counts.complete == 8
    before, notes = records_of(sweep, tmp_path), []
    moved = replace(loaded, spec=loaded.spec.model_copy(update={"placement": PlacementSpec(cpus=0.5, memory_mib=900)}))
    run(Sweep("smoke", tmp_path / "sweeps"), moved, observe=lambda snapshot: notes.append(snapshot.note))
    assert records_of(sweep, tmp_path) == before
    ledger = Ledger(Home(tmp_path / "sweeps").sweep("smoke").ledger_url, "smoke")
    assert ledger.spec.placement.cpus == 0.5
    assert len(ledger.revisions) == 2
    assert any('placement.memory_mib: "auto" -> 900' in note for note in notes), notes


@pytest.mark.slow
def test_network_of_every_complete_trial_is_there_before_its_outcome_and_is_what_was_measured(sweep, loaded, tmp_path):
    folder, seen = Home(tmp_path / "sweeps").sweep("smoke"), []

    def watch(snapshot):
        if snapshot.counts.complete != (seen[-1] if seen else 0):
            seen.append(snapshot.counts.complete)
            done = [record for record in records_of(sweep, tmp_path) if record.outcome is Outcome.COMPLETE]
            assert all(folder.network_here(record.key).is_file() for record in done)

    run(sweep, loaded, train_population, observe=watch)
    assert seen[-1] == 8
    for record in records_of(sweep, tmp_path):
        network = model.load(find_network(Home(tmp_path / "sweeps"), record.key[:8]).path)
        assert list(network.window.channels) == record.details["channels_per_layer"]
        known = network.description
        assert (known["key"], known["setting"]) == (record.key, record.setting)
        assert known["measurement"] == record.measurement
        assert sum(known["step_dist"]) == pytest.approx(1, abs=1e-5)
        assert (known["classes"], len(known["data"])) == (network.window.classes, 16)
        assert {"sweeper", "torch", "python"} <= known["software"].keys()
        setting = LatticeSetting.from_flat(record.setting)
        images = load_task(setting.task).validation
        answer = network.halting(images.pixels)
        is_right = answer.log_probs.argmax(1) == images.labels
        assert float(is_right.double().mean()) == record.measurement["accuracy"]
        assert float(answer.steps.float().mean()) == pytest.approx(record.measurement["time"], abs=1e-5)


def test_network_of_a_trial_that_is_not_finite_is_not_written(sweep, loaded, tmp_path):
    def broken(job, report):
        return train_population(replace(job, settings=tuple({**s, "task.noise": 1e39} for s in job.settings)), report)

    assert run(sweep, loaded, broken).counts.outcomes["not_finite"] == 8
    assert not (tmp_path / "sweeps" / "smoke" / "networks").exists()


def test_networks_that_cannot_be_written_are_noted_and_fail_no_trial(sweep, loaded, tmp_path):
    notes = []
    blocked = tmp_path / "sweeps" / "smoke" / "networks"
    blocked.parent.mkdir(parents=True)
    blocked.touch()
    summary = run(sweep, loaded, train_population, observe=lambda snapshot: notes.append(snapshot.note))
    assert summary.counts.complete == 8
    assert any(note.startswith("4 networks could not be written to") and str(blocked) in note for note in notes)


@pytest.mark.slow
def test_worker_whose_driver_was_replaced_writes_no_network(sweep, loaded, tmp_path):
    def replaced(job, report):
        def last(progress):
            if progress.epoch == progress.epochs:
                Path(job.lease.path).write_text('{"session": "of another driver"}')

        return train_population(job, last)

    with pytest.raises(SupersededError, match="of another driver"):
        run(sweep, loaded, replaced)
    assert not (tmp_path / "sweeps" / "smoke" / "networks").exists()


@pytest.mark.slow
def test_population_whose_checkpoint_is_gone_trains_whole_and_ends_the_same(sweep, loaded, tmp_path):
    """One member has an outcome, and the checkpoint is lost: the others must not train in a smaller population."""
    ledger_of = Home(tmp_path / "sweeps").sweep("smoke")
    plan_only(sweep, loaded)
    ledger = Ledger(ledger_of.ledger_url, "smoke")
    population = ledger.open_populations()[0]
    ledger.claim(population, "a driver that dies", 0)
    ledger.tell(population, population.keys[0], GOOD)
    run(sweep, work=train_population)
    other = Sweep("smoke", tmp_path / "other")
    run(other, loaded, train_population)
    whole = Ledger(Home(tmp_path / "other").sweep("smoke").ledger_url, "smoke").records()
    expected = {record.key: record.measurement for record in whole} | {population.keys[0]: GOOD.measurement}
    assert {record.key: record.measurement for record in records_of(sweep, tmp_path)} == expected


@pytest.mark.slow
def test_checkpoint_of_another_population_is_noted_and_the_population_starts_anew(sweep, loaded, tmp_path):
    run(sweep, loaded, train_population)
    folder = tmp_path / "sweeps" / "smoke" / "checkpoints"
    one = next(folder.glob("*.pt")).read_bytes()
    other = Sweep("other", tmp_path / "sweeps")
    notes, placed = [], []

    def foreign(job, report):
        Path(job.checkpoint).parent.mkdir(parents=True, exist_ok=True)
        if not placed:
            placed.append(Path(job.checkpoint).write_bytes(one))
        return train_population(job, report)

    bigger = load_spec("smoke", name="other")
    summary = run(
        other,
        bigger,
        foreign,
        workers=4,
        observe=lambda snapshot: notes.append(snapshot.note),
        recorder=MemoryRecorder(),
    )
    assert summary.counts.complete == 8
    assert any("starts anew" in note for note in notes)


def test_images_that_changed_since_planning_are_refused_on_resume(tmp_path):
    path = tmp_path / "pictures.yaml"
    path.write_text(
        "task: {data: pictures.parquet}\nlattice: {channels: 2, layers: 1, steps: 2}\ntraining: {epochs: 1}\n"
        "objectives: [{name: accuracy, goal: maximize}]\nreference_point: {accuracy: 0}\n"
    )
    write_pictures(tmp_path / "pictures.parquet", 0)
    pictures = Sweep("pictures", tmp_path / "sweeps")
    plan_only(pictures, load_spec(path))
    write_pictures(tmp_path / "pictures.parquet", 1)
    with pytest.raises(SpecMismatchError, match=r"'pictures' have changed"):
        run(pictures)


def test_images_that_are_gone_once_everything_is_complete_are_needed_by_nobody(tmp_path, empty_database):
    file, spec = tmp_path / "pictures.parquet", tmp_path / "pictures.yaml"
    spec.write_text(
        "task: {data: pictures.parquet}\nlattice: {channels: 2, layers: 1, steps: 2}\ntraining: {epochs: 1}\n"
        "objectives: [{name: accuracy, goal: maximize}]\nreference_point: {accuracy: 0}\n"
    )
    write_pictures(file, 0)
    home = tmp_path / "sweeps"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    pictures = Sweep("pictures", home)
    pictures.run(load_spec(spec), executor=InlineExecutor())
    file.unlink()
    (home / "mlflow.db").unlink()
    assert pictures.resume(executor=InlineExecutor()).counts.complete == 1
    said = []
    again = pictures.resume(
        again=["lost"], executor=InlineExecutor(), observe=lambda snapshot: said.append(snapshot.note)
    )
    assert again.is_mirrored
    assert said == ["no trial ended lost: none is tried again"]
    loaded = sweeper.load_sweep("pictures", home=home)
    (front,) = loaded.fronts()
    assert loaded.report(tmp_path / "report.html").exists()
    assert sweeper.load_network(find_network(Home(home), front.table["key"][0].as_py()).path).description["key"]
    assert all(promise.holds for promise in audit(Home(home).known("pictures"), Home(home).tracking_uri))


def write_pictures(path, seed):
    values = np.random.default_rng(seed).integers(0, 256, (16, 4, 4), dtype=np.uint8)
    rows = []
    for value in values:
        buffer = io.BytesIO()
        Image.fromarray(value).save(buffer, "PNG")
        rows.append({"bytes": buffer.getvalue(), "path": None})
    pq.write_table(pa.table({"image": rows, "label": [i % 2 for i in range(16)]}), path)


def test_relative_database_is_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = Sweep("smoke", "sweeps", "sqlite:///my.db")
    assert sweep.tracking_uri == f"sqlite:///{tmp_path}/my.db"


def test_address_with_a_password_must_be_named_again(sweep, loaded, tmp_path):
    secret = Sweep("smoke", tmp_path / "sweeps", "http://me:secret@127.0.0.1:1")
    plan_only(secret, loaded)
    with pytest.raises(TrackingError, match=r"'smoke' was mirrored to an address with a password.*--tracking-uri"):
        _ = Sweep("smoke", tmp_path / "sweeps").tracking_uri
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "sweeps" / "smoke").glob("*.txt"))


GROWING = """
task: {data: digits, classes: 3, train_images: 300, test_images: 100}
lattice: {window: auto, memory_mib: 1}
parameters:
  breadth_pressure: {values: [0, 1]}
training: {epochs: 30, batch_size: 16, solver: proximal}
objectives: [{name: accuracy, goal: maximize}, {name: channels, goal: minimize}]
reference_point: {accuracy: 0, channels: 100}
"""


@pytest.mark.slow
def test_window_that_grows_ends_at_the_memory_limit_or_at_what_the_pressure_leaves(tmp_path):
    path = tmp_path / "growing.yaml"
    path.write_text(GROWING)
    notes = set()
    sweep = Sweep.load(path, home=tmp_path / "sweeps")
    sweep.run(executor=InlineExecutor(), recorder=MemoryRecorder(), observe=lambda s: notes.update(s.note.split("; ")))
    free, pressed = Ledger(Home(tmp_path / "sweeps").sweep("growing").ledger_url, "growing").records()
    assert free.state is State.COMPLETE
    assert free.measurement["limited_memory"] == 1
    (note,) = (note for note in notes if "stopped growing" in note)
    assert note.startswith(f"{free.key} stopped growing at 1 MiB: ")
    assert sum(free.details["channels_per_layer"]) > 4  # the network began with 4
    assert free.measurement["accuracy"] > 0.6
    assert pressed.measurement["channels"] <= 1
    assert pressed.measurement["limited_memory"] == pressed.measurement["limited_breadth"] == 0


def test_memory_limit_below_what_a_window_begins_with_is_refused(tmp_path):
    path = tmp_path / "growing.yaml"
    path.write_text(GROWING.replace("batch_size: 16", "batch_size: 300"))
    with pytest.raises(SpecError, match=r"memory_mib must leave room .* takes 2 MiB, but got lattice.memory_mib=1"):
        estimated(load_spec(path), workers=1)


@pytest.mark.slow
def test_plan_of_growing_windows_says_that_its_time_is_the_least(tmp_path):
    path = tmp_path / "growing.yaml"
    path.write_text(GROWING)
    assert estimated(load_spec(path), workers=1).grows
    assert not estimated(load_spec("smoke"), workers=1).grows


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_network_that_meets_a_full_disk_is_written_before_its_trial_is_complete(sweep, loaded, monkeypatch, number):
    write, refused, notes = storage.write_bytes, [], []

    def once(location, data):
        if "networks" in location and not refused:
            refused.append(location)
            raise OSError(number, os.strerror(number))
        write(location, data)

    monkeypatch.setattr(storage, "write_bytes", once)
    summary = run(sweep, loaded, train_population, observe=lambda snapshot: notes.append(snapshot.note))
    assert (summary.counts.complete, summary.counts.failed) == (8, 0)
    assert any(f"was lost: OSError: [Errno {number}] {os.strerror(number)}; it goes on from" in n for n in notes)
    assert Path(refused[0]).exists()


def test_disk_that_is_full_before_a_population_begins_stops_the_sweep_with_nothing_running(
    sweep, loaded, tmp_path, monkeypatch
):
    def filling(job, report):
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
        return good(job, report)

    with pytest.raises(HomeError, match=r"0\.0 MiB are free"):
        run(sweep, loaded, filling)
    states = [record.state for record in records_of(sweep, tmp_path)]
    assert State.COMPLETE in states
    assert set(states) == {State.COMPLETE, State.WAITING}


def test_sweep_that_is_complete_is_resumed_without_a_run_and_what_a_killed_driver_has_left_goes(sweep, loaded):
    class Clears(InlineExecutor):
        cleared = 0

        def run(self, work, source, request):
            raise AssertionError("nothing is left to run")

        def clear(self):
            self.cleared += 1

    run(sweep, loaded)
    executor = Clears()
    assert sweep.resume(executor=executor, recorder=MemoryRecorder(), work=good).is_finished
    assert executor.cleared == 1
