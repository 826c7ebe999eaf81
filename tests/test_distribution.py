"""An installation has one import package, with one name, the same in a checkout, an editable install and a wheel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import release
from sweeper.provenance import DISTRIBUTION

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

#: Text that would install a stranger's package `sweeper`: an extra of that name, or a pip command.
STRANGER = re.compile(r"(?<![\w-])sweeper\[[\w,]+\]|pip\d? install[^\n]*?\s['\"]?sweeper(?=['\"\s\[]|$)", re.M)

#: Names of modules that users' projects have.
THEIRS = ("model", "search_spaces", "tests", "utils", "train", "benchmarks", "cluster")


def python(*words, executable=sys.executable, cwd=None, **variables):
    """Run Python in a folder, without the variables that change what it imports; return what it printed."""
    hidden = ("PYTHON", "SWEEPER_", "MLFLOW_", "RAY_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [executable, *map(str, words)],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="what builds the wheel is not installed: pip install 'pareto-sweeper[dev]'")
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment with only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("installed") / "env"
    python("-m", "venv", "--without-pip", folder)
    executable = folder / "bin" / "python"
    python("-m", "pip", "--python", executable, "install", "-q", "--no-deps", "--no-index", wheel)
    packages = Path(
        python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))", executable=executable).strip()
    )
    # Python searches a folder that a .pth file names, but does not follow an editable install in that folder.
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    found = python("-c", "import sweeper; print(sweeper.__file__)", executable=executable, cwd=folder)
    assert Path(found).is_relative_to(packages)
    return executable


def contents(wheel):
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_wheel_holds_one_import_package_with_the_model_and_the_spaces_in_it(wheel):
    assert wheel.name.startswith("pareto_sweeper-")
    assert {name.split("/")[0] for name in contents(wheel)} == {"sweeper"}
    for folder in ("model", "search_spaces"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        here = {f"sweeper/{path.relative_to(ROOT)}" for path in files}
        assert here == {name for name in contents(wheel) if name.startswith(f"sweeper/{folder}/")}
    assert {"sweeper/py.typed", "sweeper/model/py.typed"} <= contents(wheel)


@pytest.mark.slow
def test_wheel_of_the_source_distribution_is_the_same(wheel, tmp_path):
    python("-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (source,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", source, "-C", tmp_path], check=True)
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    python("-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=unpacked)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)


def test_this_environment_imports_none_of_the_names_that_users_have(tmp_path):
    """Holds for an editable install, too, of which every folder could otherwise be imported."""
    code = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert python("-c", code, *THEIRS, cwd=tmp_path) == "[]\n"
    # If an installation left a folder `sweeper` without an __init__.py, only some parts could be imported.
    assert python("-c", "import sweeper, sweeper.model; print(sweeper.__file__)", cwd=tmp_path).endswith(
        "__init__.py\n"
    )
    assert "Usage: " in python("-m", "sweeper", "--help", cwd=tmp_path)


def test_checkout_imports_them_as_parts_of_sweeper_without_an_installation(tmp_path):
    code = "import sweeper.model, sweeper.spec; print(sweeper.model.__file__, sweeper.spec.shipped_spaces())"
    found = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert found.startswith(f"{ROOT}/sweeper/model/__init__.py ['adaptive'")


@pytest.fixture(
    params=[
        pytest.param("modules of these names", marks=pytest.mark.rare),
        "a folder model without __init__.py",
    ]
)
def project(request, tmp_path):
    """A user's project with names of modules that this project once had."""
    if "folder" in request.param:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "nets.py").write_text("X = 'mine'")
    else:
        for name in THEIRS:
            (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('the {name}.py of the user was imported')")
    return tmp_path


@pytest.mark.slow
def test_smoke_runs_from_the_wheel_in_a_project_with_names_of_its_own(installed, project):
    said = python(installed.with_name("sweeper"), "run", "smoke", "--workers", "2", executable=installed, cwd=project)
    assert "8 trials: 8 complete" in said
    said = python(installed.with_name("sweeper"), "audit", "smoke", executable=installed, cwd=project)
    assert "9 of 9 promises hold" in said
    if (project / "model").is_dir():
        assert python("-c", "import model.nets; print(model.nets.X)", executable=installed, cwd=project) == "mine\n"


def test_every_instruction_installs_this_project_and_no_stranger():
    """On the package index, `sweeper` is a stranger's package."""
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "pyproject.toml", ROOT / "Makefile"]
    for folder in ("sweeper", "model", "docs", "cluster", "tests", "benchmarks"):
        texts += [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix not in (".pyc", ".png")]
    wrong = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in texts
        for found in STRANGER.finditer(path.read_text(encoding="utf-8", errors="replace"))
        if path != Path(__file__)
    ]
    assert wrong == []
    assert f'name = "{DISTRIBUTION}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("text", ["pip install 'sweeper[postgres]'", "pip install sweeper", "`sweeper[dev]`"])
def test_check_of_instructions_can_fail(text):
    assert STRANGER.search(text)
    assert not STRANGER.search(text.replace("sweeper", "pareto-sweeper"))


# --- publication --------------------------------------------------------------------------------


def test_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= cited.keys()
    assert cited["version"] == VERSION
    assert cited["license"] == "Apache-2.0"


def test_what_is_left_to_do_for_a_release_is_said():
    said = "\n".join(release.left_to_do("9.9", ["dist/a-9.9.tar.gz", "dist/a-9.9-py3-none-linux_x86_64.whl"]))
    assert "write what changed in 9.9 into CHANGELOG.md" in said
    assert "write version: 9.9 into CITATION.cff" in said
    assert "git tag -s v9.9" in said
    assert said.count("linux_x86_64") == 1, "an index does not take it"
    assert "twine upload dist/a-9.9.tar.gz" in said


def test_release_is_built_into_an_empty_folder_alone(tmp_path):
    (tmp_path / "old.whl").touch()
    with pytest.raises(SystemExit, match=r"must be empty, but it holds old\.whl"):
        release.main(tmp_path)


@pytest.mark.slow
@pytest.mark.rare
def test_installed_command_passes_what_a_release_tries(installed, tmp_path):
    release.try_out(installed.with_name("sweeper"), tmp_path / "work", VERSION)
    with pytest.raises(SystemExit, match=r"must say sweeper 9\.9, but it says"):
        release.try_out(installed.with_name("sweeper"), tmp_path / "again", "9.9")
