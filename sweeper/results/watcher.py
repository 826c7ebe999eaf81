"""Polls a sweep that runs elsewhere and says how long ago its driver last wrote. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from sweeper.errors import TrackingError
from sweeper.tracking.live import LiveState, View, plain


class Watcher:
    """Polls the state of one sweep.

    Args:
        read: Returns the sweep's stored state.
        resume: The command that continues the sweep.
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
        self._heard_s = 0.0  # when this watcher first saw the current state, by `clock`
        self._has_changed = False

    def look(self) -> View:
        """Read the state and return the view of it.

        Raises:
            TrackingError: If MLflow cannot be reached the first time; later the view says so.
            UnknownSweepError: If there is no such sweep, or no longer.
            QueryError: If the tracker does not hold the sweep's state.
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
        """Return the age of a state in seconds; the driver's clock matters only until the state first changes."""
        since_s = self._clock() - self._heard_s
        if self._has_changed and not state.is_ended:
            return since_s
        return max(since_s, (self._now_ms() - state.written_ms) / 1000)
