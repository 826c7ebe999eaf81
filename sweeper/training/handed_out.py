"""Checks whether a population is still this worker's, and decides whose fault a failure is."""

from __future__ import annotations

import errno
import json
import platform
from collections.abc import Mapping

from sweeper import own_code, storage
from sweeper.errors import SpecMismatchError
from sweeper.job import Lease
from sweeper.model.compute import is_out_of_memory
from sweeper.trial import Outcome

#: Error numbers of a full disk, or a full quota.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class GoneError(RuntimeError):
    """Raised if the place of a population's files is gone."""


class SupersededError(RuntimeError):
    """Raised if the population was handed out again, so that this worker's training is no longer wanted."""


def kind_of(error: Exception) -> Outcome:
    """Return the outcome of a training that raised an exception."""
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY
    # A full disk is the machine's fault, like a dead worker: training continues from a checkpoint once there is room.
    return Outcome.LOST if isinstance(error, OSError) and error.errno in DISK_FULL else Outcome.FAILED


def unshared(lease: Lease | None) -> str:
    """Return why the driver would never see this worker's files: its new lease is not here. Empty if all is well."""
    try:
        if lease is None or storage.read_bytes(lease.path) is not None:
            return ""
    except OSError:
        return ""  # the lease cannot be read now; a later write will show the problem
    return (
        f"the file {storage.without_credentials(lease.path)}, which the driver has just written, is missing: this "
        "machine does not share its storage. Name one that every node reaches with --storage"
    )


def refuse_superseded(lease: Lease | None) -> None:
    """Stop a worker before it writes, if its population was handed out again, or its home is gone.

    Raises:
        SupersededError: If the population was handed out again.
        GoneError: If the lease is gone.
    """
    if lease is None:
        return
    try:
        content = storage.read_bytes(lease.path)
        if content is None:  # the lease was there when the training began
            where = storage.without_credentials(lease.path)
            raise GoneError(f"the file {where} is not there any more, and nothing is written where it was")
        session = json.loads(content).get("session")
    except (OSError, ValueError, AttributeError):
        return  # the lease cannot be read now; the next epoch checks again
    if session != lease.session:
        raise SupersededError(f"session {lease.session} was taken over by {session}")


def refuse_other_code(planned: Mapping[str, str], found: Mapping[str, str], what: str) -> None:
    """Stop the sweep if a file of the user's own code is not the planned one.

    Args:
        planned: Planned hashes of the code's files, by path.
        found: Hashes of the files here and now; files that are not known here count as unchanged.
        what: Name of the code in the error.

    Raises:
        SpecMismatchError: If a file differs, because trials of different code are not comparable.
    """
    now = {name: digest for name, digest in found.items() if name in planned}
    if told := own_code.changed(planned, {**planned, **now}):
        raise SpecMismatchError(
            f"the code of {what} is not what this sweep was begun with: on {platform.node()} {', '.join(told)}. Bring "
            "it back and resume the sweep, or go on under the new code with --new-code: no trial has failed of it, "
            "what has no outcome waits"
        )
