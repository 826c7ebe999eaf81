"""Fixtures of the tests of executors."""

from __future__ import annotations

import pytest

from tests.support.clusters import head


@pytest.fixture(scope="module")
def ray_head():
    """Address of a shared Ray head with two CPUs; starting one takes as long as all the tests on it."""
    with head(cpus=2) as found:
        yield found
