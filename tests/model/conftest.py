"""Fixtures of trainings."""

from __future__ import annotations

import pytest

from sweeper.model.growth import Axis


@pytest.fixture
def hasty(monkeypatch):
    """Let windows change in a training of a hundred steps: offers come soon, steps open and close soon."""
    monkeypatch.setattr("sweeper.model.growth.PATIENCE", 12)
    monkeypatch.setattr(Axis.__init__, "__defaults__", (12, 12, *Axis.__init__.__defaults__[2:]))  # due and patience
    monkeypatch.setattr("sweeper.model.growth.DEAD_SHARE", 0.2)
    monkeypatch.setattr("sweeper.model.shard.OPENING_STEPS", 8)
