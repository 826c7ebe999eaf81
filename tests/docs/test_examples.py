"""The examples of the documentation run unchanged, except that they are made smaller."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SHARED = Path(__file__).parents[3] / "shared" / "data"
EXAMPLES = ROOT / "docs" / "examples"

pytestmark = pytest.mark.slow

#: Changes that make an example smaller, by example.
SMALLER = {
    "exits": {"search": {"trials": 3}, "parameters": {"epochs": {"value": 13}}},
    "forest": {"search": {"trials": 3}, "replicates": 2},
    "resnet": {"parameters": {"images": {"value": 200}, "epochs": {"value": 1}}},
    "tuned": {},
}


@pytest.fixture
def place(tmp_path, empty_database):
    """A folder with all examples, and an empty MLflow database, which saves seconds."""
    shutil.copytree(EXAMPLES, tmp_path / "here")
    (tmp_path / "here" / "sweeps").mkdir()
    shutil.copy(empty_database, tmp_path / "here" / "sweeps" / "mlflow.db")
    return tmp_path / "here"


def called(place, *words):
    """Run Python in a folder; return its output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


#: Examples that `make test` leaves to `make faults`; the other examples use the same code paths.
RARE = ("tuned", "resnet")


@pytest.mark.parametrize("name", [pytest.param(one, marks=[pytest.mark.rare] * (one in RARE)) for one in SMALLER])
def test_example_runs_and_has_a_front(place, name):
    file = place / f"{name}.yaml"
    spec = yaml.safe_load(file.read_text())
    for key, value in SMALLER[name].items():
        spec[key] = {**spec[key], **value} if isinstance(value, dict) else value
    if "data" in spec["parameters"]:
        images = SHARED / Path(spec["parameters"]["data"]["value"]).name
        if not images.exists():
            pytest.skip(f"needs {images.name} of the shared data")
        spec["parameters"]["data"] = {"value": str(images)}
    file.write_text(yaml.safe_dump(spec))
    called(place, "-m", "sweeper", "run", file.name, "--workers", "2")
    counts = json.loads(called(place, "-m", "sweeper", "status", name, "--json"))
    outcomes = counts["outcomes"]
    assert outcomes["complete"] + outcomes["pruned"] == counts["planned"], counts
    rows = json.loads(called(place, "-m", "sweeper", "pareto", name, "--json"))
    assert rows
    assert all(measure in rows[0] for measure in spec["measures"])
    corner = rows[0]["reference_point"]
    better = {"maximize": lambda value, bound: value > bound, "minimize": lambda value, bound: value < bound}
    within = [all(better[o["goal"]](row[o["name"]], corner[o["name"]]) for o in spec["objectives"]) for row in rows]
    assert any(within), "a front beyond its reference point has no hypervolume"


@pytest.mark.rare
@pytest.mark.parametrize("name", ["before_optuna.py", "before_ray_tune.py"])
def test_what_was_before_runs_as_well(place, name):
    assert "hidden" in called(place, name)


def test_what_comes_from_wandb_keeps_its_parameters(place):
    before, after = (yaml.safe_load((place / f"{name}.yaml").read_text()) for name in ("before_wandb", "tuned"))
    assert before["parameters"] == after["parameters"]
    assert (before["run_cap"], before["early_terminate"]["min_iter"]) == (
        after["search"]["trials"],
        after["early_stopping"]["min_epochs"],
    )
