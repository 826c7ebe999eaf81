"""The mirror: the content of a real MLflow after writes, repeats, crashes and odd names."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import ViewType

from sweeper.credentials import redacted
from sweeper.errors import DamagedError, TrackingError, UnknownSweepError
from sweeper.measurements import MEASUREMENTS
from sweeper.tracking.memory import MemoryReader, MemoryRecorder
from sweeper.tracking.mlflow.client import SWEEP, artifact_location, connect
from sweeper.tracking.mlflow.inventory import read_mirror
from sweeper.tracking.mlflow.reader import MlflowReader, page_of_run, read_sweeps
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from sweeper.tracking.mlflow.runs import thinned, trial_metrics
from sweeper.tracking.trackers import reader_of
from tests.analysis.test_fronts import a_front, a_trial
from tests.checks.test_doctor import a_server
from tests.contracts.reader import ReaderContract
from tests.contracts.recorder import FACTS, RecorderContract, a_failed_trial, a_late_trial


@pytest.fixture
def uri(empty_database, tmp_path):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def opened(uri):
    recorder = MlflowRecorder(uri)
    recorder.open(FACTS)
    return recorder


class InMemory:
    @pytest.fixture
    def recorder(self):
        return MemoryRecorder(network=str.encode)

    @pytest.fixture
    def reader(self, recorder):
        return MemoryReader(recorder, FACTS.name)

    @pytest.fixture
    def other_reader(self, recorder):
        return MemoryReader(recorder, "other")


class TestMemoryRecorder(InMemory, RecorderContract):
    pass


class TestMemoryReader(InMemory, ReaderContract):
    pass


class InMlflow:
    @pytest.fixture
    def recorder(self, uri):
        return MlflowRecorder(uri, network=str.encode)

    @pytest.fixture
    def reader(self, uri):
        return reader_of(uri, FACTS.name)

    @pytest.fixture
    def other_reader(self, uri):
        return reader_of(uri, "other")


class TestMlflowRecorder(InMlflow, RecorderContract):
    def test_tag_keeps_more_of_a_long_reason_than_the_table(self, recorder, uri):
        recorder.open(FACTS)
        trial = a_failed_trial(reason="start " + "x" * 10_000 + " the cause")
        recorder.record(trial)
        assert len(run_of(uri, trial).data.tags["sweeper.reason"]) == 5000

    def test_members_of_a_front_are_tagged_all_replicates_included_and_old_ones_leave_it(self, recorder, uri):
        recorder.open(FACTS)
        first, better = a_late_trial(0, accuracy=0.5, time=1.0), a_late_trial(1, accuracy=0.9, time=1.0)
        twins = [a_late_trial(n, setting="s", seed=n) for n in (2, 3)]
        for trial in (first, better, *twins):
            recorder.record(trial)
        for members in ([first], [better], [first], twins):
            recorder.record_front(a_front(*members))
            assert on_front(uri) == {trial.key for trial in members}


class TestMlflowReader(InMlflow, ReaderContract):
    pass


def on_front(uri):
    """Return the keys of the trials whose runs are tagged as being on a front."""
    return {run.data.tags["sweeper.trial_key"] for run in all_runs(uri) if "sweeper.front" in run.data.tags}


def all_runs(uri, sweep="small"):
    client = connect(uri)
    experiment = client.get_experiment_by_name(sweep)
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def run_of(uri, trial):
    (run,) = [r for r in all_runs(uri) if r.data.tags.get("sweeper.trial_key") == trial.key]
    return run


def parent_of(uri, sweep="small"):
    (run,) = [r for r in all_runs(uri, sweep) if r.data.tags["sweeper.kind"] == "sweep"]
    return run


def everything(uri):
    """Return everything that MLflow holds of the sweep, except run ids and the parent run's times."""
    client = connect(uri)
    found = {}
    for run in all_runs(uri):
        tags = {k: v.replace(run.info.run_id, "RUN") for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        history = {
            name: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        is_trial = tags["sweeper.kind"] == "trial"
        times = (run.info.start_time, run.info.end_time) if is_trial else ()
        found[run.info.run_name] = (run.info.status, times, dict(run.data.params), tags, history)
    return found


def curve(epochs):
    return [{"epoch": e, "accuracy": e / 1000, "loss": float("nan") if e == 3 else 1.0} for e in range(epochs)]


# --- writing ----------------------------------------------------------------------------------------


def test_sweep_is_one_experiment_with_a_run_that_holds_spec_and_facts(opened, uri, tmp_path):
    client = connect(uri)
    parent = parent_of(uri)
    assert parent.info.run_name == "small"
    assert parent.info.status == "RUNNING"
    assert parent.data.tags["sweeper.git"] == "abc123"
    text = Path(client.download_artifacts(parent.info.run_id, "spec.yaml", str(tmp_path))).read_text()
    assert text == FACTS.spec_text
    assert [e.name for e in client.search_experiments() if e.tags] == ["small"]
    opened.close("KILLED")
    assert parent_of(uri).info.status == "KILLED"
    MlflowRecorder(uri).open(FACTS)
    assert parent_of(uri).info.status == "RUNNING"


def test_trial_is_one_run_below_the_sweep_with_setting_values_and_times(opened, uri):
    trial = a_late_trial(
        2,
        setting_key="other",
        attempt=3,
        axes={"time_pressure": 0.2, "lattice.gated": True, "depth": 7, "kind": "word"},
        measurement={"accuracy": 0.75, "depth": 2.0, "loss": float("inf"), "limited_depth": True},
        curve=curve(5),
    )
    opened.record(trial)
    run = run_of(uri, trial)
    assert run.info.run_name == "digits-10 k-digits-10-s2-0"
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("FINISHED", 1_000_002, 2_000_002)
    assert run.data.params == {"time_pressure": "0.2", "seed": "0"}
    assert run.data.metrics["accuracy"] == 0.75
    assert (run.data.metrics["depth"], run.data.metrics["setting.depth"]) == (2.0, 7.0)
    assert (run.data.metrics["limited_depth"], run.data.metrics["lattice.gated"]) == (1.0, 1.0)
    assert run.data.metrics["time_pressure"] == 0.2
    assert not {"loss", "kind", "epoch/epoch"} & set(run.data.metrics)
    tags = {k.removeprefix("sweeper."): v for k, v in run.data.tags.items() if k.startswith("sweeper.")}
    assert tags == {
        "kind": "trial",
        "sweep": "small",
        "trial_key": trial.key,
        "task": "digits-10",
        "state": "complete",
        "outcome": "complete",
        "setting_key": "other",
        "population": "p0",
        "attempt": "3",
        "channels_per_layer": "[4, 2]",
    }
    assert run.data.tags["mlflow.parentRunId"] == parent_of(uri).info.run_id
    client = connect(uri)
    losses = client.get_metric_history(run.info.run_id, "epoch/loss")
    assert [point.step for point in losses] == [0, 1, 2, 4], "a value that is not finite is left out"


def test_failed_trial_ends_its_run_as_failed_with_the_reason(opened, uri):
    trial = a_failed_trial()
    opened.record(trial)
    run = run_of(uri, trial)
    assert run.info.status == "FAILED"
    assert (run.data.tags["sweeper.outcome"], run.data.tags["sweeper.reason"]) == (
        "out_of_memory",
        "too large",
    )


@pytest.mark.parametrize("epochs", [1, 50, 51, 1000])
def test_long_curve_is_thinned_evenly_and_keeps_its_ends(epochs):
    kept = [point["epoch"] for point in thinned(curve(epochs))]
    assert len(kept) == min(epochs, 50)
    assert (kept[0], kept[-1]) == (0, epochs - 1)
    gaps = {later - earlier for earlier, later in pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=80))
def test_counts_over_epochs_are_told_where_they_change_and_draw_the_same_lines(counts):
    whole = [{"epoch": 3 * e, "breadth": b / 2, "depth": d, "time": 1.0} for e, (b, d) in enumerate(counts)]
    points = thinned(whole)
    told = [m for m in trial_metrics(a_trial(curve=whole)) if m[0].startswith("epoch/")]
    epochs = [point["epoch"] for point in points]
    for name in ("breadth", "depth", "time"):
        line = [(step, value) for told_name, value, step, _ in told if told_name == f"epoch/{name}"]
        assert np.interp(epochs, *zip(*line, strict=True)).tolist() == [point[name] for point in points]
        assert all(len({v for _, v in line[i : i + 3]}) > 1 for i in range(len(line) - 2)) or name == "time"
    assert sum(name == "epoch/time" for name, *_ in told) == len(points), "what is measured is told at each epoch"


def test_setting_and_curve_larger_than_a_batch_are_written_whole(opened, uri):
    setting = {f"name.{n}": n for n in range(230)}
    wide = [{"epoch": e, **{f"m{n}": float(n + e) for n in range(40)}} for e in range(60)]
    trial = a_late_trial(1, curve=wide)
    trial = replace(trial, setting=setting)
    opened.record(trial)
    run = run_of(uri, trial)
    assert len(run.data.params) == 230
    assert len(connect(uri).get_metric_history(run.info.run_id, "epoch/m39")) == 50


# --- idempotence, crashes ---------------------------------------------------------------------------


def test_writing_everything_twice_from_a_new_process_state_changes_nothing(uri):
    trials = [a_late_trial(n, accuracy=0.1 * n, time=float(n), curve=curve(60)) for n in range(1, 4)]
    trials.append(a_failed_trial(ended_ms=5_000_000, started_ms=1))

    def mirror():
        recorder = MlflowRecorder(uri)
        recorder.open(FACTS)
        for trial in trials:
            recorder.record(trial)
        recorder.record_front(a_front(*trials))
        recorder.close("FINISHED")

    mirror()
    once = everything(uri)
    assert len(once) == 1 + len(trials)
    mirror()
    assert everything(uri) == once


def test_lost_database_is_mirrored_again_to_the_same_content(empty_database, tmp_path):
    trials = [a_late_trial(n, accuracy=0.1 * n, time=float(n), curve=curve(3)) for n in range(3)]
    seen = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        shutil.copy(empty_database, tmp_path / folder / "mlflow.db")
        recorder = MlflowRecorder(f"sqlite:///{tmp_path / folder}/mlflow.db")
        recorder.open(FACTS)
        for trial in trials:
            recorder.record(trial)
        recorder.record_front(a_front(*trials))
        recorder.close("FINISHED")
        seen.append(everything(f"sqlite:///{tmp_path / folder}/mlflow.db"))
    assert seen[0] == seen[1]


class CrashError(BaseException):
    """Stands for a kill signal, which nothing can catch."""


@pytest.mark.parametrize("dies_in", ["log_batch", "set_terminated"])
def test_crash_before_the_commit_mark_is_completed_without_a_second_run(uri, monkeypatch, dies_in):
    trial = a_late_trial(1, curve=curve(60))
    crashed = MlflowRecorder(uri)
    crashed.open(FACTS)

    def die(*_, **__):
        raise CrashError

    monkeypatch.setattr(crashed._client, dies_in, die)
    with pytest.raises(CrashError):
        crashed.record(trial)
    assert run_of(uri, trial).info.status == "RUNNING"

    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert MlflowReader(uri, "small").trials().records == []
    resumed.record(trial)
    run = run_of(uri, trial)
    assert (run.info.status, run.info.end_time) == ("FINISHED", trial.ended_ms)
    client = connect(uri)
    assert len(client.get_metric_history(run.info.run_id, "epoch/accuracy")) == 50
    assert len(client.get_metric_history(run.info.run_id, "accuracy")) == 1


def test_crash_in_the_middle_of_the_values_stores_none_twice(uri, monkeypatch):
    trial = a_late_trial(1, curve=[{"epoch": e, **{f"m{n}": 1.0 for n in range(40)}} for e in range(50)])
    crashed = MlflowRecorder(uri)
    crashed.open(FACTS)
    log_batch, calls = crashed._client.log_batch, []

    def die_later(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise CrashError
        return log_batch(*args, **kwargs)

    monkeypatch.setattr(crashed._client, "log_batch", die_later)
    with pytest.raises(CrashError):
        crashed.record(trial)
    monkeypatch.setattr(crashed._client, "log_batch", log_batch)
    crashed.record(trial)
    run = run_of(uri, trial)
    lengths = {len(connect(uri).get_metric_history(run.info.run_id, f"epoch/m{n}")) for n in range(40)}
    assert lengths == {50}


def test_run_whose_creation_failed_on_the_way_back_is_found_and_not_repeated(uri, monkeypatch):
    trial, recorder = a_late_trial(1), MlflowRecorder(uri)
    recorder.open(FACTS)
    create = recorder._client.create_run

    def create_and_lose_the_answer(*args, **options):
        create(*args, **options)
        raise OSError("connection reset")

    monkeypatch.setattr(recorder._client, "create_run", create_and_lose_the_answer)
    with pytest.raises(TrackingError, match="connection reset"):
        recorder.record(trial)
    monkeypatch.undo()
    recorder.record(trial)
    assert len(all_runs(uri)) == 2
    recorder.close("FINISHED")
    assert [stored.key for stored in MlflowReader(uri, "small").trials().records] == [trial.key]


def test_front_without_its_commit_mark_is_not_seen_and_is_written_again(opened, uri, monkeypatch):
    first, better = a_late_trial(0, accuracy=0.5), a_late_trial(1, accuracy=0.9)
    opened.record(first)
    opened.record(better)
    opened.record_front(a_front(first))

    def die(*_, **__):
        raise CrashError

    monkeypatch.setattr(opened._client, "set_tag", die)
    with pytest.raises(CrashError):
        opened.record_front(a_front(first, better))
    (front,) = MlflowReader(uri, "small").fronts()
    assert front.same_content(a_front(first)), "readers go on seeing the whole old front"

    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert resumed.record_front(a_front(first, better)).version == 2
    history = connect(uri).get_metric_history(parent_of(uri).info.run_id, "hypervolume/digits-10")
    assert [point.step for point in history] == [1, 2]


def test_crash_between_mark_and_member_tags_is_mended_by_the_next_call(opened, uri, monkeypatch):
    first, better = a_late_trial(0, accuracy=0.5), a_late_trial(1, accuracy=0.9)
    opened.record(first)
    opened.record_front(a_front(first))
    opened.record(better)

    def die(*_, **__):
        raise CrashError

    monkeypatch.setattr(opened._client, "delete_tag", die)
    with pytest.raises(CrashError):
        opened.record_front(a_front(first, better))

    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert resumed.record_front(a_front(first, better)).version == 2
    assert on_front(uri) == {better.key}


def test_lost_front_artifact_is_replaced_by_the_next_version(opened, uri, tmp_path):
    opened.record_front(a_front(a_trial(0)))
    (file,) = tmp_path.rglob("v0001.parquet")
    file.unlink()
    with pytest.raises(TrackingError, match=r"fronts/digits-10/v0001.parquet.*cannot be read"):
        MlflowReader(uri, "small").fronts()
    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert resumed.record_front(a_front(a_trial(0))).version == 2
    assert MlflowReader(uri, "small").fronts()[0].version == 2


def test_whole_front_in_the_place_of_another_one_is_refused_and_mended(opened, uri, tmp_path):
    one, other = (a_front(a_trial(n, accuracy=accuracy)) for n, accuracy in enumerate((0.5, 0.75)))
    opened.record_front(one)
    (file,) = tmp_path.rglob("v0001.parquet")
    file.write_bytes(replace(other, version=1).to_parquet_bytes())
    with pytest.raises(DamagedError, match=r"fronts/digits-10/v0001.parquet of sweep 'small' is not as it was written"):
        MlflowReader(uri, "small").fronts()
    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert resumed.record_front(one).version == 2
    assert MlflowReader(uri, "small").fronts()[0].same_content(one)


@pytest.mark.parametrize("text", ['{"version": 1, "pa', "5", "[]", "{}", '{"version": "1", "path": 2}', None])
def test_torn_mark_of_a_front_is_named_and_mended(opened, uri, text):
    front = opened.record_front(a_front(a_trial(0)))
    opened.close("FINISHED")
    name, run_id = "sweeper.front.digits-10", parent_of(uri).info.run_id
    client = connect(uri)
    client.set_tag(run_id, name, text) if text is not None else client.delete_tag(run_id, name)
    with pytest.raises(TrackingError, match=rf"the tag {name} of the MLflow run {run_id} .*`sweeper mirror small`"):
        MlflowReader(uri, "small").fronts()
    resumed = MlflowRecorder(uri)
    resumed.open(FACTS)
    assert resumed.record_front(front).version == 2
    assert MlflowReader(uri, "small").fronts()[0].same_content(front)


def test_trials_that_were_stored_and_are_not_listed_any_more_are_missed(opened, uri):
    opened.record(a_trial(0))
    opened.record_front(a_front(a_trial(0)))
    before = parent_of(uri).data.tags["sweeper.trials"]
    opened.record(a_trial(1))
    opened.close("FINISHED")
    assert MlflowReader(uri, "small").trials().table.num_rows == 2
    connect(uri).set_tag(parent_of(uri).info.run_id, "sweeper.trials", before)
    with pytest.raises(TrackingError, match=r"the tag sweeper.trials .*`sweeper mirror small`"):
        MlflowReader(uri, "small").trials()


def test_thorough_mirror_stores_files_again_that_are_others(uri, tmp_path):
    trial, files = a_trial(0), {"network": b"network", "probes": b"probes"}

    def mirror(**options):
        recorder = MlflowRecorder(uri, None, lambda _: files["network"], lambda _: files["probes"], **options)
        recorder.open(FACTS)
        recorder.record(trial)
        recorder.record_front(a_front(trial))
        recorder.close("FINISHED")
        return {path.parent.name: path.read_bytes() for path in tmp_path.rglob(f"{trial.key}.*")}

    whole = mirror()
    assert whole == {"networks": b"network", "probes": b"probes"}
    for path in tmp_path.rglob(f"{trial.key}.*"):
        path.write_bytes(b"damaged")
    assert set(mirror().values()) == {b"damaged"}
    assert mirror(is_thorough=True) == whole
    for path in tmp_path.rglob(f"{trial.key}.*"):
        path.unlink()
    assert mirror(is_thorough=True) == whole


def refuse(*_, **__):
    raise AssertionError("logged through a queue")


def test_ambient_mlflow_settings_do_not_disturb(uri, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    # MLflow's queue could write after the commit mark, so the recorder must not use it.
    monkeypatch.setattr("mlflow.store.tracking.abstract_store.AbstractStore.log_batch_async", refuse)
    monkeypatch.chdir(tmp_path)
    recorder = MlflowRecorder(uri)
    recorder.open(FACTS)
    recorder.record(a_late_trial(1))
    recorder.record_front(a_front(a_late_trial(1)))
    assert len(all_runs(uri)) == 2
    assert run_of(uri, a_trial(1)).data.metrics["accuracy"] == 0.5
    recorder.close("FINISHED")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifacts", "mlflow.db"]


# --- names, places ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.b_c-1", "A", "0", "x" * 100, "Default2"])
def test_odd_but_legal_sweep_name_works_throughout(uri, name):
    recorder = MlflowRecorder(uri)
    recorder.open(replace(FACTS, name=name))
    recorder.record(a_late_trial(1, sweep=name))
    front = replace(a_front(a_late_trial(1)), sweep=name, task="t.a_b-1")
    recorder.record_front(front)
    assert [(stored.name, dict(stored.points)) for stored in read_sweeps(uri)] == [(name, {"t.a_b-1": 1})]
    (read,) = MlflowReader(uri, name).fronts("t.a_b-1")
    assert read.same_content(front)


def test_artifacts_lie_below_the_given_root(uri, tmp_path):
    recorder = MlflowRecorder(uri, (tmp_path / "my files").as_uri())
    recorder.open(FACTS)
    recorder.record_front(a_front(a_trial(0)))
    assert list((tmp_path / "my files" / "small").rglob("spec.yaml"))
    assert len(MlflowReader(uri, "small").fronts()) == 1


def test_sweeps_in_one_database_stay_apart(uri):
    for name in ("one", "two"):
        recorder = MlflowRecorder(uri)
        recorder.open(replace(FACTS, name=name))
        recorder.record(a_late_trial(1, sweep=name))
        recorder.close("FINISHED")
    assert [(stored.name, stored.status) for stored in read_sweeps(uri)] == [
        ("one", "FINISHED"),
        ("two", "FINISHED"),
    ]
    assert len(all_runs(uri, "one")) == len(all_runs(uri, "two")) == 2


def test_experiment_that_is_not_ours_is_left_alone(uri):
    with pytest.raises(TrackingError, match=r"'Default' in sqlite.* was not made by sweeper"):
        MlflowRecorder(uri).open(replace(FACTS, name="Default"))
    assert all_runs(uri, "Default") == []


def test_deleted_experiment_is_named_with_both_ways_out(opened, uri):
    client = connect(uri)
    number = client.get_experiment_by_name("small").experiment_id
    client.delete_experiment(number)
    with pytest.raises(TrackingError, match=rf"'small'.*is deleted.*restore --experiment-id {number}.*gc"):
        MlflowRecorder(uri).open(FACTS)
    client.restore_experiment(number)
    MlflowRecorder(uri).open(FACTS)


def mirrored_twice(uri):
    """Mirror a trial with its front twice, as one driver and then the next one would."""
    trial = a_late_trial(1)
    for recorder in (MlflowRecorder(uri), MlflowRecorder(uri)):
        recorder.open(FACTS)
        recorder.record(trial)
        recorder.record_front(a_front(trial))
        recorder.close("FINISHED")
    return trial


def experiments(uri):
    """Return all sweeps' experiments, also deleted ones, by name."""
    found = connect(uri).search_experiments(ViewType.ALL)
    return {one.name: one.experiment_id for one in found if one.name != "Default"}


def test_renamed_experiment_is_still_the_sweeps(uri):
    mirrored_twice(uri)
    client, before = connect(uri), experiments(uri)
    client.rename_experiment(before["small"], "my best one")
    mirrored_twice(uri)
    assert experiments(uri) == {"my best one": before["small"]}
    assert len(all_runs(uri, "my best one")) == 2
    assert len(MlflowReader(uri, "small").fronts()) == 1
    assert [stored.name for stored in read_sweeps(uri)] == ["small"]
    assert f"#/experiments/{before['small']}/" in page_of_run(uri, "small")
    assert read_mirror(uri, "small").identity == FACTS.identity
    with pytest.raises(TrackingError, match=r"'my best one' in .* is that of sweep 'small'"):
        MlflowReader(uri, "my best one").fronts()


def test_name_of_a_renamed_experiment_that_a_stranger_has_taken_leads_nobody_there(uri):
    mirrored_twice(uri)
    client = connect(uri)
    client.rename_experiment(experiments(uri)["small"], "my best one")
    client.create_experiment("small")
    mirrored_twice(uri)
    assert len(all_runs(uri, "my best one")) == 2
    assert all_runs(uri, "small") == []


def test_experiment_that_is_called_as_another_sweep_is_refused_with_its_own_name(uri):
    mirrored_twice(uri)
    connect(uri).rename_experiment(experiments(uri)["small"], "next")
    with pytest.raises(TrackingError, match=r"the MLflow experiment 'next' in .* is that of sweep 'small'"):
        MlflowRecorder(uri).open(replace(FACTS, name="next"))


def test_sweep_of_which_earlier_versions_made_a_second_experiment_is_the_one_of_its_name(uri, tmp_path):
    mirrored_twice(uri)
    client = connect(uri)
    client.rename_experiment(experiments(uri)["small"], "former")
    client.create_experiment("small", str(tmp_path / "artifacts" / "small"), tags={SWEEP: "small"})
    MlflowRecorder(uri).open(FACTS)
    assert len(all_runs(uri, "small")) == 1


@pytest.mark.parametrize("name", ["small", "my best one"])
def test_deleted_experiment_is_never_made_anew_also_where_it_was_renamed(uri, name):
    mirrored_twice(uri)
    client, number = connect(uri), experiments(uri)["small"]
    client.rename_experiment(number, name)
    client.delete_experiment(number)
    said = rf"'{name}'.*is deleted.*restore --experiment-id {number}"
    for use in (lambda: MlflowRecorder(uri).open(FACTS), MlflowReader(uri, "small").fronts):
        with pytest.raises(TrackingError, match=said):
            use()
    with pytest.raises(TrackingError, match=said):
        read_mirror(uri, "small")
    assert experiments(uri) == {name: number}


def test_restored_experiment_has_each_trial_once_again(uri):
    """Restoring an experiment also restores the deleted runs of former attempts."""
    first, second = a_late_trial(1, accuracy=0.5), a_late_trial(1, accuracy=0.7, attempt=1)
    for trial in (first, second):
        recorder = MlflowRecorder(uri)
        recorder.open(FACTS)
        recorder.record(trial)
        recorder.close("FINISHED")
    client, number = connect(uri), experiments(uri)["small"]
    kept = run_of(uri, second).info.run_id
    client.delete_experiment(number)
    client.restore_experiment(number)
    assert len(all_runs(uri)) == 3
    recorder = MlflowRecorder(uri)
    recorder.open(FACTS)
    recorder.record(second)
    recorder.close("FINISHED")
    assert run_of(uri, second).info.run_id == kept
    assert run_of(uri, second).data.metrics["accuracy"] == 0.7


def test_deleted_run_of_the_sweep_comes_back_with_all_that_it_holds(uri):
    mirrored_twice(uri)
    parent = parent_of(uri).info.run_id
    connect(uri).delete_run(parent)
    mirrored_twice(uri)
    assert parent_of(uri).info.run_id == parent
    assert len(all_runs(uri)) == 2
    assert [front.version for front in MlflowReader(uri, "small").fronts()] == [1]


def test_database_that_is_gone_is_said_to_be_written_again(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    for use in (
        MlflowReader(uri, "small").fronts,
        lambda: read_mirror(uri, "small"),
        lambda: page_of_run(uri, "small"),
    ):
        with pytest.raises(TrackingError, match=r"no MLflow database at .*`sweeper mirror small` writes it again"):
            use()
    with pytest.raises(TrackingError, match="`sweeper mirror NAME`"):
        read_sweeps(uri)
    assert list(tmp_path.iterdir()) == []


def test_recording_before_opening_is_refused(uri):
    with pytest.raises(RuntimeError, match=r"Call open\(\) first"):
        MlflowRecorder(uri).record(a_late_trial(1))


# --- reading ----------------------------------------------------------------------------------------


def test_unknown_sweep_is_refused_with_the_nearest_names_first(uri):
    for name in ("zebra", "digits-small"):
        MlflowRecorder(uri).open(replace(FACTS, name=name))
    with pytest.raises(UnknownSweepError, match=r"no sweep 'digit-small'.*known: digits-small, zebra"):
        MlflowReader(uri, "digit-small").fronts()
    with pytest.raises(UnknownSweepError, match=r"known: digits-small, zebra"):
        page_of_run(uri, "digit-small")


def test_unknown_task_is_refused_with_the_known_ones(opened, uri):
    with pytest.raises(UnknownSweepError, match=r"no front of task 'digits-10' \(it has: none\)"):
        MlflowReader(uri, "small").fronts("digits-10")
    opened.record_front(a_front(a_trial(0)))
    with pytest.raises(UnknownSweepError, match=r"'digits-11' \(it has: digits-10\)"):
        MlflowReader(uri, "small").fronts("digits-11")


def test_reading_a_missing_database_does_not_create_it(tmp_path):
    missing = tmp_path / "not here" / "mlflow.db"
    for read in (read_sweeps, lambda uri: MlflowReader(uri, "small").fronts(), lambda uri: page_of_run(uri, "small")):
        with pytest.raises(TrackingError, match=r"no MLflow database at .*not here/mlflow\.db"):
            read(f"sqlite:///{missing}")
    assert list(tmp_path.iterdir()) == []


def test_reading_changes_no_byte_of_the_database(opened, uri, tmp_path):
    opened.record(a_late_trial(1))
    opened.record_front(a_front(a_late_trial(1)))
    opened.close("FINISHED")
    before = (tmp_path / "mlflow.db").read_bytes()
    MlflowReader(uri, "small").fronts()
    read_sweeps(uri)
    assert (tmp_path / "mlflow.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"hello, this is text and no database at all" * 50])
def test_reading_a_file_that_is_no_database_is_refused(tmp_path, content):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(TrackingError, match=r"notes\.txt"):
        read_sweeps(f"sqlite:///{file}")
    assert file.read_bytes() == content


def test_database_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(TrackingError, match=r"could not reach MLflow at .*unable to open database file"):
        MlflowRecorder(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", ""])
def test_folder_as_tracking_uri_is_refused_with_the_way_out(uri):
    with pytest.raises(TrackingError, match=rf"'{uri}' names a folder.*sqlite:////"):
        connect(uri)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_database_in_memory_is_refused(uri):
    with pytest.raises(TrackingError, match=rf"'{uri}' names no file"):
        connect(uri)


def test_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"http://\*\*\*@127\.0\.0\.1:1\b") as raised:
        MlflowRecorder("http://someone:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None, "a traceback would print the password"


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (401, "You are not authenticated.", r"that it knows \(HTTP 401\)\. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TR"),
        (
            403,
            "Permission denied",
            r"not let this user do that \(HTTP 403\)\. .* Set MLFLOW_TRACKING_USERNAME and MLFLOW_TR",
        ),
        (403, "Invalid Host header - who is that?", r"does not answer to this name \(HTTP 403\)\. .*--allowed-hosts"),
    ],
)
def test_server_that_refuses_who_asks_is_one_error_with_the_way_in(code, text, said):
    with a_server(code, text) as (place, _):
        with pytest.raises(TrackingError, match=rf"MLflow at http://{place} .*{said}") as raised:
            connect(f"http://{place}")
        assert "in the address" not in str(raised.value)
        if code == 401:
            with pytest.raises(TrackingError, match=r"http://\*\*\*@.*mend the login in the address") as raised:
                connect(f"http://me:s3cret@{place}")
            assert (raised.value.__cause__, "s3cret" in str(raised.value)) == (None, False)


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql"])
@pytest.mark.parametrize("password", ["half/rest", "half/re@st", "1half/rest"])
def test_password_that_is_written_as_no_address_can_hold_it_is_refused_unshown(scheme, password):
    with pytest.raises(TrackingError, match=r"://\*\*\*@127\.0\.0\.1:1/x has no port .* write / as %2F") as raised:
        connect(f"{scheme}://me:{password}@127.0.0.1:1/x")
    assert not re.search("half|re@?st", str(raised.value))


def test_database_server_that_does_not_answer_is_refused_at_once_without_its_password():
    with pytest.raises(TrackingError, match=r"postgresql://\*\*\*@127\.0\.0\.1:1/x.*refused") as raised:
        connect("postgresql://someone:p@ss@127.0.0.1:1/x")
    assert "p@ss" not in str(raised.value)


def test_kind_of_tracking_uri_that_mlflow_does_not_know_is_refused():
    with pytest.raises(TrackingError, match=r"gopher://hole"):
        connect("gopher://hole")


def test_database_without_a_place_for_artifacts_is_refused():
    with pytest.raises(TrackingError, match=r"postgresql://\*\*\*@db/x.*artifact root"):
        artifact_location("postgresql://me:secret@db/x", None, "small")
    assert artifact_location("http://host:5000", "file:///ignored", "small") is None


def test_redacted_hides_names_and_passwords_of_every_uri_in_a_text():
    text = "from http://a:b@c/d to postgresql+psycopg2://x:y@z@h:1/db?password=q&a=1 and http://h/p@q"
    assert redacted(text) == (
        "from http://***@c/d to postgresql+psycopg2://***@h:1/db?password=***&a=1 and http://h/p@q"
    )
    assert redacted("http://u:pa/ss@h:1 http://h:5000/p http://[::1]:5000/p@q") == (
        "http://***@h:1 http://h:5000/p http://[::1]:5000/p@q"
    )


@pytest.mark.parametrize("uri", ["127.0.0.1:5000", "localhost:5000", "tracking.example.org:80/prefix"])
def test_server_that_is_named_as_browsers_take_it_is_answered_with_its_scheme(uri):
    with pytest.raises(TrackingError, match=rf"'{uri}' lacks http://\. Name the server as http://{uri}\."):
        connect(uri)


def test_page_of_a_database_is_that_of_the_sweeps_own_run_and_before_it_has_one_of_its_experiment(uri):
    MlflowRecorder(uri).open(replace(FACTS, aims=""))
    assert re.fullmatch(r"#/experiments/1/runs/[0-9a-f]{32}\?workflowType=machine_learning", page_of_run(uri, "small"))


@pytest.mark.slow
def test_first_connection_is_quiet_and_leaves_no_folder_behind(tmp_path):
    code = f"from sweeper.tracking.mlflow.client import connect; connect('sqlite:///{tmp_path}/new.db')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=in_repository(),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


def in_repository():
    root = str(Path(__file__).parents[2])
    return os.environ | {"PYTHONPATH": root}


# --- a real server ----------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "server.db")  # saves seconds
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", str(tmp_path / "served")]
    env = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
def test_server_alone_is_enough_to_mirror_and_to_read_elsewhere(server, tmp_path, monkeypatch, capfd):
    trials = [a_late_trial(n, accuracy=0.1 * n, time=float(n), curve=curve(60)) for n in range(3)]
    for _ in range(2):
        recorder = MlflowRecorder(server, "file:///the/server/decides")
        recorder.open(FACTS)
        for trial in trials:
            recorder.record(trial)
        recorder.record_front(a_front(*trials))
        recorder.close("FINISHED")
    assert capfd.readouterr() == ("", ""), "what a sweep prints is the command line's to say"
    assert len(all_runs(server)) == 4
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (front,) = MlflowReader(server, "small").fronts()
    assert (front.version, front.same_content(a_front(*trials))) == (1, True)
    assert [(stored.name, stored.status) for stored in read_sweeps(server)] == [("small", "FINISHED")]
    assert page_of_run(server + "/", "small").startswith(
        f"{server}/#/experiments/1/runs/{parent_of(server).info.run_id}?"
    )
    assert json.loads(parent_of(server).data.tags["sweeper.front.digits-10"])["version"] == 1
    assert not list(elsewhere.iterdir())
    assert set(MEASUREMENTS) <= set(front.table.column_names)
    with pytest.raises(UnknownSweepError, match=r"known: small"):
        MlflowReader(server, "smal").fronts()


def test_runs_that_a_request_sent_twice_has_left_are_removed_at_the_end(opened, uri):
    trial, client = a_late_trial(1), connect(uri)
    opened.record(trial)
    kept = {run.info.run_id: run for run in (parent_of(uri), run_of(uri, trial))}
    for run in kept.values():
        own = {name: value for name, value in run.data.tags.items() if name.startswith("sweeper.")}
        client.create_run(run.info.experiment_id, tags=own)
    foreign = client.create_run(run.info.experiment_id)
    opened.close("FINISHED")
    assert {run.info.run_id for run in all_runs(uri)} == {*kept, foreign.info.run_id}


@pytest.mark.slow
def test_database_whose_maker_was_killed_is_made_by_the_next_one(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    connecting = "import sys; from sweeper.tracking.mlflow.client import connect; connect(sys.argv[1])"
    process = subprocess.Popen([sys.executable, "-c", connecting, uri])

    def sizes():
        for path in tmp_path.iterdir():
            with suppress(FileNotFoundError):  # journals come and go
                yield path.stat().st_size

    while not any(size > 100_000 for size in sizes()):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert connect(uri).search_experiments()
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm"}
