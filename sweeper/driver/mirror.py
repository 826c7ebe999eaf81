"""A recorder kept up with the ledger, in a thread of its own: a tracking server that is slow holds up nobody else.

The thread is the recorder's only user from the first outcome until `finish`. It is given what the ledger holds already,
so what it does not get done is found missing by the next driver, or by `sweeper mirror`.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from sweeper.analysis.fronts import Front
from sweeper.errors import TrackingError
from sweeper.tracking.live import WRITTEN_AFTER_S, WRITTEN_EVERY_S, LiveState
from sweeper.tracking.recorder import Recorder
from sweeper.trial import TrialRecord

#: So many populations may wait for the recorder, with their curves; what comes beyond is left for the end.
MOST_WAITING = 256

#: So many of them are still written when a user stops a sweep, who does not wait long for a slow server.
MOST_AT_STOP = 16

#: After a failure what comes is left for the end so long: a server that does not answer takes a minute to say so.
RETRY_EVERY_S = 30.0

#: A front is computed and stored at most so often, and takes at most this share of the time.
FRONT_EVERY_S, FRONT_SHARE = 5.0, 0.05


class Mirroring:
    """Writes outcomes and fronts to a recorder.

    Args:
        recorder: Open.
        fronts: Returns the fronts of a task as they stand, the one over all objectives first; called from the thread.
        live: Returns how the sweep stands; called from the thread. None where nobody is told.
        clock: Seconds, from anywhere.
        require_home: Raises where nothing may be written any more; asked before every write.
    """

    def __init__(
        self,
        recorder: Recorder,
        fronts: Callable[[str], Sequence[Front]],
        live: Callable[[], LiveState] | None = None,
        clock: Callable[[], float] = time.monotonic,
        require_home: Callable[[], None] = lambda: None,
    ) -> None:
        self._recorder, self._fronts, self._live, self._clock = recorder, fronts, live, clock
        self._require_home = require_home
        self._waiting: queue.Queue[tuple[Sequence[TrialRecord], str] | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._next_front_s: dict[str, float] = {}
        self._next_try_s = self._next_live_s = -math.inf
        self.done: set[str] = set()  # keys of what is mirrored
        self.fronts: dict[str, Front] = {}
        self.left_out = 0  # outcomes that nobody writes unless they are caught up
        self.problem = ""  # why the last write failed

    def begin(self) -> None:
        """Say how the sweep stands from now on, before the first outcome and also while none comes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mirroring", daemon=True)
            self._thread.start()

    def put(self, records: Sequence[TrialRecord], task: str) -> None:
        """Have outcomes of a task mirrored soon, or at the end, and its front now and then; waits for nothing."""
        self.begin()
        self._raise()
        try:
            self._waiting.put_nowait((records, task))
        except queue.Full:
            self.left_out += len(records)

    def hasten(self) -> None:
        """Leave what was put, but for a little."""
        with suppress(queue.Empty):  # the thread takes from it, too
            while self._waiting.qsize() > MOST_AT_STOP:
                what = self._waiting.get_nowait()
                self.left_out += len(what[0]) if what else 0

    def finish(self) -> None:
        """Wait until what was put is written; then the recorder is free. After a failure `catch_up` has the rest."""
        if self.problem:
            self.stop()
        if self._thread is not None:
            self._say_that_it_ends()
            self._thread.join()
            self._thread = None
        self._raise()

    def stop(self, wait_s: float | None = None) -> None:
        """Leave what was put, and wait for what is being written, at most so long."""
        if self._thread is not None:
            while not self._waiting.empty():
                self._waiting.get()
            self._waiting.put(None)
            self._thread.join(wait_s)
            self._thread = None

    def catch_up(self, records: Iterable[TrialRecord], tasks: Sequence[str]) -> bool:
        """Write outcomes and fronts here and now; tells whether everything is mirrored."""
        self._try(lambda: self._write(records, tasks))
        return not self.problem

    def close(self, state: str, live: LiveState) -> bool:
        """End the sweep in the recorder, and say how it stands then; tells whether that went well."""
        self._require_home()
        self._try(lambda: self._recorder.record_live(live))
        if not self.problem:
            self._try(lambda: self._recorder.close(state))
        return not self.problem

    def _say_that_it_ends(self) -> None:
        while True:
            self._raise()
            try:
                return self._waiting.put(None, timeout=1)
            except queue.Full:  # it may have ended with an error
                continue

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error, self._thread = self._error, None, None
            raise error

    def _run(self) -> None:
        try:
            while (what := self._next()) is not None:
                records, task = what
                now_s = self._clock()
                if now_s < self._next_try_s:
                    continue
                is_due = now_s >= self._next_front_s.get(task, now_s)
                self._try(lambda: self._write(records, [task] if is_due else []))  # noqa: B023  # called at once
        except BaseException as error:
            self._error = error

    def _next(self) -> tuple[Sequence[TrialRecord], str] | None:
        """Return what comes next; how the sweep stands is said meanwhile, also where nothing comes for long."""
        while True:
            self._say()
            try:
                return self._waiting.get(timeout=WRITTEN_EVERY_S)
            except queue.Empty:
                continue

    def _say(self) -> None:
        """Say how the sweep stands, where it is time to; it takes a small share of the time, and may fail unsaid."""
        now_s = self._clock()
        if self._live is None or now_s < max(self._next_live_s, self._next_try_s):
            return
        self._next_live_s = now_s + RETRY_EVERY_S
        self._require_home()
        with suppress(TrackingError):  # outcomes say that the server is away; this is not worth a note of its own
            self._recorder.record_live(self._live())
            ended_s = self._clock()
            took_s = ended_s - now_s
            self._next_live_s = ended_s + min(max(WRITTEN_EVERY_S, took_s / FRONT_SHARE), WRITTEN_AFTER_S)

    def _write(self, records: Iterable[TrialRecord], tasks: Sequence[str]) -> None:
        for record in records:
            self._require_home()
            self._recorder.record(record)
            self.done.add(record.key)
        for task in tasks:
            self._require_home()
            started_s = self._clock()
            self.fronts[task], *_ = [self._recorder.record_front(front) for front in self._fronts(task)]
            took_s = self._clock() - started_s
            self._next_front_s[task] = started_s + max(FRONT_EVERY_S, took_s / FRONT_SHARE)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
            self.problem = ""
        except TrackingError as error:
            # The ledger has the outcome: a tracking server that is away must not stop the sweep.
            self.problem, self._next_try_s = str(error), self._clock() + RETRY_EVERY_S
