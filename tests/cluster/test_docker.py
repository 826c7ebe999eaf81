"""The images: copied files exist and suffice to build the wheel; conda's file is for the same Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.cluster.recipes import assert_understood, commands_in

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "docker"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def copied():
    """Return the paths that the images copy from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.M)
    return [word.removeprefix("./") for line in lines for word in line.split()[:-1]]


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignored[1] == "*"
    for source in copied():
        assert (ROOT / source).exists()
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(copied())


@pytest.mark.slow
def test_wheel_is_built_from_what_is_copied_alone(tmp_path):
    for source in copied():
        target = tmp_path / "src" / source
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, symlinks=True, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheels")]
    done = subprocess.run(build, cwd=tmp_path / "src", capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "wheels").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert "sweeper/model/__init__.py" in names
    assert "sweeper/search_spaces/quickstart.yaml" in names
    if shutil.which("cc"):
        assert any(name.endswith(".so") for name in names), "the image for building has a compiler"


def test_stages_that_are_named_are_there_and_the_last_one_is_for_people():
    stages = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.M)
    assert stages[-1] == "user"
    assert set(re.findall(r"--target (\w+)", DOCKERFILE + README)) <= set(stages)
    assert set(re.findall(r"^COPY --from=(\w+)", DOCKERFILE, re.M)) <= set(stages)
    assert DOCKERFILE.rstrip().endswith('ENTRYPOINT ["sweeper"]\nCMD ["--help"]')


def test_versions_are_those_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras,) = re.findall(r'^ARG EXTRAS="(.*)"$', DOCKERFILE, re.M)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "-c /wheels/constraints.txt" in DOCKERFILE
    (python,) = {*re.findall(r"^FROM python:(\d+\.\d+)-slim", DOCKERFILE, re.M)}
    conda = yaml.safe_load((FOLDER / "environment.yml").read_text())
    assert f"python={python}" in conda["dependencies"]
    assert f"Programming Language :: Python :: {python}" in project["classifiers"]


def test_pages_show_commands_that_are_understood():
    lines = [re.sub(r"docker run .*? sweeper ", "sweeper ", line.strip()) for line in README.splitlines()]
    commands = commands_in("\n".join(f"    {line}" for line in lines if line.startswith("sweeper ")))
    assert len(commands) >= 2
    for words in commands:
        assert_understood(words)
