"""What several test files share."""

import pytest

from sweeper.record import connect


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """One MLflow database without sweeps; making it takes seconds, copying it nothing."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{file}")
    return file
