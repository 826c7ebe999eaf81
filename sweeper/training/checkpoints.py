"""The last two training states of a population: while one file is written, the other one is whole.

Two files take turns. So a state is never written over the newest one, and no file need be renamed, which object stores
cannot do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sweeper import model, storage
from sweeper.model.checkpoint import load_state, save_state


class Checkpoints:
    """The checkpoint files of one population.

    Args:
        location: Location of the first file; the other one is beside it.
    """

    def __init__(self, location: str) -> None:
        self._first, self._second = location, beside(location)
        self._next = self._first

    def states(self, problems: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the states that can be read, the newest one first.

        Training continues from the state yielded last, so `save` writes into the other file.

        Args:
            problems: List that receives a line for each file that is torn or is no training state.
        """
        found: list[tuple[int, str, dict[str, Any]]] = []
        for location in (self._first, self._second):
            try:
                state = _restored(location)
            except model.CheckpointError as error:
                where = storage.without_credentials(location)
                problems.append(f"the checkpoint {where} cannot be used: {error}")
                continue
            if state is not None:
                epoch = state["epoch"]
                found.append((epoch if isinstance(epoch, int) else -1, location, state))
        for _, location, state in sorted(found, key=lambda one: one[0], reverse=True):
            self._next = self._other(location)
            yield state

    def save(self, state: dict[str, Any]) -> None:
        """Write a state over the older one.

        Raises:
            OSError: If the state cannot be written; the newer file stays whole.
        """
        storage.write_bytes(self._next, save_state(state))
        self._next = self._other(self._next)

    def remove(self) -> None:
        """Remove both files, if they exist.

        Raises:
            OSError: If a file cannot be removed.
        """
        for location in (self._first, self._second):
            if storage.read_bytes(location) is not None:
                storage.delete(location)

    def _other(self, location: str) -> str:
        return self._second if location == self._first else self._first


def _restored(location: str) -> dict[str, Any] | None:
    """Return the training state at a location, or None if there is none."""
    try:
        data = storage.read_bytes(location)
    except OSError as error:
        raise model.CheckpointError(f"it cannot be read: {error.strerror}") from error
    return None if data is None else load_state(data)


def beside(location: str) -> str:
    """Return the location of a population's other file; the options after a `?` stay the same."""
    path, reached = storage.parted(location)
    folder, slash, name = path.rpartition("/")
    stem, dot, kind = name.partition(".")
    return f"{folder}{slash}{stem}.other{dot}{kind}{reached}"


def checkpoint_problem(location: str) -> str:
    """Read a population's checkpoints; return the problems if none can be used, empty if one can or none exists."""
    problems: list[str] = []
    states = list(Checkpoints(location).states(problems))
    return "" if states else "; ".join(problems)
