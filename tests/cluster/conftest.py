"""Fixtures of the tests of clusters."""

from __future__ import annotations

import pytest

from tests.support.local_cluster import local_cluster


@pytest.fixture(scope="module")
def cluster():
    """A cluster with a token: a head without CPUs, and two nodes with one CPU each."""
    with local_cluster() as made:
        yield made
