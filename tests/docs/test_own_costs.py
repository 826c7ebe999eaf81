"""The page about own costs, measures and degradations: its code is that of the examples, and its sweeps run."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from sweeper.analysis.formats import with_units
from sweeper.analysis.fronts import Front
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.tracking.memory import MemoryRecorder
from sweeper.training.showing import measured_without, opened

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "own-costs.md").read_text(encoding="utf-8")


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """A copy of the examples; modules that a test imports from there are unloaded afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    for file in (DOCS / "examples").iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path)
    yield tmp_path
    for name in {path.stem for path in tmp_path.glob("*.py")} - before:
        sys.modules.pop(name, None)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_code_and_spec_of_the_page_are_those_of_the_files():
    examples = DOCS / "examples"
    codes = [file.read_text(encoding="utf-8") for file in examples.glob("*.py")]
    assert [block for block in blocks("python") if not any(block.strip() in code for code in codes)] == []
    specs = [file.read_text(encoding="utf-8") for file in examples.glob("*.yaml")]
    assert [block for block in blocks("yaml") if block not in specs] == []
    assert len(blocks("yaml")) == 3


@pytest.mark.slow  # another process tries the functions
def test_sweep_of_the_page_trades_wires_for_accuracy(examples):
    recorder = MemoryRecorder()
    sweep = Sweep.load(examples / "wires.yaml", home=examples / "home")
    summary = sweep.run(executor=InlineExecutor(), recorder=recorder, workers=1)
    assert (summary.counts.complete, summary.counts.failed) == (4, 0)
    trials = sorted(recorder.trials.values(), key=lambda trial: trial.axes["wiring_pressure"])
    wires = [trial.measurement["cost_wiring"] for trial in trials]
    assert wires == sorted(wires, reverse=True)
    assert len(set(wires)) == 4
    assert all({"cost_energy", "cost_habit"} <= trial.measurement.keys() for trial in trials)
    (front,) = summary.fronts
    assert front.table.num_rows >= 3


@pytest.mark.slow
def test_measure_of_the_page_is_an_objective_with_its_unit(examples):
    recorder = MemoryRecorder()
    sweep = Sweep.load(examples / "robust.yaml", home=examples / "home")
    summary = sweep.run(executor=InlineExecutor(), recorder=recorder, workers=1)
    assert (summary.counts.complete, summary.counts.failed) == (4, 0)
    (front,) = summary.fronts
    assert Front.from_parquet_bytes(front.to_parquet_bytes()).added_units == {"robustness": "share"}
    units = {field.name: field.metadata.get(b"unit") for field in with_units(front.table).schema if field.metadata}
    assert (units["robustness"], units["time"]) == (b"share", b"steps")
    for trial in recorder.trials.values():
        assert 0 <= trial.measurement["robustness"] <= 1
    assert max(trial.measurement["robustness"] for trial in recorder.trials.values()) > 0.2


@pytest.mark.slow
def test_degradation_of_the_page_makes_a_task_and_probes(examples):
    recorder = MemoryRecorder()
    sweep = Sweep.load(examples / "foggy.yaml", home=examples / "home")
    summary = sweep.run(executor=InlineExecutor(), recorder=recorder, workers=1)
    assert (summary.counts.complete, summary.counts.failed) == (4, 0)
    assert {front.task for front in summary.fronts} == {"digits-fog0.0", "digits-fog0.5"}
    for trial in recorder.trials.values():
        assert {"probe.fog.0.25.accuracy", "probe.fog.0.5.time", "probe.blank.1.confidence"} <= trial.measurement.keys()
        assert trial.setting["task.degradation"] == "my_fog:fog"
    clear = [trial.measurement for trial in recorder.trials.values() if trial.task == "digits-fog0.0"]
    assert all(one["probe.fog.0.5.accuracy"] < one["probe.whole.0.accuracy"] for one in clear)
    key = next(trial.key for trial in recorder.trials.values() if trial.task == "digits-fog0.5")
    folder = Home(examples / "home").sweep("foggy").path
    network = opened((folder / "networks" / f"{key}.safetensors").read_bytes(), key)
    with pytest.raises(QueryError, match=r"are degraded by a function, which is not run .*: my_fog:fog\. Name other"):
        measured_without(network, key, ["lateral"])
