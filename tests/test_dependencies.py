"""pyproject.toml admits only tested versions: `make lowest` tests the lowest ones, all else tests the highest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Extras for users; packages that only developers need are pinned, and have no upper bounds.
FOR_USERS = ("postgres", "cluster", "server")


def requirements():
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in FOR_USERS for text in extras[extra])]
    return [Requirement(text) for text in texts]


def pins(name):
    """Return the versions that a file of constraints pins, by name."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def bound(requirement, operator):
    (found,) = [one.version for one in requirement.specifier if one.operator == operator]
    return Version(found)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_every_requirement_is_bounded_by_what_is_tested(requirement):
    newest = Version(pins("constraints.txt")[canonicalize_name(requirement.name)])
    lowest = Version(pins("constraints-lowest.txt")[canonicalize_name(requirement.name)])
    assert lowest == bound(requirement, ">=")
    assert requirement.specifier.contains(newest)
    # The upper bound is the next major or minor release after the newest tested version.
    upper = bound(requirement, "<")
    assert upper in {Version(f"{newest.major + 1}"), Version(f"{newest.major}.{newest.minor + 1}")}


def test_packages_with_private_interfaces_are_bounded_at_the_next_minor_release():
    for requirement in requirements():
        if requirement.name in {"ray", "optuna", "mlflow"}:
            newest = Version(pins("constraints.txt")[requirement.name])
            assert bound(requirement, "<") == Version(f"{newest.major}.{newest.minor + 1}")


def test_both_files_pin_what_developers_use_too():
    for text in PROJECT["optional-dependencies"]["dev"]:
        name = canonicalize_name(Requirement(text).name)
        if name != canonicalize_name(PROJECT["name"]):
            assert {name in pins("constraints.txt"), name in pins("constraints-lowest.txt")} == {True}
