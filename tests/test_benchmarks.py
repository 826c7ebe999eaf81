"""Benchmarks that run other programs or simulate them still run; here in the smallest size, without figures."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import servers

ROOT = Path(__file__).parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.rare]


@pytest.mark.parametrize(
    ("part", "said", "left"),
    [
        ("same", r"\| 8×8 \(digits\) \| [\d.e+-]+ \|[^$]*All of it is rounding\.", "sameness of 32×32"),
        ("training", r"\| 8×8 \(digits\) \| 1 \| [\d.]+ \| 1\.0 \|", "8×8 (digits), 512 networks"),
        ("graphs", r"CUDA graphs: left out", ""),
    ],
)
def test_gpu_script_runs_without_one_and_says_what_it_has_no_time_for(part, said, left):
    words = ["benchmarks/gpu.py", "--device", "cpu", "--minutes", "0.02", "--parts", part]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(said, done.stdout)
    assert left in done.stdout.partition("There was no time for ")[2]


def test_gpu_script_refuses_a_gpu_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    words = [sys.executable, "benchmarks/gpu.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("torch finds no GPU here.")


def test_every_part_of_overhead_trains_the_same_networks(tmp_path):
    words = ["benchmarks/overhead.py", "--space", "smoke", "--epochs", "2", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (measured,) = json.loads((tmp_path / "found.json").read_text())["rounds"]
    assert [each["part"] for each in measured] == ["a", "b", "c", "d"]
    assert len({len(each["networks"]) for each in measured}) == 1
    phases = dict(measured[0]["phases"])
    assert sum(phases.values()) == pytest.approx(measured[0]["seconds"], abs=0.5)
    assert len(phases) == 8, "each phase has an end that something tells"


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_simulated_cluster_is_driven_with_either_ledger(executor):
    if servers.binaries() is None:
        pytest.skip("there is no PostgreSQL")
    words = ["--part", "cluster", "--executor", executor, "--recorder", "memory", "--ledger", "sqlite", "postgresql"]
    words += ["--workers", "3", "--asked", "20", "--seconds", "2", "--settle", "0.5", "--early-stopping"]
    done = subprocess.run(
        [sys.executable, "benchmarks/scale.py", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if re.match(r"\| \d", line)]
    assert [row[1] for row in rows] == ["sqlite", "postgresql"]
    assert all(int(row[5]) > 0 and int(row[6]) > 0 for row in rows), "results and reports came"


def test_ledgers_are_compared_with_plain_use_of_the_same_database():
    if servers.binaries() is None:
        pytest.skip("there is no PostgreSQL")
    words = ["benchmarks/scale.py", "--part", "alone", "--trials", "16", "--ledger", "sqlite", "postgresql"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"ledger alone, (\w+), 16 trials: \d+ planned/s, \d+ results/s", done.stdout) == [
        "sqlite",
        "postgresql",
    ]


def test_large_images_are_made_planned_and_loaded(tmp_path):
    words = ["benchmarks/images.py", "--images", "800", "--workers", "2", "--folder", str(tmp_path)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [row.split("|")[1].strip() for row in done.stdout.splitlines() if row.startswith("| ")]
    assert rows[1:] == [
        "`sweeper plan`, nothing kept",
        "`sweeper plan` again",
        "2 processes load, nothing kept",
        "2 processes load, kept",
    ]
    assert len(list((tmp_path / "cache" / "images").glob("*.pixels"))) == 1


def test_peers_run_undisturbed_and_killed_and_what_is_not_installed_is_said(tmp_path):
    if sys.platform != "linux":
        pytest.skip("the benchmark is for Linux")
    words = ["benchmarks/peers.py", "--quick", "--systems", "sweeper", "optuna", "syne"]
    words += ["--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not installed: `pip install syne-tune`" in done.stdout
    runs = json.loads((tmp_path / "found.json").read_text())["runs"]
    assert [(one["system"], one["kind"]) for one in runs] == [
        ("sweeper", "undisturbed"),
        ("optuna", "undisturbed"),
        ("sweeper", "killed"),
        ("optuna", "killed"),
    ]
    whole, _, killed, _ = runs
    # A quick function is rehearsed for two epochs, see docs/how-to/own-functions.md.
    assert (whole["losses"]["complete"], whole["losses"]["rehearsed"], whole["losses"]["epochs_again"]) == (8, 2, 0)
    assert all(one["overheads"]["cpu"] > 0 and one["overheads"]["start"] > 0 for one in runs[:2])
    counted = killed["losses"]
    assert (counted["complete"], counted["lost"], counted["done_again"], counted["wrong"]) == (8, 0, 0, 0)
    assert counted["finished_before"] >= 4
