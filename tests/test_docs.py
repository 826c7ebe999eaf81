"""Documents are tested: links resolve, examples load, each command has its place in the README."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
import typer

from sweeper import model
from sweeper.cli.run import app
from sweeper.measurements import MEASUREMENTS
from sweeper.spec import load_spec, shipped_spaces

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(path for path in ROOT.rglob("*.md") if not any(part.startswith(".venv") for part in path.parts))
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_document_lead_to_files_that_exist(path):
    links = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_link_check_can_fail(tmp_path):
    (tmp_path / "a.md").write_text("[gone](nowhere.md)")
    with pytest.raises(AssertionError):
        test_links_of_a_document_lead_to_files_that_exist(tmp_path / "a.md")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_stands_in_the_readme(command):
    assert f"sweeper {command} " in README


def commands_in(text):
    """Return the words of every sweeper command written as an indented line."""
    lines = [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("    sweeper ")]
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("words", commands_in(README + (ROOT / "cluster/README.md").read_text()), ids=" ".join)
def test_command_lines_of_the_documents_are_understood(words):
    command, *rest = words
    assert COMMANDS[command].make_context(command, rest).params  # parses every option, runs nothing


def test_specs_of_the_readme_load(tmp_path):
    specs = []
    for block in re.findall(r"```yaml\n(.*?)```", README, re.S):
        (tmp_path / "my.yaml").write_text(block)
        specs.append(load_spec(tmp_path / "my.yaml").spec)
    grid, search = specs
    assert (len(grid.settings()), grid.tasks[0]) == (27, "digits-10-noise0.1")
    assert (search.planned, len(search.searched)) == (2 * 40 * 2, 4)


@pytest.mark.parametrize("line", re.findall(r"^    ((?:search|early_stopping): \{.*?\})", README, re.M))
def test_lines_of_the_readme_about_searching_are_understood(tmp_path, line):
    block = re.findall(r"```yaml\n(.*?)```", README, re.S)[1]
    key = line.split(":")[0]
    if key == "search":
        block = re.sub(r"search:\n(  .*\n)+", "", block)
    (tmp_path / "my.yaml").write_text(f"{block}{line}\n")
    assert getattr(load_spec(tmp_path / "my.yaml").spec, key) is not None


def test_python_of_the_readme_runs(tmp_path, monkeypatch):
    from sweeper.driver.sweep import Sweep
    from sweeper.execution.executors import InlineExecutor
    from sweeper.tracking.mlflow.recorder import MlflowRecorder
    from sweeper.trial import Ended, Outcome

    def work(job, report):
        measured = {"accuracy": 0.95, "breadth": 2.0, "depth": 1.0, "time": 1.5}
        return [Ended(Outcome.COMPLETE, "", measured) for _ in job.wanted_keys]

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sweep = Sweep("first", "sweeps")
    sweep.run(
        load_spec("quickstart", name="first"),
        executor=InlineExecutor(),
        work=work,
        recorder=MlflowRecorder(sweep.tracking_uri),
    )
    of_fronts, _ = re.findall(r"```python\n(.*?)```", README, re.S)
    printed = []
    exec(compile(of_fronts, "README.md", "exec"), {"print": printed.append})
    assert list(printed[0]["accuracy"]) == [0.95] * 12


def test_python_of_the_readme_uses_a_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    window = model.Window((2,), 3, (1, 8, 8), 10)
    model.save(model.Lattice(window, [0]), {"setting": "s", "measurement": "m"}, "network.safetensors")
    _, of_networks = re.findall(r"```python\n(.*?)```", README, re.S)
    printed = []
    exec(
        compile(of_networks, "README.md", "exec"),
        {"images": torch.rand(4, 1, 8, 8), "print": lambda *v: printed.append(v)},
    )
    (choice, steps), described = printed
    assert (choice.shape, steps.shape, described) == ((4,), (4,), ("s", "m"))


def test_every_measurement_stands_in_the_readme():
    assert [name for name in MEASUREMENTS if f"`{name}`" not in README] == []


def test_every_shipped_space_loads():
    assert "quickstart" in shipped_spaces()
    for name in shipped_spaces():
        assert load_spec(name).spec.settings()


def test_shell_scripts_of_the_recipes_parse():
    scripts = sorted((ROOT / "cluster").rglob("*.sh"))
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
