"""Looks at a sweep again and again that runs elsewhere, and tells what that says of its driver. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeper.errors import TrackingError
from sweeper.tracking.live import LiveState, View, plain


class Watcher:
    """Looks at a sweep.

    Args:
        read: Returns its state as it is stored.
        resume: The command that goes on with it.
        clock: Seconds from any start.
        now_ms: Unix milliseconds, by a clock that need not agree with the driver's.
    """

    def __init__(
        self,
        read: Callable[[], LiveState],
        resume: str = "",
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._read, self._resume, self._clock, self._now_ms = read, resume, clock, now_ms
        self._state: LiveState | None = None
        self._heard_s = 0.0  # when it was first seen as it is, by this clock
        self._has_changed = False

    def look(self) -> View:
        """Return what there is to see now.

        Raises:
            TrackingError: If MLflow cannot be reached the first time; later that is said in the view.
            UnknownSweepError: If there is no such sweep, or no longer.
            QueryError: If it does not say how it stands.
        """
        trouble = ""
        try:
            state = self._read()
        except TrackingError as error:
            if self._state is None:
                raise
            state, trouble = self._state, plain(str(error))
        if self._state is None or state.written_ms != self._state.written_ms:
            self._has_changed = self._state is not None
            self._state, self._heard_s = state, self._clock()
        return View(state, self._age_s(state), trouble, self._resume)

    def _age_s(self, state: LiveState) -> float:
        """Return how old a state is. What changes while it is watched needs no clock but this one."""
        since_s = self._clock() - self._heard_s
        if self._has_changed and not state.is_ended:
            return since_s
        return max(since_s, (self._now_ms() - state.written_ms) / 1000)
