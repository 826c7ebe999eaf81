"""Networks trained on clean images are shown degraded ones: what they do is kept by image, and read back."""

from __future__ import annotations

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError, SpecError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.results.sweep_tables import SweepTables
from sweeper.spec import load_spec
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


def spec_of(tmp_path, probes):
    (tmp_path / "a.yaml").write_text(SPEC + probes)
    return load_spec(tmp_path / "a.yaml").spec


def test_probes_are_part_of_the_sweep_and_of_no_trial(tmp_path):
    spec, plain = spec_of(tmp_path, PROBES), spec_of(tmp_path, "")
    assert spec.probed == (("debris", 0.25), ("debris", 0.5), ("contrast", 0.5), ("blank", 1.0))
    assert [one.key for one in spec.settings()] == [one.key for one in plain.settings()]
    assert spec.identity() != plain.identity()
    assert type(spec).from_json(spec.to_json()) == spec


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
