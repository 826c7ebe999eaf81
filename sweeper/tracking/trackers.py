"""Chooses the tracker for an address. A new tracker needs an entry here and a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeper.archived import SCHEME

if TYPE_CHECKING:  # these modules load pyarrow, which a reader of networks does not need
    from sweeper.tracking.reader import Reader
    from sweeper.tracking.recorder import Recorder


def reader_of(address: str, sweep: str) -> Reader:
    """Return the reader of a sweep; the tracker is not asked yet.

    Args:
        address: An MLflow tracking URI, or the address of a sweep in an archive.
        sweep: Name of the sweep.
    """
    if address.startswith(SCHEME):
        from sweeper.tracking.archived.reader import ArchivedReader

        return ArchivedReader(address, sweep)
    from sweeper.tracking.mlflow.reader import MlflowReader

    return MlflowReader(address, sweep)


def require_usable(address: str) -> None:
    """Refuse an address that nothing can be mirrored to, as far as that shows at once.

    Args:
        address: An MLflow tracking URI.

    Raises:
        TrackingError: With what is wrong with it.
    """
    from sweeper.tracking.mlflow.client import require_usable

    require_usable(address)


def recorder_of(
    address: str,
    artifacts: str | None,
    network: Callable[[str], bytes | None],
    probes: Callable[[str], bytes | None],
    *,
    is_thorough: bool = False,
) -> Recorder:
    """Return the recorder that mirrors a sweep.

    Args:
        address: An MLflow tracking URI.
        artifacts: URI of the folder for artifacts if the address is a database; None for beside a SQLite file.
        network: Returns the file of a complete trial's network by the trial's key; None if there is none.
        probes: Returns the file of that network's answers under probes in the same way.
        is_thorough: Whether to compare files that are stored already, and store them again if they differ.

    Raises:
        TrackingError: If the tracker cannot be reached.
    """
    from sweeper.tracking.mlflow.recorder import MlflowRecorder

    return MlflowRecorder(address, artifacts, network, probes, is_thorough=is_thorough)
