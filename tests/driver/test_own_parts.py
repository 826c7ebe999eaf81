"""Sweeps with a user's own costs: run, stored, read, resumed; and what is refused before anything is planned."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from sweeper import load_sweep
from sweeper.analysis import sheet
from sweeper.analysis.fronts import Front
from sweeper.analysis.trials import from_parquet_bytes, records_of, to_parquet_bytes, trials_table
from sweeper.driver.sweep import Sweep
from sweeper.errors import SpecError, SpecMismatchError
from sweeper.execution.executors import InlineExecutor
from sweeper.results.sweep_tables import SweepTables
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryReader, MemoryRecorder

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

SPEC = """
name: wires
task: {data: digits, classes: 3, train_images: 120, validation_images: 60, test_images: 60}
lattice: {channels: 3, layers: 2, steps: 3}
training: {epochs: 4}
costs: {wiring: my_costs:wiring}
parameters:
  breadth_pressure: {value: 1.0e-4}
  wiring_pressure: {values: [0, 1.0e-3]}
objectives:
  - {name: accuracy, goal: maximize}
  - {name: cost_wiring, goal: minimize}
reference_point: {accuracy: 0, cost_wiring: 500}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a spec and its costs; the module of the costs is unloaded after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    shutil.copy(EXAMPLES / "my_costs.py", tmp_path)
    (tmp_path / "wires.yaml").write_text(SPEC)
    yield tmp_path
    sys.modules.pop("my_costs", None)


def sweep_in(folder):
    return Sweep.load(folder / "wires.yaml", home=folder / "home")


def run(sweep, recorder=None, **options):
    return sweep.run(executor=InlineExecutor(), recorder=recorder or MemoryRecorder(), **options)


@pytest.mark.slow
def test_cost_is_an_objective_of_stored_fronts_with_its_unit(folder):
    recorder = MemoryRecorder()
    summary = run(sweep_in(folder), recorder)
    assert (summary.counts.complete, summary.counts.planned) == (2, 2)
    free, pressed = sorted(recorder.trials.values(), key=lambda trial: trial.axes["wiring_pressure"])
    assert 0 <= pressed.measurement["cost_wiring"] < free.measurement["cost_wiring"]
    assert pressed.setting["costs.wiring"] == "my_costs:wiring"
    assert free.population == pressed.population, "they are trained side by side"

    (front,) = summary.fronts
    assert front.added_units == {"cost_wiring": "cost"}
    again = Front.from_parquet_bytes(front.to_parquet_bytes())
    assert again.added_units == front.added_units
    assert again.table.equals(front.table)
    fields = {one.title: one for one in sheet.front_fields(again)}
    assert (fields["cost_wiring"].unit, fields["cost_wiring"].is_number) == ("cost", True)
    table = from_parquet_bytes(to_parquet_bytes(trials_table(recorder.trials.values())))
    assert [record.added_units for record in records_of(table, "wires")] == [{"cost_wiring": "cost"}] * 2
    assert [record.measurement for record in records_of(table, "wires")] == [free.measurement, pressed.measurement]
    rows = SweepTables(MemoryReader(recorder, "wires")).trials().to_pylist()
    assert [row["cost_wiring"] for row in rows] == [free.measurement["cost_wiring"], pressed.measurement["cost_wiring"]]


@pytest.mark.slow  # the sweep tries the functions several times, each time in another process
def test_interrupted_sweep_goes_on_with_the_same_numbers_and_not_with_other_code(folder):
    recorder, whole = MemoryRecorder(), MemoryRecorder()
    run(Sweep.load(folder / "wires.yaml", home=folder / "other"), whole)

    def stops_after_an_epoch(snapshot):
        seen.append(snapshot)

    seen = []
    first = run(sweep_in(folder), recorder, observe=stops_after_an_epoch, should_stop=lambda: len(seen) > 3)
    assert not first.is_finished
    code = (folder / "my_costs.py").read_text()
    (folder / "my_costs.py").write_text(code + "\n# Two pixels are farther apart now.\n")
    with pytest.raises(
        SpecMismatchError, match=r"^the code of costs\.wiring is not what .*: my_costs\.py has changed .*--new-code"
    ):
        run(Sweep("wires", folder / "home"), recorder)
    (folder / "my_costs.py").write_text(code)
    assert run(Sweep("wires", folder / "home"), recorder).is_finished
    assert {key: one.measurement for key, one in recorder.trials.items()} == {
        key: one.measurement for key, one in whole.trials.items()
    }


@pytest.mark.slow  # the sweep tries the functions several times, each time in another process
def test_finished_sweep_is_read_and_mirrored_again_without_its_code(folder):
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    sweep = Sweep.load(folder / "wires.yaml", home=folder / "home", tracking_uri=uri)
    sweep.run(executor=InlineExecutor())
    (folder / "my_costs.py").unlink()
    sys.modules.pop("my_costs", None)
    assert Sweep("wires", folder / "home", uri).resume(executor=InlineExecutor()).is_finished
    stored = load_sweep("wires", tracking_uri=uri)
    (front,) = stored.fronts()
    assert front.added_units == {"cost_wiring": "cost"}
    assert "my_costs" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            "def wiring(lattice, answer): return 1 / 0",
            "cost 'wiring' raised ZeroDivisionError: division by zero for new",
        ),
        ("def length(lattice, answer): return 1", "costs.wiring names 'my_costs:wiring', but"),
        ("def wiring(", "costs.wiring names 'my_costs:wiring', which cannot be imported: "),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_planned(folder, code, says):
    (folder / "my_costs.py").write_text(code)
    with pytest.raises(SpecError) as refused:
        run(sweep_in(folder))
    assert says in str(refused.value)
    assert str(refused.value).endswith("Mend it, and run the sweep again.")
    assert not (folder / "home" / "wires" / "ledger.db").exists()
    assert "my_costs" not in sys.modules, "the driver imports nothing of a user's"


@pytest.mark.slow
def test_cost_that_fails_in_training_is_an_outcome_with_its_traceback(folder):
    (folder / "my_costs.py").write_text(
        "def wiring(lattice, answer):\n"
        "    if answer.features_TBPF.shape[1] > 20 and lattice.readout_bias.abs().sum() > 0:\n"
        "        raise ArithmeticError('so many images')\n"
        "    return sum(one.weight.abs().flatten(1).sum(1) for one in lattice.connections())\n"
    )
    recorder = MemoryRecorder()
    summary = run(sweep_in(folder), recorder)
    assert summary.counts.failed == 2
    assert {trial.reason.splitlines()[-1] for trial in recorder.trials.values()} == {"ArithmeticError: so many images"}
    assert all("my_costs.py" in trial.reason for trial in recorder.trials.values())


def test_spec_is_loaded_without_its_code(folder):
    (folder / "my_costs.py").unlink()
    assert load_spec(folder / "wires.yaml").spec.own_sources == {"costs.wiring": "my_costs:wiring"}
