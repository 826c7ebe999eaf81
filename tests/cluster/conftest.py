"""What the tests of clusters share."""

from __future__ import annotations

import pytest

from tests.support.local_cluster import local_cluster


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with a CPU each beside a head without any, which ask for a token."""
    with local_cluster() as made:
        yield made
