"""Packages that are hidden, broken or missing, in the driver and on its workers, with the real Ray."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sweeper.trial import State
from tests.faults.rig import GRID

pytestmark = pytest.mark.slow

#: Two networks, one epoch each.
TINY = (
    GRID
    .replace("[4, 2]", "[2]")
    .replace("breadth_pressure: {values: [0, 5e-4]}", "breadth_pressure: {values: [0]}")
    .replace("epochs: 24", "epochs: 1")
)

#: Common names of a project's files, and names of packages that sweeper or Ray import.
TAKEN = [
    "model",
    "search_spaces",
    "tests",
    "utils",
    "train",
    "network",
    "config",
    "data",
    "yaml",
    "numpy",
    "torch",
    "pydantic",
    "typing_extensions",
    "optuna",
    "mlflow",
    "pyarrow",
    "sklearn",
    "typer",
    "rich",
    "click",
    "sqlalchemy",
    "pandas",
    "packaging",
    "msgpack",
]

#: Code that puts a folder first on the import path of Ray's workers, and of no other process.
ON_WORKERS = """
import sys
if any(word.endswith("default_worker.py") for word in sys.orig_argv):
    sys.path.insert(0, {folder!r})
"""

#: Code that hides the place of scikit-learn.
WITHOUT_DIGITS = """
from importlib import metadata
of = metadata.distribution
def distribution(name):
    if name == "scikit-learn":
        raise metadata.PackageNotFoundError(name)
    return of(name)
metadata.distribution = distribution
"""


@pytest.fixture
def shadows(tmp_path):
    """A folder that is first on the path of workers only, and the folder on every process's path that causes this."""
    folder, site = tmp_path / "shadows", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(ON_WORKERS.format(folder=str(folder)))
    return folder, site


def test_project_with_files_named_as_packages_is_swept_all_the_same(new_cli):
    cli = new_cli(TINY)
    for name in TAKEN:
        (cli.folder / f"{name}.py").write_text("raise RuntimeError('a file of the project was imported')\n")
    (cli.folder / "ray").mkdir()
    code, out, err = cli.run("run", "fragile.yaml", "--workers", "1")
    assert code == 0, err
    assert "2 complete" in out
    cli.audit()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        pytest.param("safetensors", "", "Error: ", marks=pytest.mark.rare),
        pytest.param(
            *(
                "torch",
                "raise OSError('libtorch.so: cannot open shared object file')\n",
                "OSError: libtorch.so: cannot",
            ),
            marks=pytest.mark.rare,
        ),
        pytest.param("pydantic", "def broken(:\n", "SyntaxError: ", marks=pytest.mark.rare),
        pytest.param("sweeper", "", "No module named 'sweeper.", marks=pytest.mark.rare),
        ("pyarrow", "raise RuntimeError('of another make')\n", "RuntimeError: of another make"),
    ],
    ids=["half", "raising", "syntax", "ours", "ray's own"],
)
def test_what_workers_import_wrongly_ends_the_run_with_its_file_and_the_trials_wait(new_cli, shadows, name, text, said):
    folder, site = shadows
    cli = new_cli(TINY)
    before = cli.environment["PYTHONPATH"]
    cli.environment["PYTHONPATH"] = f"{before}:{site}"
    file = folder / f"{name}.py"
    file.write_text(text)
    code, out, err = cli.run("run", "fragile.yaml", "--workers", "1")
    assert (code, "Traceback" in err) == (2, False), out + err
    (sentence,) = [line for line in err.splitlines() if line.startswith("sweeper: ")]
    for words in (str(file), said, "127.0.0.1", "what has no outcome waits"):
        assert words in sentence
    assert {record.state for record in cli.records().values()} == {State.WAITING}
    assert {tuple(record.retries.values()) for record in cli.records().values()} == {()}
    file.unlink()
    if name == "safetensors":  # only for one of the cases, because starting takes long
        cli.end(cli.start("resume", "fragile", "--workers", "1"))
        assert {record.state for record in cli.records().values()} == {State.COMPLETE}
        cli.audit()


@pytest.mark.rare
def test_file_that_is_imported_first_when_a_training_has_begun_is_no_outcome_either(new_cli, shadows):
    folder, site = shadows
    cli = new_cli(TINY)
    cli.environment["PYTHONPATH"] += f":{site}"
    (folder / "sklearn.py").write_text("")
    # If the file of the digits is not found, sklearn itself loads them, after everything else is imported.
    with (site / "sitecustomize.py").open("a") as file:
        file.write(WITHOUT_DIGITS)
    code, out, err = cli.run("run", "fragile.yaml", "--workers", "1")
    assert (code, "Traceback" in err) == (2, False), out + err
    assert f"sklearn is imported from {folder / 'sklearn.py'} instead of " in err
    assert {record.state for record in cli.records().values()} == {State.WAITING}


@pytest.mark.parametrize("program", [["-m", "sweeper"], ["-c", "from sweeper.__main__ import main; main()"]])
def test_file_on_the_path_that_stands_in_for_a_package_is_one_sentence_at_the_command_line(tmp_path, new_cli, program):
    cli = new_cli(TINY)
    for name, said in {
        "yaml": "AttributeError",
        "typer": "cannot import name|has no attribute|No module named",
    }.items():
        file = cli.folder / f"{name}.py"
        file.write_text("")
        environment = {**cli.environment, "PYTHONPATH": f"{cli.folder}:{cli.environment['PYTHONPATH']}"}
        words = [sys.executable, *program, "plan", "fragile.yaml"]
        done = subprocess.run(words, env=environment, cwd=cli.folder, capture_output=True, text=True)
        file.unlink()
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        (sentence,) = done.stderr.splitlines()
        assert f"sweeper: {name} is imported from {file} instead of " in sentence
        assert "Rename or move that file, or take its folder out of PYTHONPATH" in sentence
        assert any(word in sentence for word in said.split("|"))
