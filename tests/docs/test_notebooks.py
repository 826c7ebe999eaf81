"""The examples for notebooks run in order, on a real MLflow, and print what the page shows."""

import io
import random
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from sweeper import model
from sweeper.measurements import Goal, Objective
from tests.analysis.test_fronts import a_trial
from tests.contracts.recorder import a_failed_trial
from tests.support.stored import store

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "notebooks.md").read_text(encoding="utf-8")
OBJECTIVES = (
    Objective("accuracy", Goal.MAXIMIZE),
    Objective("time", Goal.MINIMIZE),
    Objective("macs", Goal.MINIMIZE),
)
CORNER = {"accuracy": 0.0, "time": 7.0, "macs": 400_000.0}

#: Blocks of Python, each with the block of text that it prints, if one follows.
EXAMPLES = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, re.S)


def trials(seeds, pressures, shift=0.0):
    """Return trials of two tasks with made-up figures: higher pressures make networks smaller and less accurate."""
    chance, found = random.Random(0), []
    for task, ease in (("digits-10", 0.0), ("digits-3", 0.05)):
        settings = [(time, breadth) for time in pressures for breadth in (0.0001, 0.001)]
        for number, (time, breadth) in enumerate(settings * seeds):
            measured = {
                "accuracy": round(0.97 + ease - 0.3 * time - 90 * breadth + shift + chance.uniform(-0.02, 0.02), 3),
                "time": round(1.0 + 4.0 * (1 - time) ** 3 + chance.uniform(0, 0.8), 2),
                "macs": float(round(300_000 * (1 - time) ** 2 * (1 - 600 * breadth) * chance.uniform(0.9, 1.1), -2)),
                "depth": float(2 + (breadth < 0.001)),
            }
            facts = {"task": task, "setting": f"{time}-{breadth}", "seed": number // len(settings)}
            facts |= {"axes": {"time_pressure": time, "breadth_pressure": breadth}, "measurement": measured}
            facts |= {"started_ms": 90_000 * (number // 4), "ended_ms": 90_000 * (number // 4 + 1) + number}
            key = f"{chance.getrandbits(64):016x}"
            if task == "digits-3" and number == 1:
                found.append(a_failed_trial(number, **facts | {"measurement": {}, "key": key}))
            else:
                found.append(a_trial(number, **facts, key=key))
    return found


@pytest.fixture(scope="module")
def folder(empty_database, tmp_path_factory):
    """A folder with a home of two sweeps, whose fronts have networks."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "sweeps").mkdir()
    shutil.copy(empty_database, folder / "sweeps" / "mlflow.db")
    uri = f"sqlite:///{folder / 'sweeps' / 'mlflow.db'}"
    file = folder / "network.safetensors"
    model.save(model.Lattice(model.Window((2,), 3, (1, 8, 8), 10), [0]), {"setting": {}, "measurement": {}}, str(file))
    network = file.read_bytes()
    file.unlink()
    some = trials(3, (0.02, 0.1, 0.3, 0.5))
    store(uri, "first", some, OBJECTIVES, CORNER, chosen=[["accuracy", "time"]], network=lambda _: network)
    store(uri, "second", trials(2, (0.05, 0.2), shift=0.01), OBJECTIVES, CORNER)
    return folder


def run_examples(folder, monkeypatch):
    """Run all blocks in one namespace; return what each printed."""
    monkeypatch.chdir(folder)
    namespace, printed = {}, []
    for code, _ in EXAMPLES:
        with redirect_stdout(io.StringIO()) as output:
            exec(compile(code, "notebooks.md", "exec"), namespace)
        printed.append(output.getvalue())
    return printed


def test_examples_print_what_the_page_shows(folder, monkeypatch):
    def lines(text):
        return [line.rstrip() for line in text.strip("\n").splitlines()]

    for (code, shown), printed in zip(EXAMPLES, run_examples(folder, monkeypatch), strict=True):
        assert lines(printed) == lines(shown), code


def test_page_shows_each_method_that_answers():
    from sweeper.results.loaded_sweep import LoadedSweep

    methods = [
        name
        for cls in (LoadedSweep, *LoadedSweep.__bases__)
        for name, value in vars(cls).items()
        if callable(value) and not name.startswith("_")
    ]
    assert [name for name in methods if f".{name}(" not in PAGE] == []
    assert len(EXAMPLES) >= 8
