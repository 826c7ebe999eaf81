"""Doors go one way: the imports of every file are compared with one table, and the check itself is tested.

What a file imports counts wherever it stands: at the top, inside a function, under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Room:
    """What a file may import: files of this project, and third-party packages."""

    doors: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()


def room(doors: str = "", packages: str = "") -> Room:
    return Room(frozenset(doors.split()), frozenset(packages.split()))


#: File under sweeper/ -> what it may import. `model` stands for every file of that folder.
ROOMS = {
    "__init__": room("loaded home"),  # inside the one function that it exports
    "vocabulary": room(),
    "errors": room(),
    # The rooms behind the door `spec`, from the lowest up; everyone else imports `spec` alone.
    "spec_problems": room("errors", "pydantic pydantic_core"),
    "yaml_source": room("spec_problems errors", "yaml"),
    "setting": room("spec_problems vocabulary errors", "pydantic"),
    "parameter_forms": room("setting spec_problems vocabulary errors", "pydantic"),
    "parameters": room("parameter_forms setting spec_problems vocabulary errors", "pydantic"),
    "search_spec": room("setting spec_problems vocabulary errors", "pydantic"),
    "objective_spec": room("setting spec_problems vocabulary errors", "pydantic"),
    "sweep_spec": room("objective_spec parameters search_spec setting spec_problems vocabulary errors", "pydantic"),
    "spec_change": room("sweep_spec"),
    "spec": room(
        "spec_change sweep_spec search_spec parameters setting spec_problems yaml_source vocabulary errors", "pydantic"
    ),
    "front": room("vocabulary errors", "numpy moocore"),
    "indicators": room("front vocabulary", "numpy moocore"),
    "conditions": room("errors", "pyarrow"),  # behind the door `table`
    "columns": room("vocabulary"),
    "formats": room("columns errors", "pyarrow"),  # behind the door `table` too, for what is stored
    "table": room("conditions formats front vocabulary errors", "pyarrow numpy"),
    "comparison": room("indicators front table vocabulary errors", "pyarrow numpy"),
    "trials": room("table vocabulary errors", "pyarrow"),
    "population": room("spec vocabulary errors"),
    "sampling": room("front spec vocabulary errors", "optuna numpy"),
    "cells": room("sampling spec vocabulary errors"),
    "stopping": room("front vocabulary errors"),
    "rungs": room("cells stopping spec vocabulary errors"),
    "retrying": room("vocabulary"),
    "revision": room("spec"),
    "optuna_tables": room("errors", "alembic optuna sqlalchemy"),
    "rows": room("optuna_tables population sampling spec vocabulary errors", "optuna"),
    "database": room("optuna_tables errors", "optuna sqlalchemy"),
    "studies": room("optuna_tables database vocabulary errors", "optuna"),
    "plan": room("cells sampling studies revision rows population spec vocabulary errors"),
    # The bridge to `model`, from the lowest room up.
    "inputs": room("spec vocabulary model"),
    "storage": room("errors model", "pyarrow"),  # of `model` the one way in which local files are written
    "checkpoints": room("storage model"),
    "forecast": room("inputs machines spec vocabulary errors model"),
    "described": room("spec vocabulary errors model"),
    "objective": room("described checkpoints storage inputs facts spec vocabulary model"),
    "home": room("storage vocabulary errors"),
    "shared_ledger": room("plan database home errors"),
    "facts": room(),
    "networks": room("objective record storage shared_ledger home vocabulary errors"),
    # What jobs run on, from the lowest room up; `cluster` and `placement` alone run on Ray.
    "machines": room("errors"),
    "jobs": room("machines vocabulary"),
    "waiting": room("jobs machines vocabulary"),
    "node_look": room("probe storage facts machines"),
    "cluster": room("node_look machines storage errors", "ray"),
    "placement": room("cluster waiting jobs machines vocabulary errors", "ray"),
    "execute": room("placement cluster jobs machines vocabulary errors"),
    "needs": room("forecast population probe machines spec vocabulary errors"),
    # The rooms behind the door `record`, from the lowest up; `mlflow_store` alone imports MLflow.
    "recorder": room("live_state table vocabulary errors"),
    "mlflow_errors": room(),
    "mlflow_store": room("mlflow_errors errors", "mlflow sqlalchemy"),
    "mlflow_runs": room("mlflow_store recorder table vocabulary errors"),
    "trial_parts": room("mlflow_store trials vocabulary errors", "pyarrow"),
    "front_picture": room("columns table vocabulary", "matplotlib"),
    "mlflow_notes": room("sheet table"),
    "mlflow_page": room("front_picture mlflow_notes mlflow_store table"),
    "stored": room(
        "trial_parts mlflow_runs mlflow_store mlflow_errors recorder live_state trials table vocabulary errors"
    ),
    "mirrored": room("trial_parts stored mlflow_runs mlflow_store table vocabulary errors"),
    "record": room(
        "mlflow_page mlflow_notes trial_parts mirrored stored mlflow_runs mlflow_store mlflow_errors recorder live_state "
        "table vocabulary errors"
    ),
    "history": room("indicators vocabulary", "pyarrow"),
    "attainment": room("indicators vocabulary errors", "pyarrow"),
    "loaded": room("attainment comparison history record trials table vocabulary errors", "pyarrow"),
    "sheet": room("columns vocabulary"),
    "latex": room("sheet vocabulary"),
    "query": room("loaded record sheet trials table vocabulary errors", "pyarrow"),
    "questions": room("query loaded sheet columns conditions table vocabulary errors", "pyarrow"),
    "difference": room("comparison questions query loaded indicators sheet table vocabulary errors", "pyarrow"),
    # The rooms behind the door `pictures`, from the lowest up; `picture_file` writes what they draw.
    "picture_style": room("columns vocabulary errors", "plotly"),
    "picture_points": room("picture_style loaded front table vocabulary"),
    "picture_fronts": room("picture_points picture_style vocabulary", "plotly"),
    "picture_growth": room("picture_fronts picture_points picture_style loaded table vocabulary", "plotly"),
    "picture_networks": room("picture_points picture_style described scene vocabulary", "plotly"),
    "pictures": room(
        "picture_fronts picture_growth picture_networks picture_points picture_style loaded errors", "plotly"
    ),
    "picture_file": room("pictures errors", "plotly kaleido"),
    "live_state": room("errors"),
    "tally": room("live_state spec vocabulary"),
    "small_drawing": room("scene vocabulary"),
    "report_data": room("small_drawing scene columns objective pictures sheet loaded table vocabulary errors"),
    "report": room("report_data columns pictures sheet loaded record table vocabulary errors", "plotly"),
    "mirroring": room("record live_state table vocabulary errors"),
    "driver": room(
        "mirroring tally live_state plan retrying rungs population home record trials table spec vocabulary errors"
    ),
    "watching": room("live_state errors"),
    # A sweep as a job of a cluster: what travels, the job, and both with what MLflow knows.
    "shipping": room("facts spec errors"),
    "submit": room("errors", "ray"),
    "clustered": room("submit shipping record live_state home spec errors"),
    "estimate": room("forecast population spec vocabulary errors"),
    "sweep": room(
        "cells driver shared_ledger plan population sampling home storage facts jobs machines needs execute networks record "
        "forecast objective query table spec vocabulary errors"
    ),
    # Promises: what is found out, and what it is found out from.
    "promise": room(),
    "audit": room(
        "promise shared_ledger cells rows population home objective record recorder spec table vocabulary errors"
    ),
    # The rooms behind the door `doctor`, from the lowest up; `probe` asks what may end the process that asks.
    "finding": room("errors"),
    "probe": room("forecast spec model", "ray kaleido"),
    "doctor_software": room("finding probe", "packaging"),
    "doctor_machine": room("finding home errors"),
    "doctor_services": room("doctor_software finding probe execute submit record errors", "packaging"),
    "doctor": room(
        "doctor_services doctor_machine doctor_software finding probe estimate home spec errors", "packaging"
    ),
    "lines": room("finding promise", "rich"),
    "scene": room("vocabulary"),
    "drawing": room("scene vocabulary errors", "matplotlib"),
    "terminal": room("estimate population scene sheet table vocabulary errors", "rich"),
    "listing": room("sheet vocabulary", "rich"),
    "__main__": room("cli"),
    "live_view": room("live_state terminal", "rich"),
    "live": room("live_view live_state driver", "rich"),
    # The room that prints: options, commands that look, and the door `cli` with the commands that run sweeps.
    "cli_options": room("submit sweep home spec errors", "typer"),
    "cli_watch": room("cli_options clustered submit live live_view live_state watching sweep record", "typer rich"),
    "cli_submit": room("cli_options clustered submit home spec errors", "typer"),
    "cli_look": room(
        "cli_submit cli_watch cli_options lines doctor finding audit terminal drawing sweep home networks objective errors",
        "typer rich",
    ),
    "cli_picture": room("cli_options picture_file pictures loaded sweep errors", "typer"),
    "cli_report": room("cli_options report loaded record sweep errors", "typer"),
    "cli_target": room("cli_options formats latex sheet table errors", "typer rich"),
    "cli_query": room(
        "cli_target cli_options difference questions query loaded listing terminal sweep vocabulary errors", "typer"
    ),
    "cli": room(
        "cli_submit cli_look cli_picture cli_query cli_report cli_options live home terminal estimate driver sweep execute record spec errors",
        "typer rich",
    ),
}

MODEL = room("model", "torch numpy pyarrow safetensors sklearn PIL")

#: Folders whose files are compared with the table.
FOLDERS = ("sweeper", "model")


def room_of(path: str) -> Room | None:
    """Return the row of a file such as `sweeper/plan.py`, or None where the table has none."""
    folder, _, rest = path.partition("/")
    return MODEL if folder == "model" else ROOMS.get(rest.removesuffix(".py"))


def imported_modules(source: str, path: str) -> list[tuple[int, str]]:
    """Return line and dotted name of everything imported; `from a import b` counts as `a.b`."""
    package = path.removesuffix(".py").split("/")[:-1]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).split(".")[-1]
            if called in {"import_module", "__import__"}:
                found.append((node.lineno, str(node.args[0].value)))
    return found


def broken_doors(source: str, path: str) -> list[str]:
    """Return one line for each import that the table does not allow, and for a file it does not hold."""
    own = room_of(path)
    if own is None:
        return [f"{path} has no row in the table of tests/test_layers.py: give it one"]
    wrong = []
    for line, name in imported_modules(source, path):
        first, _, rest = name.partition(".")
        if first in sys.stdlib_module_names:
            continue
        door = rest.split(".")[0] if first == "sweeper" else first
        is_ours = first in {"sweeper", "model"}
        if door not in (own.doors if is_ours else own.packages):
            wrong.append(f"{path}, line {line}: imports {name}, which its row in the table does not hold")
    return wrong


def source_files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", source_files())
def test_file_imports_only_what_its_row_allows(path):
    assert broken_doors((ROOT / path).read_text(), path) == []


def test_every_folder_is_compared():
    assert {path.split("/")[0] for path in source_files()} == set(FOLDERS)


def test_table_has_no_door_to_a_room_that_is_not_in_it():
    assert {door for own in ROOMS.values() for door in own.doors} <= ROOMS.keys() | {"model"}


def test_table_has_no_way_round_in_a_circle():
    open_rooms = dict(ROOMS)
    while leaves := [name for name, own in open_rooms.items() if not own.doors & open_rooms.keys()]:
        for name in leaves:
            del open_rooms[name]
    assert not open_rooms, f"these rooms reach each other: {sorted(open_rooms)}"


def test_every_third_party_package_has_one_owner():
    # Value types that cross doors by nature: arrays and tables; pydantic, in the rooms behind `spec`;
    # rich, between what draws (terminal) and what prints (cli).
    # optuna, in the ledger and its rows; sqlalchemy, in what opens databases and what writes many rows; typer, in the files of the room that prints; packaging, behind `doctor`;
    # ray and kaleido, in what runs on them and in what only asks who answers.
    # moocore, in what fronts are and in how they compare.
    # plotly, in the rooms behind `pictures` and in the pages that carry its script; matplotlib, in the two that draw
    # without a browser.
    shared = {
        "matplotlib",
        "moocore",
        "optuna",
        "plotly",
        "sqlalchemy",
        "numpy",
        "pyarrow",
        "pydantic",
        "pydantic_core",
        "rich",
        "typer",
        "packaging",
        "ray",
        "kaleido",
    }
    owners = [name for own in (*ROOMS.values(), MODEL) for name in own.packages - shared]
    assert len(owners) == len(set(owners))


# The check can fail


@pytest.mark.parametrize(
    ("path", "source", "named"),
    [
        ("sweeper/front.py", "import torch", "torch"),
        ("sweeper/front.py", "import torch.nn as nn", "torch.nn"),
        ("sweeper/front.py", "from torch import nn", "torch.nn"),
        ("sweeper/front.py", "from sweeper import plan", "sweeper.plan"),
        ("sweeper/front.py", "import sweeper.plan", "sweeper.plan"),
        ("sweeper/front.py", "from sweeper.plan import Plan", "sweeper.plan.Plan"),
        ("sweeper/front.py", "from . import plan", "sweeper.plan"),
        ("sweeper/front.py", "from .plan import Plan", "sweeper.plan.Plan"),
        ("sweeper/front.py", "from sweeper import *", "sweeper.*"),
        ("sweeper/sweep.py", "def f():\n    import ray", "ray"),
        ("sweeper/sweep.py", "import importlib\nimportlib.import_module('ray.tune')", "ray.tune"),
        ("sweeper/plan.py", "if TYPE_CHECKING:\n    from sweeper.setting import Setting", "sweeper.setting"),
        ("sweeper/vocabulary.py", "from sweeper.errors import SweepError", "sweeper.errors"),
        ("model/train.py", "from sweeper.spec import Setting", "sweeper.spec"),
        ("model/deep/train.py", "import ray", "ray"),
        ("sweeper/surprise.py", "", "has no row"),
        ("sweeper/deep/plan.py", "", "has no row"),
    ],
)
def test_forbidden_import_is_found(path, source, named):
    wrong = broken_doors(source, path)
    assert len(wrong) == 1
    assert path in wrong[0]
    assert named in wrong[0]


def test_allowed_import_is_not_found():
    source = (
        "from __future__ import annotations\nimport os.path\nimport optuna.storages\nfrom sweeper.spec import Setting"
    )
    assert broken_doors(source, "sweeper/rows.py") == []
    assert broken_doors("from .lattice import Lattice\nfrom model import tasks\nimport torch", "model/train.py") == []


# What a fresh interpreter loads

HEAVY_FOR_HELP = ("torch", "ray", "mlflow", "optuna")
FOREIGN_TO_MODEL = ("ray", "optuna", "mlflow", "sweeper")


def loaded(statement: str, names: tuple[str, ...]) -> set[str]:
    """Return which of the packages a new interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.skipif(not (ROOT / "sweeper" / "cli.py").exists(), reason="there is no command line yet")
def test_command_line_loads_nothing_heavy():
    assert loaded("import sweeper.cli", HEAVY_FOR_HELP) == set()


def test_package_loads_nothing_heavy():
    names = (*HEAVY_FOR_HELP, "pyarrow", "numpy", "moocore", "pandas")
    assert loaded("from sweeper import load_sweep", names) == set()


def test_sweep_is_loaded_without_what_trains_it():
    assert loaded("import sweeper; sweeper.load_sweep('first')", ("torch", "ray", "optuna", "mlflow")) == set()


def test_looking_at_a_sweep_loads_nothing_that_trains_or_draws():
    """Commands such as `sweeper status` and `sweeper watch` begin with these."""
    rooms = "import sweeper.sweep, sweeper.audit, sweeper.networks, sweeper.watching, sweeper.live, sweeper.record"
    assert loaded(rooms, ("torch", "ray", "matplotlib")) == set()


def test_spec_loads_nothing_heavy():
    assert loaded("import sweeper.spec; sweeper.spec.load_spec('smoke')", HEAVY_FOR_HELP) == set()


def test_model_loads_nothing_of_sweeps():
    assert loaded("import model", FOREIGN_TO_MODEL) == set()


def test_fresh_interpreter_check_sees_what_is_loaded():
    assert loaded("import optuna", HEAVY_FOR_HELP) >= {"optuna"}
    assert loaded("import sweeper.errors", FOREIGN_TO_MODEL) == {"sweeper"}
