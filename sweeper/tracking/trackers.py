"""Which tracker an address means: the one place that a new tracker is named in, beside its own folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sweeper.archived import SCHEME

if TYPE_CHECKING:  # who asks for a network reads no table
    from sweeper.tracking.reader import Reader
    from sweeper.tracking.recorder import Recorder


def reader_of(address: str, sweep: str) -> Reader:
    """Return what reads a sweep back; nothing is asked yet.

    Args:
        address: An MLflow tracking URI, or that of a sweep in an archive.
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
    """Return what mirrors a sweep.

    Args:
        address: An MLflow tracking URI.
        artifacts: URI of the folder for artifacts where the address is a database; None for beside a SQLite file.
        network: Returns the file of a complete trial's network by its key, None where there is none.
        probes: Returns the file of what that network does under probes, likewise.
        is_thorough: Whether files that are stored already are compared, and stored again where they are others.

    Raises:
        TrackingError: If the tracker cannot be reached.
    """
    from sweeper.tracking.mlflow.recorder import MlflowRecorder

    return MlflowRecorder(address, artifacts, network, probes, is_thorough=is_thorough)
