"""How `make` installs: with uv and pip's configuration, or with pip if uv fails; users get no developer packages."""

from __future__ import annotations

import importlib.util
import os
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


@pytest.fixture
def install(tmp_path, monkeypatch):
    """The script `install.py`, for another environment, whose programs only note their arguments."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    for name in [*os.environ]:
        if name.startswith(("UV_", "SSL_CERT", "ALL_PROXY")):
            monkeypatch.delenv(name)
    (tmp_path / "constraints.txt").write_text("")
    return module


def program(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that makes a Python and a uv with given exit codes; returns one that lists their calls in order."""
    log = tmp_path / "log"
    note = f'echo "$(basename "$0") $* index=$UV_INDEX" >> {log}'
    config = "echo \"global.extra-index-url='https://one/simple https://two/simple'\""

    def made(uv=0, pip=0):
        listed = f'case "$*" in "-m pip config list") {config};; *) {note}; exit {pip};; esac'
        program(tmp_path / ".venv" / "bin" / "python", listed)
        if uv is not None:
            program(tmp_path / "path" / "uv", f"{note}; exit {uv}")
        monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
        return lambda: log.read_text().splitlines()

    return made


def test_uv_gets_what_pip_is_configured_with(install, asked, tmp_path):
    said = asked(uv=0)
    assert install.main(["dev"]) == 0
    (line,) = said()
    python = tmp_path / ".venv" / "bin" / "python"
    assert line == (
        f"uv pip install --python {python} -c constraints.txt -e .[dev] index=https://one/simple https://two/simple"
    )


def test_what_the_user_says_to_uv_stands(install, asked, monkeypatch):
    monkeypatch.setenv("UV_INDEX", "https://mine/simple")
    said = asked(uv=0)
    assert install.main([]) == 0
    assert said()[0].endswith("-c constraints.txt -e . index=https://mine/simple")


def test_pip_installs_where_uv_cannot(install, asked):
    said = asked(uv=3)
    assert install.main([]) == 0
    assert [line.split()[0] for line in said()] == ["uv", "python"]
    assert said()[1].startswith("python -m pip install -c constraints.txt -e . ")


def test_pip_installs_where_uv_cannot_be_had(install, asked):
    said = asked(uv=None)
    assert install.main([]) == 0
    assert said()[0].startswith("python -m pip install --quiet -c constraints.txt uv")
    assert said()[1].startswith("python -m pip install -c constraints.txt -e . ")


def test_pip_that_asks_no_index_is_not_circumvented(install, asked, tmp_path):
    said = asked(uv=0)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(python.read_text().replace("global.extra-index-url", "global.no-index"))
    assert install.main([]) == 0
    assert [line.split()[0] for line in said()] == ["python"]


def test_what_neither_can_install_is_an_error(install, asked):
    asked(uv=1, pip=1)
    assert install.main([]) == 1


def test_settings_of_pip_are_those_of_uv(install):
    listed = (
        "global.find-links='/one /two'\nglobal.index-url='https://global/simple'\ninstall.index-url='https://own/simple'\n"
        "global.extra-index-url='https://a/simple\\nhttps://b/simple'\n:env:.cert='/etc/ca.pem'\nglobal.cert='/no'\n"
        "list.format='json'\nglobal.constraint=\"/it's/there.txt\"\nno line of it\n"
    )
    assert install.settings_of(listed) == {
        "UV_FIND_LINKS": "/one,/two",
        "UV_DEFAULT_INDEX": "https://own/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_CONSTRAINT": "/it's/there.txt",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert install.settings_of("") == {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_uv_knows_the_variables_and_pip_the_settings(install):
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed: pip install uv")
    said = subprocess.run([uv, "pip", "install", "--help"], capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"\[env:\s+`?(UV_\w+)", said))
    asked = {variable for variable, _ in install.SETTINGS.values() if variable.startswith("UV_")}
    assert asked - known <= {"UV_HTTP_TIMEOUT"}, "which is a variable alone"
    assert "UV_INDEX_STRATEGY" in known
    helped = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True, check=True
    )
    assert [name for name in install.SETTINGS if f"--{name.removeprefix('default-')}" not in helped.stdout] == []


def test_a_sweep_is_installed_without_what_only_developers_need():
    """Packages for tests, servers and clusters are in extras; the script imports only the standard library."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    assert names & {"pytest", "hypothesis", "mypy", "ruff", "moto", "boto3", "psycopg", "mkdocs", "playwright"} == set()
    lines = re.findall(r"^(?:from|import) (\w+)", (ROOT / "install.py").read_text(), re.M)
    assert set(lines) <= sys.stdlib_module_names
