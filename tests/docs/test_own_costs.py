"""The page about costs of one's own: its code is that of the examples, and its sweep runs."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.tracking.memory import MemoryRecorder

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "own-costs.md").read_text(encoding="utf-8")


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """The examples, copied as a reader would; what is imported from there is forgotten after."""
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
    code = (DOCS / "examples" / "my_costs.py").read_text(encoding="utf-8")
    for block in blocks("python"):
        assert block.strip() in code
    assert (DOCS / "examples" / "wires.yaml").read_text(encoding="utf-8") in blocks("yaml")


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
