"""Keeps a recorder up with the ledger in its own thread, so that a slow tracking server delays nobody else.

The thread is the recorder's only user from `begin` until `finish`. It writes only outcomes that the ledger already
holds, so the next driver, or `sweeper mirror`, finds and writes the ones that it leaves out.
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

#: Largest number of populations that wait for the recorder, with their curves; further ones are left for the end.
MOST_WAITING = 256

#: Number of waiting populations that are still written when the user stops a sweep and does not want to wait long.
MOST_AT_STOP = 16

#: Pause after a failed write, in seconds, because a dead server takes a minute to fail; outcomes meanwhile are left
#: for the end.
RETRY_EVERY_S = 30.0

#: Least time between two writes of a front, in seconds, and the largest share of the time that fronts may take.
FRONT_EVERY_S, FRONT_SHARE = 5.0, 0.05


class Mirroring:
    """Writes outcomes and fronts to a recorder.

    Args:
        recorder: Recorder that is already open.
        fronts: Returns the current fronts of a task, the one over all objectives first; called from the thread.
        live: Returns the live state of the sweep; called from the thread. None writes no live state.
        clock: Returns seconds from any start.
        require_home: Called before every write; raises if nothing may be written any more.
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
        self.done: set[str] = set()  # keys of mirrored trials
        self.fronts: dict[str, Front] = {}
        self.left_out = 0  # outcomes that only `catch_up` writes
        self.problem = ""  # why the last write failed

    def begin(self) -> None:
        """Start the thread, which writes the live state regularly, even while no outcome comes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mirroring", daemon=True)
            self._thread.start()

    def put(self, records: Sequence[TrialRecord], task: str) -> None:
        """Queue outcomes of a task for mirroring, with its front now and then; never waits."""
        self.begin()
        self._raise()
        try:
            self._waiting.put_nowait((records, task))
        except queue.Full:
            self.left_out += len(records)

    def hasten(self) -> None:
        """Drop queued outcomes except for `MOST_AT_STOP` populations."""
        with suppress(queue.Empty):  # the thread also takes from the queue
            while self._waiting.qsize() > MOST_AT_STOP:
                what = self._waiting.get_nowait()
                self.left_out += len(what[0]) if what else 0

    def finish(self) -> None:
        """Wait until the queue is written, then end the thread. After a failure `catch_up` must write the rest."""
        if self.problem:
            self.stop()
        if self._thread is not None:
            self._say_that_it_ends()
            self._thread.join()
            self._thread = None
        self._raise()

    def stop(self, wait_s: float | None = None) -> None:
        """Drop the queue, and wait at most `wait_s` seconds for the write in progress."""
        if self._thread is not None:
            while not self._waiting.empty():
                self._waiting.get()
            self._waiting.put(None)
            self._thread.join(wait_s)
            self._thread = None

    def catch_up(self, records: Iterable[TrialRecord], tasks: Sequence[str]) -> bool:
        """Write outcomes and fronts in this thread; return whether everything is mirrored."""
        self._try(lambda: self._write(records, tasks))
        return not self.problem

    def close(self, state: str, live: LiveState) -> bool:
        """End the sweep in the recorder, with its last live state; return whether that succeeded."""
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
            except queue.Full:  # the thread may have ended with an error
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
        """Return the next item of the queue; write the live state while waiting."""
        while True:
            self._say()
            try:
                return self._waiting.get(timeout=WRITTEN_EVERY_S)
            except queue.Empty:
                continue

    def _say(self) -> None:
        """Write the live state if it is due. This takes a small share of the time and may fail silently."""
        now_s = self._clock()
        if self._live is None or now_s < max(self._next_live_s, self._next_try_s):
            return
        self._next_live_s = now_s + RETRY_EVERY_S
        self._require_home()
        with suppress(TrackingError):  # a failed write of an outcome tells the user, so this failure needs no note
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
            # The ledger has the outcome, so a tracking server that is away must not stop the sweep.
            self.problem, self._next_try_s = str(error), self._clock() + RETRY_EVERY_S
