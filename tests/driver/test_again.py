"""Trials that are tried again on request, in real sweeps on SQLite and MLflow: the audit always holds."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest

from sweeper.checks.audit import audit
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, QueryError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.results.loaded_sweep import load
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.tracking.mlflow.client import connect
from sweeper.training.train import train_population
from sweeper.trial import Ended, Outcome, State

pytestmark = pytest.mark.slow

SEARCH = """
name: again
task: {data: digits, train_images: 64, test_images: 40}
lattice: {channels: 4, layers: 2, steps: 3}
parameters:
  classes: {values: [3, 2]}
  breadth_pressure: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}
  time_pressure: {min: 0, max: 0.5}
training: {epochs: 4, batch_size: 32}
search: {trials: 4}
replicates: 2
early_stopping: {min_epochs: 2, factor: 2}
placement: {population: 2}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 4}
"""

GRID = """
name: again
task: {data: digits, train_images: 64, test_images: 40}
lattice: {channels: 4, layers: 2, steps: 3}
parameters:
  classes: {values: [3, 2]}
  breadth_pressure: {values: [0, 1e-3]}
  time_pressure: {values: [0.01, 0.1]}
training: {epochs: 3, batch_size: 32}
placement: {population: 2}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 4}
"""


class Swept:
    """A home with one sweep of one of the specs above."""

    def __init__(self, folder, text):
        self.root = folder / "sweeps"
        (folder / "again.yaml").write_text(text)
        self.loaded = load_spec(folder / "again.yaml")
        self.folder = Home(self.root).sweep("again")

    def run(self, work=train_population, loaded=True, **options):
        sweep = Sweep("again", self.root)
        return sweep.run(self.loaded if loaded else None, executor=InlineExecutor(), work=work, **options)

    def resume(self, *again, work=train_population, **options):
        return self.run(work, loaded=False, again=again, **options)

    def records(self):
        return {record.key: record for record in Ledger(self.folder.ledger_url, "again").records()}

    def broken(self, uri=None):
        found = audit(self.folder, uri or Home(self.root).tracking_uri)
        return {promise.text: promise.said for promise in found if promise.holds is not True}

    def runs(self):
        """Return how many runs MLflow has of each trial."""
        client = connect(Home(self.root).tracking_uri)
        experiment = client.get_experiment_by_name("again").experiment_id
        found = client.search_runs([experiment], "tags.`sweeper.kind` = 'trial'", max_results=1000)
        return Counter(run.data.tags["sweeper.trial_key"] for run in found)


@pytest.fixture
def make(tmp_path, empty_database):
    def home(text):
        (tmp_path / "sweeps").mkdir()
        shutil.copy(empty_database, tmp_path / "sweeps" / "mlflow.db")
        return Swept(tmp_path, text)

    return home


@pytest.fixture
def home(make):
    return make(GRID)


def failing(*outcomes):
    """Return work whose first populations train one epoch and end with these outcomes in turn; later ones go well."""
    left = iter(outcomes)

    def work(job, report):
        if (outcome := next(left, None)) is None:
            return train_population(job, report)

        def once(progress):
            report(progress)
            raise RuntimeError(f"made to end as {outcome}")

        with pytest.raises(RuntimeError, match="made to end"):
            train_population(job, once)
        reason = f"made to end as {outcome}"
        ended = Ended(outcome, reason, {"accuracy": 0.9}, curve=[{"epoch": 9, "loss": 1}], is_final=True)
        return [ended] * len(job.wanted_keys)

    return work


def test_trials_that_ended_badly_are_tried_again_and_every_store_has_each_of_them_once(home):
    first = home.run(failing(Outcome.LOST, Outcome.FAILED, Outcome.NOT_FINITE))
    assert (first.counts.outcomes["lost"], first.counts.outcomes["failed"], first.counts.complete) == (2, 2, 2)
    before = home.records()
    notes = []
    second = home.resume("lost", "failed", observe=lambda snapshot: notes.append(snapshot.note))
    assert "tried again, as asked for: 2 failed, 2 lost; their former outcomes stay in the ledger" in notes
    assert second.is_finished
    assert (second.counts.planned, second.counts.complete, second.counts.outcomes["not_finite"]) == (8, 6, 2)
    after = home.records()
    assert {k for k, r in after.items() if r.attempt > before[k].attempt} == {
        k for k, r in before.items() if r.outcome in (Outcome.LOST, Outcome.FAILED)
    }
    assert home.runs() == Counter(list(after))
    assert home.broken() == {}
    table = load("again", Home(home.root).tracking_uri).trials().to_pylist()
    assert {row["key"]: row["outcome"] for row in table} == {k: str(r.outcome) for k, r in after.items()}
    assert len(table) == 8
    assert len(Ledger(home.folder.ledger_url, "again").rows()) == 12, "the former outcomes stay"


def test_lost_population_goes_on_from_its_checkpoint_and_a_failed_one_begins_anew(home):
    home.run(failing(Outcome.LOST, Outcome.FAILED))
    lost = {key for key, record in home.records().items() if record.outcome is Outcome.LOST}
    began = {}

    def work(job, report):
        def seen(progress):
            began.setdefault(job.wanted_keys, progress.epoch)
            report(progress)

        return train_population(job, seen)

    home.resume("lost", "failed", work=work)
    assert sorted((set(keys) <= lost, epoch) for keys, epoch in began.items()) == [(False, 1), (True, 2)]
    assert home.broken() == {}


def test_attempt_that_ends_as_one_without_a_failure_does_ends_with_the_same_measurements(home, tmp_path, make):
    home.run(failing(Outcome.LOST, Outcome.FAILED))
    home.resume("lost", "failed")
    tried = {key: dict(record.measurement) for key, record in home.records().items()}
    shutil.rmtree(home.root)
    other = make(GRID)
    other.run()
    assert tried == {key: dict(record.measurement) for key, record in other.records().items()}


def test_trial_may_be_tried_again_as_often_as_it_fails_and_never_once_it_is_complete(home):
    home.run(failing(Outcome.LOST))
    for attempt in (2, 3):
        summary = home.resume("lost", work=failing(Outcome.LOST))
        assert (summary.counts.outcomes["lost"], summary.counts.complete) == (2, 6)
        lost = [record for record in home.records().values() if record.outcome is Outcome.LOST]
        assert {record.attempt for record in lost} == {attempt}
        assert home.broken() == {}

    def never(job, report):
        raise AssertionError("it was trained again")

    home.resume("lost")
    notes = []
    summary = home.resume("lost", "failed", work=never, observe=lambda snapshot: notes.append(snapshot.note))
    assert summary.counts.complete == 8
    assert "no trial ended failed or lost: none is tried again" in notes
    assert home.broken() == {}


def test_request_that_is_stopped_before_it_trains_leaves_the_trials_waiting_and_the_audit_content(home):
    home.run(failing(Outcome.LOST))
    stopped = home.resume("lost", should_stop=lambda: True)
    assert not stopped.is_finished
    assert stopped.counts.waiting == 2
    assert home.broken() == {}, "MLflow still has the former attempt, and the audit knows it"
    assert home.resume().counts.complete == 8, "no request is needed any more"
    assert home.broken() == {}


def test_mirror_that_died_between_the_former_run_and_the_new_one_is_completed(home, monkeypatch):
    home.run(failing(Outcome.LOST))
    monkeypatch.setattr(
        "sweeper.tracking.mlflow.recorder.MlflowRecorder._create", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        home.resume("lost")
    monkeypatch.undo()
    assert any("sweeper mirror again" in line for said in home.broken().values() for line in said)
    Sweep("again", home.root).mirror()
    home.resume()
    assert home.broken() == {}
    assert set(home.runs().values()) == {1}


def test_outcomes_that_the_mirror_missed_are_named_as_former_attempts_and_written_later(home):
    home.run(failing(Outcome.LOST))
    home.resume("lost", recorder=MemoryRecorder())
    said = [line for lines in home.broken().values() for line in lines]
    assert any(line.startswith("2 × with the run of a former attempt (`sweeper mirror again`)") for line in said), said
    Sweep("again", home.root).mirror()
    assert home.broken() == {}


def test_empty_mlflow_gets_the_newest_attempts_alone(home, tmp_path, empty_database):
    home.run(failing(Outcome.LOST, Outcome.FAILED))
    home.resume("lost")
    shutil.copy(empty_database, tmp_path / "other.db")
    uri = f"sqlite:///{tmp_path}/other.db"
    Sweep("again", home.root, uri).mirror()
    assert home.broken(uri) == {}


def test_search_with_replicates_and_early_stopping_tries_again_without_repeating_a_setting(make):
    home = make(SEARCH)
    home.run(failing(Outcome.LOST))
    home.resume("lost", work=failing(Outcome.FAILED))
    summary = home.resume("failed")
    records = home.records()
    assert (summary.is_finished, summary.counts.planned, len(records)) == (True, 16, 16)
    assert {record.state for record in records.values()} <= {State.COMPLETE, State.PRUNED}
    assert home.broken() == {}


def test_search_that_is_not_finished_goes_on_with_what_failed_and_what_is_left(make):
    home = make(SEARCH)
    ended = []

    def some(job, report):
        ended.append(job)
        work = failing(Outcome.TIMED_OUT) if len(ended) == 2 else train_population
        return work(job, report)

    home.run(some, should_stop=lambda: len(ended) >= 4)
    assert home.resume("timed_out").is_finished
    assert len(home.records()) == 16
    assert home.broken() == {}


def test_word_that_is_no_failure_is_refused_before_anything_is_touched(home):
    home.run(failing(Outcome.LOST))
    before = home.records()
    with pytest.raises(QueryError, match=r"but got 'complete'\. A trial that is complete or pruned never runs again"):
        home.resume("lost", "complete")
    assert home.records() == before


def test_checkpoint_that_cannot_be_removed_is_one_message_and_nothing_is_tried_again(home, monkeypatch):
    home.run(failing(Outcome.FAILED))

    def refused(location):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sweeper.storage.delete", refused)
    with pytest.raises(HomeError, match=r"begin anew, but the checkpoint .* cannot be removed: Permission denied"):
        home.resume("failed")
    monkeypatch.undo()
    assert home.resume("failed").counts.complete == 8
    assert home.broken() == {}


#: Code of a driver that is killed in the middle of the second population that it tries again.
KILLED = """
import os, signal, sys
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.training.train import train_population

jobs = []

def work(job, report):
    jobs.append(job)
    def counted(progress):
        report(progress)
        if len(jobs) == 2 and progress.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    return train_population(job, counted)

Sweep("again", sys.argv[1]).resume(again=["lost", "failed"], executor=InlineExecutor(), work=work)
"""


@pytest.mark.parametrize("again", [pytest.param((), marks=pytest.mark.rare), ("lost", "failed")])
def test_driver_killed_while_it_tries_again_is_followed_by_one_that_loses_and_repeats_nothing(home, again):
    home.run(failing(Outcome.LOST, Outcome.FAILED, Outcome.LOST))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(home.root)], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = home.records()
    assert Counter(record.state for record in before.values())[State.COMPLETE] == 4
    trained = []

    def work(job, report):
        trained.extend(job.wanted_keys)
        return train_population(job, report)

    assert home.resume(*again, work=work).counts.complete == 8
    assert sorted(trained) == sorted(k for k, r in before.items() if r.state is not State.COMPLETE)
    assert home.broken() == {}
    assert set(home.runs().values()) == {1}


def test_command_line_tries_again_on_ray(home, tmp_path):
    """Uses the option of `sweeper resume` with workers of Ray Tune."""
    home.run(failing(Outcome.LOST, Outcome.FAILED))

    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", "sweeper", *words, "--home", str(home.root)],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, out, err = command("resume", "again", "--again", "lost,nonsense")
    assert (code, out) == (2, "")
    assert "failed, not_finite, missing_objective, out_of_memory, timed_out, lost; but got 'nonsense'" in err
    code, out, err = command("resume", "again", "--again", "lost, failed", "--workers", "1")
    assert (code, "8 trials: 8 complete" in out) == (0, True), out + err
    assert "tried again, as asked for: 2 failed, 2 lost" in out + err
    assert home.broken() == {}
