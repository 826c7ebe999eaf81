"""Networks trained on clean images are shown degraded ones: their answers are kept by image, and read back."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from sweeper import load_sweep
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError, SpecError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.results.sweep_tables import SweepTables
from sweeper.spec import load_spec, spec_from_json
from sweeper.tracking.memory import MemoryReader, MemoryRecorder

SPEC = """
name: probed
task: {data: digits, classes: [3, 5, 8], train_images: 120, validation_images: 60, test_images: 60}
lattice: {channels: 3, layers: 2, steps: 3}
parameters: {time_pressure: {values: [0, 0.1]}}
training: {epochs: 2, batch_size: 32}
objectives: [{name: accuracy, goal: maximize}, {name: time, goal: minimize}]
reference_point: {accuracy: 0, time: 4}
"""

PROBES = "probes: {debris: [0.5, 0.25], contrast: 0.5, blank: 1}\n"


BESIDE = 'lesions: [lateral, "layer:1,top_down"]\ncomplexity: true\n'


def swept(folder, text):
    """Run a sweep in this process; return its tables, and its records by key."""
    folder.mkdir()
    (folder / "probed.yaml").write_text(text)
    files = Home(folder / "home").sweep("probed").path / "probes"

    def probes(key):
        path = files / f"{key}.parquet"
        return path.read_bytes() if path.is_file() else None

    recorder = MemoryRecorder(probes=probes)
    Sweep.load(folder / "probed.yaml", home=folder / "home").run(executor=InlineExecutor(), recorder=recorder)
    return SweepTables(MemoryReader(recorder, "probed")), recorder.trials


def is_probe(name):
    return name.startswith("probe.")


@pytest.mark.slow
def test_complete_trials_are_shown_every_probe_and_nothing_else_changes(tmp_path):
    tables, trials = swept(tmp_path / "with", SPEC + PROBES)
    plain_tables, plain = swept(tmp_path / "without", SPEC)
    assert trials.keys() == plain.keys(), "probes are no part of a trial's key"
    for key, trial in trials.items():
        own = {name: value for name, value in trial.measurement.items() if not is_probe(name)}
        assert own == plain[key].measurement
        assert trial.measurement["probe.whole.0.accuracy"] == own["test_accuracy"]
        assert trial.measurement["probe.whole.0.time"] == pytest.approx(own["test_time"])
        assert sum(map(is_probe, trial.measurement)) == 3 * 5

    rows = tables.probes()
    assert rows.num_rows == 2 * 5 * 60
    assert set(rows["key"].to_pylist()) == set(trials)
    assert set(rows["label"].to_pylist()) == {3, 5, 8}
    for trial in trials.values():
        hidden = tables.probes(where=[f"key = '{trial.key}'", "probe = debris and level = 0.25"]).to_pylist()
        assert [row["image"] for row in hidden] == list(range(60))
        means = {
            "accuracy": sum(row["right"] for row in hidden) / 60,
            "time": sum(row["steps"] for row in hidden) / 60,
            "confidence": sum(row["confidence"] for row in hidden) / 60,
        }
        for what, mean in means.items():
            assert trial.measurement[f"probe.debris.0.25.{what}"] == pytest.approx(mean)
        assert all(row["right"] is (row["label"] == row["answer"]) for row in hidden)
        assert all(1 <= row["steps"] <= 3 and 0 < row["confidence"] <= 1 + 1e-6 for row in hidden)
    assert "probe.blank.1.time" in tables.trials().column_names
    assert "probe.blank.1.time" in tables.points().column_names
    with pytest.raises(QueryError, match="no complete trial that was shown probes"):
        plain_tables.probes()


@pytest.mark.slow
def test_complete_trials_are_measured_without_parts_and_their_task_without_them(tmp_path):
    tables, trials = swept(tmp_path / "with", SPEC + BESIDE)
    _, plain = swept(tmp_path / "without", SPEC)
    assert trials.keys() == plain.keys(), "lesions are no part of a trial's key"
    for key, trial in trials.items():
        beside = {name: value for name, value in trial.measurement.items() if name not in plain[key].measurement}
        assert set(beside) == {
            *(
                f"lesion.{one}.{what}"
                for one in ("lateral", "layer1.top_down")
                for what in ("accuracy", "time", "confidence")
            ),
            "complexity.regression",
            "complexity.neighbour",
        }
        assert trial.measurement == plain[key].measurement | beside
        assert beside["lesion.layer1.top_down.accuracy"] <= 0.5, "a network that sees nothing answers one class"
    points = tables.points(where=["lesion.layer1.top_down.accuracy <= 0.5 and complexity.regression < 0.3"])
    assert points.num_rows == 2
    with pytest.raises(QueryError, match="no complete trial that was shown probes"):
        tables.probes()


def spec_of(tmp_path, probes):
    (tmp_path / "a.yaml").write_text(SPEC + probes)
    return load_spec(tmp_path / "a.yaml").spec


def test_probes_are_part_of_the_sweep_and_of_no_trial(tmp_path):
    spec, plain = spec_of(tmp_path, PROBES), spec_of(tmp_path, "")
    assert spec.beside.probes == (("debris", 0.25), ("debris", 0.5), ("contrast", 0.5), ("blank", 1.0))
    assert [one.key for one in spec.settings()] == [one.key for one in plain.settings()]
    assert spec.identity() != plain.identity()
    assert spec_from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("probes", "words"),
    [
        ("{fog: 0.5}", ["fog"]),
        ("{debris: 0}", ["above 0", "probes"]),
        ("{debris: 1.5}", ["debris", "at most 1", "1.5"]),
        ("{blur: [1, 1]}", ["each level once"]),
        ("{blur: []}", ["probes"]),
    ],
)
def test_probe_that_cannot_be_is_refused(tmp_path, probes, words):
    with pytest.raises(SpecError) as caught:
        spec_of(tmp_path, f"probes: {probes}\n")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_lesions_are_read_in_any_order_and_spelling(tmp_path):
    spec = spec_of(tmp_path, 'lesions: ["top_down, lateral", deepest]\n')
    assert spec.lesions == ("lateral,top-down", "deepest")
    assert not spec.complexity
    assert spec_from_json(spec.to_json()) == spec
    assert spec_of(tmp_path, "lesions: deepest\n").lesions == ("deepest",)


@pytest.mark.parametrize(
    ("lesions", "words"),
    [
        ("[laterals]", ["laterals", "layer:N", "lesions"]),
        ('["layer:0"]', ["layer:0", "from 1"]),
        ("[deepest, deepest]", ["each lesion once"]),
        ('["lateral,top-down", "top_down,lateral"]', ["each lesion once"]),
        ('[""]', ["lateral"]),
    ],
)
def test_lesion_that_cannot_be_is_refused(tmp_path, lesions, words):
    with pytest.raises(SpecError) as caught:
        spec_of(tmp_path, f"lesions: {lesions}\n")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.slow
def test_what_networks_do_under_probes_is_read_from_mlflow_alone(tmp_path):
    (tmp_path / "probed.yaml").write_text(SPEC + PROBES)
    home = Home(tmp_path / "home")
    Sweep.load(tmp_path / "probed.yaml", home=tmp_path / "home").run(executor=InlineExecutor())
    files = sorted((home.sweep("probed").path / "probes").iterdir())
    assert len(files) == 2
    kept = {path.stem: pq.read_table(path) for path in files}
    for path in files:
        path.unlink()
    loaded = load_sweep("probed", tracking_uri=home.tracking_uri)
    for key, table in kept.items():
        rows = loaded.probes(where=[f"key = '{key}'"]).drop_columns(["key", "task", "seed"])
        assert rows.equals(table.replace_schema_metadata(None))
        trial = loaded.trials(where=[f"key = '{key}'"]).to_pylist()[0]
        assert trial["probe.whole.0.accuracy"] == trial["test_accuracy"]


@pytest.mark.slow
def test_probe_files_that_cannot_be_written_cost_no_trial_and_are_said(tmp_path):
    (tmp_path / "probed.yaml").write_text(SPEC + PROBES)
    home = Home(tmp_path / "home")
    sweep = Sweep.load(tmp_path / "probed.yaml", home=tmp_path / "home")
    home.sweep("probed").path.mkdir(parents=True)
    (home.sweep("probed").path / "probes").write_text("a file where a folder is needed")
    recorder, notes = MemoryRecorder(), []
    summary = sweep.run(
        executor=InlineExecutor(), recorder=recorder, observe=lambda snapshot: notes.append(snapshot.note)
    )
    assert (summary.is_finished, summary.counts.complete) == (True, 2)
    assert any("do under probes could not be written to" in note and "the means" in note for note in notes), set(notes)
    assert all("probe.blank.1.time" in trial.measurement for trial in recorder.trials.values())
