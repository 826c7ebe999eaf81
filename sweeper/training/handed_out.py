"""Whether what was handed out is still this worker's, and whose fault it is where something goes wrong."""

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

#: What the system says where a disk, or someone's part of it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class GoneError(RuntimeError):
    """Where a population's files are kept has gone."""


class SupersededError(RuntimeError):
    """The population was handed out again, to somebody else: what this worker does is no longer wanted."""


def kind_of(error: Exception) -> Outcome:
    """Return the outcome of a training that raised something."""
    if is_out_of_memory(error):
        return Outcome.OUT_OF_MEMORY
    # A full disk is the machine's fault, as a death is: there is a checkpoint to go on from when there is room.
    return Outcome.LOST if isinstance(error, OSError) and error.errno in DISK_FULL else Outcome.FAILED


def unshared(lease: Lease | None) -> str:
    """Return why what is written here would never be seen by the driver: what it has just written is not here."""
    try:
        if lease is None or storage.read_bytes(lease.path) is not None:
            return ""
    except OSError:
        return ""  # it cannot be read now; what is written says more
    return (
        f"the file {storage.without_credentials(lease.path)}, which the driver has just written, is missing: this "
        "machine does not share its storage. Name one that every node reaches with --storage"
    )


def refuse_superseded(lease: Lease | None) -> None:
    """Stop a worker whose population was handed out again, or whose home has gone, before it writes there."""
    if lease is None:
        return
    try:
        content = storage.read_bytes(lease.path)
        if content is None:  # it was there when the training began
            where = storage.without_credentials(lease.path)
            raise GoneError(f"the file {where} is not there any more, and nothing is written where it was")
        session = json.loads(content).get("session")
    except (OSError, ValueError, AttributeError):
        return  # it cannot be read now; asked again after the next epoch
    if session != lease.session:
        raise SupersededError(f"session {lease.session} was taken over by {session}")


def refuse_other_code(planned: Mapping[str, str], found: Mapping[str, str], what: str) -> None:
    """Stop the sweep where a file of the user's own code is not what it was planned with.

    Args:
        planned: Hashes of its files, by path.
        found: What they are here and now; those that are not known here are taken for what they should be.
        what: Names the code.

    Raises:
        SpecMismatchError: Trials of one code are not comparable with those of another.
    """
    now = {name: digest for name, digest in found.items() if name in planned}
    if told := own_code.changed(planned, {**planned, **now}):
        raise SpecMismatchError(
            f"the code of {what} is not what this sweep was begun with: on {platform.node()} {', '.join(told)}. Bring "
            "it back and resume the sweep, or go on under the new code with --new-code: no trial has failed of it, "
            "what has no outcome waits"
        )
