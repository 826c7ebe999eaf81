"""Fixtures of trainings."""

from __future__ import annotations

import pytest

from sweeper.model.growth import Axis
from sweeper.model.native import build
from sweeper.model.native.library import TORCH, library, usable
from tests.model.vectors import LANES


@pytest.fixture(scope="session")
def codes(tmp_path_factory):
    """Return the compiled code for every vector length, by name."""
    folder = tmp_path_factory.mktemp("native")
    found = {}
    for lanes in LANES:
        name = f"lanes{lanes}"
        # With little optimisation, which would take long, and without instructions of particular processors.
        build.compile_one(folder, name, (f"-DLANES={lanes}", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"))
        found[name] = library(name, folder)
    return found


@pytest.fixture
def fast():
    """Return the name of the code compiled for this processor; skip the test if there is none."""
    if usable() == (TORCH,):
        pytest.skip("nothing is compiled here: `make` does it where there is a C compiler")
    return usable()[0]


@pytest.fixture
def hasty(monkeypatch):
    """Make windows change within a hundred training steps: offers come soon, and steps open and close soon."""
    monkeypatch.setattr("sweeper.model.growth.PATIENCE", 12)
    monkeypatch.setattr(Axis.__init__, "__defaults__", (12, 12, *Axis.__init__.__defaults__[2:]))  # due and patience
    monkeypatch.setattr("sweeper.model.growth.DEAD_SHARE", 0.2)
    monkeypatch.setattr("sweeper.model.shard.OPENING_STEPS", 8)
