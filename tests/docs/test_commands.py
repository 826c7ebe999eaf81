"""Commands and the notebook of the pages run on the real sweeps `quickstart` and `second`, as a reader runs them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import Home
from sweeper.results.loaded_sweep import load
from sweeper.spec import load_spec
from sweeper.spec.yaml_source import read_yaml
from sweeper.training.train import train_population
from tests.docs.test_docs import TEXTS, commands_in
from tests.model.test_stimuli import drawn, written

ROOT = Path(__file__).parents[2]

#: Commands that only read or mirror; other tests try those that run a sweep or need a cluster.
READING = (
    "pareto",
    "trials",
    "status",
    "watch",
    "plot",
    "report",
    "show",
    "export",
    "audit",
    "mirror",
    "plan",
    "validate",
)

#: Options that name another place than the home in this folder.
ELSEWHERE = ("--tracking-uri", "--address", "--home", "--storage", "--ledger")

#: Sweeps that readers of the tutorial have, and the form of a key.
SWEEPS, KEY = {"quickstart", "second"}, re.compile(r"[0-9a-f]{8,16}")


def shown():
    """Return the commands of all pages that read one of these sweeps, in order and each once."""
    found = {}
    for page, text in TEXTS.items():
        for words in commands_in(text) if page != "CHANGELOG.md" else ():
            names = [word for word in words[1:] if word in SWEEPS or KEY.fullmatch(word)]
            if words[0] in READING and names and not set(words) & set(ELSEWHERE):
                found.setdefault(" ".join(words), (page, words))
    return list(found.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, empty_database):
    """The folder of a reader who has followed the tutorial, with one price of layers for two."""
    folder = tmp_path_factory.mktemp("reader")
    home = folder / "sweeps"
    home.mkdir()
    shutil.copy(empty_database, home / "mlflow.db")
    quickstart = dict(read_yaml(ROOT / "search_spaces" / "quickstart.yaml", "quickstart").data)
    quickstart["parameters"] |= {"depth_pressure": {"value": 3e-3}}
    pressures = {"breadth_pressure": {"values": [3e-3, 3e-2]}, "time_pressure": {"value": 0.2}}
    fewer = {"parameters": quickstart["parameters"] | pressures, "training": quickstart["training"] | {"updates": 600}}
    second = quickstart | {"name": "second"} | fewer
    for spec in (quickstart, second):
        Sweep(str(spec["name"]), home).run(load_spec(spec), executor=InlineExecutor(), work=train_population)
    written(folder / "stimuli.parquet", drawn(4, 8, 8))
    return folder


@pytest.mark.slow
def test_commands_of_the_pages_do_what_they_are_shown_for(folder, monkeypatch, capsys):
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(folder)
    front = load("quickstart", Home(Path("sweeps")).tracking_uri).fronts("digits-10")[0]
    key = front.table["key"].to_pylist()[-1]
    commands, failed = shown(), []
    assert {words[0] for _, words in commands} >= {"pareto", "trials", "status", "plot", "report", "show", "export"}
    for page, words in commands:
        meant = [key if KEY.fullmatch(word) else word for word in words]
        monkeypatch.setattr(sys, "argv", ["sweeper", *meant])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        if ended.value.code not in (None, 0):
            failed.append((page, " ".join(meant), ended.value.code, said.err[-300:]))
    assert failed == []


# --- the notebook -------------------------------------------------------------------------------

NOTEBOOK = json.loads((ROOT / "docs" / "how-to" / "quickstart.ipynb").read_text(encoding="utf-8"))


def run_cell(source, namespace):
    """Run a cell as a notebook does; return the value of its last expression."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace) if last else None


def test_notebook_is_one_without_outputs():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        kind = {"markdown": set(), "code": {"execution_count", "outputs"}}[cell["cell_type"]]
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | kind
        assert not cell.get("outputs")


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs_on_the_real_quickstart_and_shows_something(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    namespace = {"__name__": "__main__"}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            value = run_cell("".join(cell["source"]), namespace)
            assert value is not None or capsys.readouterr().out, cell["source"]
    assert (folder / "quickstart.html").stat().st_size > 100_000
    assert namespace["front"].shape[0] >= 1
