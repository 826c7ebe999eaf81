"""Imports go one way: those of every file are compared with one table of rooms, and the check itself is tested.

A room is a package of `sweeper`, or one of the groups below; a door is an allowed import of another room. An import
counts wherever it is: at the top of a file, inside a function, under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import sweeper

ROOT = Path(__file__).parent.parent

#: The room of the modules of `sweeper/` itself: words and small records that all rooms share, and storage of files.
GROUND = "ground"

#: The room of `sweeper/__init__.py`, `__main__.py` and `api.py`, the entry points.
FRONT = "front door"

#: The room of the swept network: the folder `model/` of this repository, imported as `sweeper.model`.
MODEL = "model"

#: Folders at the top of this repository that can only be imported as parts of `sweeper`.
OURS_ALONE = ("model", "search_spaces")


@dataclass(frozen=True)
class Room:
    """Allowed imports of a room's files: rooms other than the ground floor, and third-party packages."""

    doors: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()


def room(doors: str = "", packages: str = "") -> Room:
    return Room(frozenset(doors.split()), frozenset(packages.split()))


ROOMS = {
    MODEL: room("", "torch numpy pyarrow safetensors sklearn PIL"),
    GROUND: room("", "pyarrow"),
    "spec": room("", "pydantic pydantic_core yaml"),
    "analysis": room("", "numpy scipy moocore pyarrow"),
    "execution": room("", "ray psutil"),
    "search": room("spec analysis", "optuna numpy"),
    "training": room("spec model", "torch numpy"),
    "tracking": room("analysis", "mlflow requests sqlalchemy pyarrow matplotlib"),
    "ledger": room("spec search", "optuna sqlalchemy alembic"),
    "driver": room("spec analysis execution search training tracking ledger", "ray"),
    "results": room("search tracking training ledger analysis", "pyarrow plotly matplotlib kaleido"),
    "checks": room("spec analysis execution search training tracking ledger driver", "packaging kaleido"),
    "upkeep": room("spec analysis training tracking ledger"),
    "cli": room("spec analysis execution training tracking ledger driver results checks upkeep", "typer rich"),
    FRONT: room("spec driver results ledger cli execution tracking model"),
}

#: Files that alone in their room may import a package -> why.
ALONE = {
    ("sweeper/storage.py", "pyarrow"): "file systems of any kind",
    ("sweeper/sealed.py", "pyarrow"): "tables that several rooms store",
    ("sweeper/driver/jobs/server.py", "ray"): "the job server's own client",
    ("sweeper/checks/probe.py", "kaleido"): "asks in a process of its own whether there is a browser",
    ("sweeper/tracking/mlflow/client.py", "mlflow"): "",
    ("sweeper/tracking/mlflow/server.py", "requests"): "asks a server as MLflow does",
    ("sweeper/tracking/mlflow/private.py", "mlflow"): "names of MLflow's own, each guarded",
    ("sweeper/results/plots/files.py", "kaleido"): "",
}

#: The one import of the model by the ground floor: the function that writes a local file.
WRITER = ("sweeper/storage.py", "model")


def room_of(path: str) -> str | None:
    """Return the room of a file such as `sweeper/driver/sweep.py`; None if the table has none for it."""
    first, *rest = path.split("/")
    if first == MODEL:
        return MODEL
    if len(rest) == 1:
        return FRONT if rest[0] in ("__init__.py", "__main__.py", "api.py") else GROUND
    return rest[0] if rest[0] in ROOMS else None


def imported_modules(source: str, path: str) -> list[tuple[int, str]]:
    """Return line and dotted name of each import; `from a import b` counts as `a.b`."""
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


def door_of(name: str) -> str:
    """Return the room of a module of `sweeper`, given its dotted name."""
    _, *rest = name.split(".")
    return rest[0] if rest and rest[0] in ROOMS else GROUND


def broken_doors(source: str, path: str) -> list[str]:
    """Return a line for each import that the table does not allow, or one line for a file without a room."""
    own = room_of(path)
    if own is None:
        return [f"{path} is in no room of the table in tests/test_layers.py: give it one"]
    wrong = []
    for line, name in imported_modules(source, path):
        first = name.partition(".")[0]
        if first in sys.stdlib_module_names:
            continue
        if first == "sweeper":
            door = door_of(name)
            is_open = door in {own, GROUND} | ROOMS[own].doors or (path, door) == WRITER
            is_open = is_open and not (own == MODEL and door != MODEL)
        else:
            lonely = [file for file, package in ALONE if package == first and room_of(file) == own]
            is_open = first in ROOMS[own].packages and (not lonely or path in lonely)
        if not is_open:
            wrong.append(f"{path}, line {line}: imports {name}, which the room {own!r} may not")
    return wrong


def source_files() -> list[str]:
    folders = ("sweeper", "model")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


@pytest.mark.parametrize("path", source_files())
def test_file_imports_only_what_its_room_allows(path):
    assert broken_doors((ROOT / path).read_text(), path) == []


def test_every_room_is_there_and_says_what_it_is_for():
    rooms = {path.split("/")[1] for path in source_files() if path.count("/") > 1 and path.startswith("sweeper/")}
    assert rooms == ROOMS.keys() - {MODEL, GROUND, FRONT}
    assert all((ROOT / "sweeper" / name).resolve() == ROOT / name for name in OURS_ALONE)
    for name in rooms:
        source = (ROOT / "sweeper" / name / "__init__.py").read_text()
        (said, *more) = ast.parse(source).body
        assert "May import:" in ast.get_docstring(ast.parse(source))
        assert isinstance(said, ast.Expr)
        assert name == "spec" or not more, f"only spec exports from its __init__.py, but {name} does"


def test_table_has_no_way_round_in_a_circle():
    open_rooms = dict(ROOMS)
    while leaves := [name for name, own in open_rooms.items() if not own.doors & open_rooms.keys()]:
        for name in leaves:
            del open_rooms[name]
    assert not open_rooms, f"these rooms reach each other: {sorted(open_rooms)}"


def unknown_modules(text: str) -> list[str]:
    """Return names in backticks that look like modules of `sweeper`, or names in one, and do not exist."""
    known = set(import_graph()) | {"sweeper.model", "sweeper.search_spaces"}
    named = set(re.findall(r"`(sweeper(?:\.\w+)+)[`(]", text))
    public = {f"sweeper.{name}" for name in sweeper.__all__}
    return sorted(one for one in named - public if not {one, one.rpartition(".")[0]} & (known - {"sweeper"}))


@pytest.mark.parametrize("path", source_files())
def test_file_names_no_module_that_is_not_there(path):
    # Tags of MLflow look like modules, and are stored data.
    tags = {"sweeper.live", "sweeper.front", "sweeper.trials", "sweeper.spec"}
    assert set(unknown_modules((ROOT / path).read_text())) <= tags


def test_check_of_named_modules_can_fail():
    assert unknown_modules("see `sweeper.plan.Ledger` and `sweeper.ledger.ledger.Ledger`") == ["sweeper.plan.Ledger"]


def test_driver_and_results_touch_nowhere():
    def reached(name):
        return ROOMS[name].doors.union(*(reached(door) for door in ROOMS[name].doors))

    assert "results" not in reached("driver")
    assert "driver" not in reached("results")


#: Packages that several rooms share, and why.
SHARED = {
    "numpy": "arrays cross doors by nature",
    "pyarrow": "tables cross doors by nature",
    "optuna": "samplers in search, studies in the ledger",
    "sqlalchemy": "the ledger's database, and MLflow's",
    "matplotlib": "the picture on MLflow's page, and drawings of networks: both without a browser",
    "torch": "the model, and in training the states of a user's own functions",
    "ray": "in one file of driver, beside execution",
    "kaleido": "in one file each of results and checks",
}


def test_every_third_party_package_has_one_owner():
    owners = [name for own in ROOMS.values() for name in own.packages - SHARED.keys()]
    assert len(owners) == len(set(owners))


# Imports between files


@cache
def import_graph() -> dict[str, set[str]]:
    """Return the modules that each module imports, by dotted names."""
    names = {path: path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in source_files()}
    modules = {f"sweeper.{name}" if room_of(path) == MODEL else name: path for path, name in names.items()}
    graph = {}
    for module, path in modules.items():
        found = set()
        for _, name in imported_modules((ROOT / path).read_text(), path):
            found.add(name if name in modules else name.rpartition(".")[0])
        graph[module] = (found & modules.keys()) - {module}
    return graph


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """Return the longest chain of imports, beginning with its first importer.

    Raises:
        RecursionError: If files import each other in a circle.
    """

    @cache
    def chain(module: str) -> tuple[str, ...]:
        return (module, *max((chain(other) for other in sorted(graph[module])), key=len, default=()))

    return list(max((chain(module) for module in sorted(graph)), key=len))


def test_no_files_import_each_other_in_a_circle():
    open_files = {module: set(others) for module, others in import_graph().items()}
    while leaves := [module for module, others in open_files.items() if not others & open_files.keys()]:
        for module in leaves:
            del open_files[module]
    assert not open_files, f"these files reach each other: {sorted(open_files)}"


# The check can fail


@pytest.mark.parametrize(
    ("path", "source", "named"),
    [
        ("sweeper/analysis/pareto.py", "import torch", "torch"),
        ("sweeper/analysis/pareto.py", "import torch.nn as nn", "torch.nn"),
        ("sweeper/analysis/pareto.py", "from torch import nn", "torch.nn"),
        ("sweeper/analysis/pareto.py", "from sweeper import ledger", "sweeper.ledger"),
        ("sweeper/analysis/pareto.py", "import sweeper.ledger.home", "sweeper.ledger.home"),
        ("sweeper/analysis/pareto.py", "from sweeper.ledger.home import Home", "sweeper.ledger.home.Home"),
        ("sweeper/analysis/pareto.py", "from ..ledger import home", "sweeper.ledger.home"),
        ("sweeper/driver/sweep.py", "from sweeper.results import query", "sweeper.results.query"),
        ("sweeper/driver/sweep.py", "def f():\n    import ray", "ray"),
        ("sweeper/driver/sweep.py", "import importlib\nimportlib.import_module('ray.tune')", "ray.tune"),
        ("sweeper/results/query.py", "from sweeper.driver.sweep import Sweep", "sweeper.driver.sweep.Sweep"),
        ("sweeper/execution/ray_tune.py", "if TYPE_CHECKING:\n    from sweeper.spec import Setting", "sweeper.spec"),
        ("sweeper/errors.py", "from sweeper.spec import Setting", "sweeper.spec"),
        ("sweeper/checks/doctor.py", "import ray", "ray"),
        ("model/training.py", "from sweeper.spec import Setting", "sweeper.spec"),
        ("model/training.py", "from sweeper.errors import SweepError", "sweeper.errors"),
        ("model/training.py", "from model import lattice", "model.lattice"),
        ("model/deep/train.py", "import ray", "ray"),
        ("sweeper/surprise/plan.py", "", "is in no room"),
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
    assert broken_doors(source, "sweeper/ledger/rows.py") == []


def test_circle_of_files_is_found_and_a_chain_measured():
    assert longest_chain({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == ["a", "b", "c"]
    with pytest.raises(RecursionError):
        longest_chain({"a": {"b"}, "b": {"a"}})


# Packages that a fresh interpreter loads

HEAVY_FOR_HELP = ("torch", "ray", "mlflow", "optuna")
FOREIGN_TO_MODEL = ("ray", "optuna", "mlflow", "sweeper.errors", "sweeper.spec", "sweeper.training")


def loaded(statement: str, names: tuple[str, ...]) -> set[str]:
    """Return those of the packages that a new interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {names!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_command_line_loads_nothing_heavy():
    assert loaded("import sweeper.cli.run", HEAVY_FOR_HELP) == set()


def test_package_loads_nothing_heavy():
    names = (*HEAVY_FOR_HELP, "pyarrow", "numpy", "moocore", "pandas")
    assert loaded("from sweeper import load_sweep", names) == set()


def test_sweep_is_loaded_without_what_trains_it():
    assert loaded("import sweeper; sweeper.load_sweep('first')", ("torch", "ray", "optuna", "mlflow")) == set()


def test_looking_at_a_sweep_loads_nothing_that_trains_or_draws():
    """Commands such as `sweeper status` and `sweeper watch` begin with these imports."""
    files = [
        "driver.sweep",
        "checks.audit",
        "results.find_network",
        "results.watcher",
        "cli.live",
        "tracking.mlflow.recorder",
    ]
    imports = ", ".join(f"sweeper.{file}" for file in files)
    assert loaded(f"import {imports}", ("torch", "ray", "matplotlib")) == set()


def test_spec_loads_nothing_heavy():
    assert loaded("import sweeper.spec; sweeper.spec.load_spec('smoke')", HEAVY_FOR_HELP) == set()


def test_model_loads_nothing_of_sweeps():
    names = [path for path in source_files() if room_of(path) == MODEL and path != "model/__init__.py"]
    files = ", ".join(f"sweeper.{name.removesuffix('.py').replace('/', '.')}" for name in names)
    assert loaded(f"import {files}", FOREIGN_TO_MODEL) == set()


#: Packages that the model imports, except scikit-learn, which only one task needs.
NEEDED_TO_TRAIN = ("torch", "numpy", "pyarrow", "safetensors", "PIL")


def test_way_in_which_files_are_written_loads_nothing_of_the_model():
    assert loaded("import sweeper.storage, sweeper.ledger.home, sweeper.model", NEEDED_TO_TRAIN) == set()


@pytest.mark.slow
def test_training_loads_all_that_it_needs_before_it_starts():
    """Nodes of a cluster import this one module to find out which packages they lack."""
    assert loaded("import sweeper.training.train", NEEDED_TO_TRAIN) == set(NEEDED_TO_TRAIN)


def test_driver_of_a_function_loads_no_torch(tmp_path):
    (tmp_path / "exits.py").write_text("def train(depth: int):\n    return {'accuracy': depth}\n")
    (tmp_path / "exits.yaml").write_text(
        "{name: exits, train: 'exits:train', parameters: {depth: {values: [1]}}, measures: {accuracy: share}, "
        "objectives: [{name: accuracy, goal: maximize}], reference_point: {accuracy: 0}}"
    )
    driven = f"""
from pathlib import Path
import sweeper.driver.sweep
from sweeper.driver.needs import Needs, this_machine
from sweeper.driver.subjects import subject_of
from sweeper.spec import load_spec
subject = subject_of(load_spec({str(tmp_path / "exits.yaml")!r}))
assert callable(subject.work()) and subject.shared("").imports
assert this_machine(Path("no/devices")).has.gpus == 0
"""
    assert loaded(driven, ("torch",)) == set()


def test_fresh_interpreter_check_sees_what_is_loaded():
    assert loaded("import optuna", HEAVY_FOR_HELP) >= {"optuna"}
    assert loaded("import sweeper.errors", FOREIGN_TO_MODEL) == {"sweeper.errors"}
    assert "torch" in loaded("from sweeper.model import load", HEAVY_FOR_HELP)
