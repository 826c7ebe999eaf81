"""What the tests of executors share."""

from __future__ import annotations

import pytest

from tests.support.clusters import head


@pytest.fixture(scope="module")
def ray_head():
    """Address of a Ray head with two CPUs: starting one takes as long as all that tests do on it."""
    with head(cpus=2) as found:
        yield found
