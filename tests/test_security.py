"""What comes from elsewhere runs nothing and leads nowhere: names, keys, specs, and all that storage holds."""

from __future__ import annotations

import ast
import io
import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
import typer

from sweeper.cli import run as cli
from sweeper.errors import QueryError, SpecError, TrackingError
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import download_front
from sweeper.training.checkpoints import Checkpoints

ROOT = Path(__file__).parents[1]
COMMANDS = typer.main.get_command(cli.app).commands

#: Commands that take the name of a sweep.
NAMED = [
    command
    for command, known in COMMANDS.items()
    if any(parameter.name == "name" and parameter.param_type_name == "argument" for parameter in known.params)
]

OUTSIDE = ["../evil", "..", ".", "/etc/passwd", "a/b", "a\\b/../c", "-", "", "a" * 101, "%2e%2e%2fevil", "~", "a\nb"]


def called(monkeypatch, *words):
    """Run a command line in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["sweeper", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def content(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_every_command_that_takes_a_name_is_tried():
    assert {
        "status",
        "watch",
        "resume",
        "mirror",
        "audit",
        "pareto",
        "trials",
        "plot",
        "report",
        "stop",
        "logs",
    } <= set(NAMED)


@pytest.mark.parametrize("command", NAMED)
def test_no_name_leads_out_of_the_home(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "MLFLOW_TRACKING_URI", "SWEEPER_HOME", "SWEEPER_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "ledger.db").write_bytes(b"not ours")
    before = content(tmp_path)
    for name in OUTSIDE:
        assert called(monkeypatch, command, "--", name) == 2, name
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "name must hold" in said or "no cluster" in said or "none is named" in said, (name, said)
    assert content(tmp_path) == before


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_spec_names_a_sweep_that_leads_out_of_the_home(name, tmp_path):
    text = load_spec("quickstart").text
    with pytest.raises(SpecError, match="name must hold"):
        load_spec("quickstart", name=name)
    (tmp_path / "spec.yaml").write_text(text.replace("name: quickstart", f"name: {ascii_yaml(name)}"))
    with pytest.raises(SpecError, match="name"):
        load_spec(tmp_path / "spec.yaml")


def ascii_yaml(text):
    return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


class Run:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("dump", [pickle.dumps, "torch"])
def test_checkpoint_that_would_run_something_is_refused_and_not_run(dump, tmp_path):
    trap, file = tmp_path / "trap", tmp_path / "p.pt"
    if dump == "torch":
        buffer = io.BytesIO()
        torch.save({"epoch": 3, "state": Run(trap)}, buffer)
        file.write_bytes(buffer.getvalue())
    else:
        file.write_bytes(dump({"epoch": 3, "state": Run(trap)}))
    problems = []
    assert list(Checkpoints(str(file)).states(problems)) == []
    assert len(problems) == 1
    assert not trap.exists()
    pickle.loads(pickle.dumps(Run(trap)))
    assert trap.exists()  # so the trap would have worked


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "fronts/../../../secret", "file:///etc/passwd"])
def test_front_whose_stored_path_leads_elsewhere_is_not_read(path, empty_database, tmp_path):
    file = tmp_path / "mlflow.db"
    file.write_bytes(empty_database.read_bytes())
    (tmp_path / "secret").write_bytes(b"hush")
    client = connect(f"sqlite:///{file}")
    experiment = client.create_experiment("x", artifact_location=f"file://{tmp_path}/artifacts/a/b")
    run = client.create_run(experiment)
    with pytest.raises((TrackingError, QueryError)) as raised:
        download_front(client, run.info.run_id, path)
    assert "hush" not in str(raised.value)


#: What would run what is read. `torch.load` is looked at below.
FORBIDDEN = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("pickle", "Unpickler"),
    ("cloudpickle", "load"),
    ("cloudpickle", "loads"),
    ("joblib", "load"),
    ("marshal", "loads"),
    ("shelve", "open"),
    ("yaml", "load"),
    ("yaml", "unsafe_load"),
    ("yaml", "full_load"),
    ("os", "system"),
    ("os", "popen"),
}


def dangerous(source):
    """Return the calls in a file that would run what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if isinstance(name, ast.Name) and name.id in {"eval", "exec"}:
            found.append(name.id)
        if isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name):
            pair = (name.value.id, name.attr)
            if pair in FORBIDDEN or (pair == ("torch", "load") and words.get("weights_only") != "True"):
                found.append(".".join(pair))
            if pair[0] in {"np", "numpy"} and pair[1] == "load" and words.get("allow_pickle", "False") != "False":
                found.append("numpy.load")
        if words.get("shell") == "True":
            found.append("shell")
    return found


#: What Ray carries from the driver to its own workers, and unpickles itself where we did not; nothing of it is stored.
WITHIN_A_RUN = {"sweeper/execution/worker.py": {"cloudpickle.loads"}}


def test_nothing_that_is_read_is_run():
    files = [file for folder in ("sweeper", "model") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): set(dangerous(file.read_text(encoding="utf-8"))) for file in files}
    assert {file: names for file, names in found.items() if names} == WITHIN_A_RUN


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.loads(data)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "np.load(file, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_what_runs_what_it_reads_is_found(source):
    assert len(dangerous(source)) == 1
