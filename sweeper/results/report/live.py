"""The report of a sweep while it runs: its current state, and a page that is made anew as results come.

Work is done only on request, and nothing is written. A thread makes the next page while the server serves the former
one. Making pages takes at most a twentieth of the time, so the cost is bounded.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sweeper.analysis.fronts import Front
from sweeper.errors import QueryError, SweepError, UnknownSweepError
from sweeper.results.report.page import Refreshed, empty_report, report
from sweeper.results.sweep_tables import SweepTables
from sweeper.tracking.live import View
from sweeper.tracking.reader import Reader

if TYPE_CHECKING:
    from sweeper.analysis.trials import StoredTrials

#: Least time between two reads of the sweep's state, however many requests come, and between two pages, in seconds.
LOOK_EVERY_S, PAGE_EVERY_S = 1.0, 10.0

#: Largest share of the time spent on making pages.
PAGE_SHARE = 0.05

#: The tracker may show a trial later than its driver counts it. So many more pages are made to find the missing trials.
_LATE_LOOKS = 5


@dataclass(frozen=True)
class Page:
    """A report at one time.

    Attributes:
        name: A hash of the content.
        content: The HTML.
        trials: Number of finished trials that it shows.
        seen: The driver's state at that time: how many trials had ended, and whether the sweep had.
    """

    name: str
    content: bytes
    trials: int
    seen: tuple[int, bool]


class ReadAtOnce:
    """Reads a sweep whose driver still writes: fronts first and once, then trials, so that no front's trial is missing.

    Args:
        reader: The reader of the sweep.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.sweep, self.address = reader.sweep, reader.address
        self.facts, self.live, self.networks, self.artifact = (
            reader.facts,
            reader.live,
            reader.networks,
            reader.artifact,
        )

    @cached_property
    def _fronts(self) -> list[Front]:
        return self._reader.fronts()

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the stored fronts; see `Reader.fronts`."""
        if objectives:
            return self._reader.fronts(task, objectives)
        found = [front for front in self._fronts if task in (None, front.task)]
        if task is not None and not found:
            raise UnknownSweepError(f"sweep '{self.sweep}' has no front of task '{task}' yet. Wait for one.")
        return found

    def trials(self) -> StoredTrials:
        """Return all finished trials; see `Reader.trials`."""
        _ = self._fronts
        return self._reader.trials()


class LiveReport:
    """Keeps the page of one sweep up to date.

    Args:
        load: Returns the sweep as its tracker holds it now.
        look: Returns the sweep's state.
        script: Address of the script that draws.
        clock: Seconds from any start.

    Attributes:
        links: Address of each further page of the sweep, by its title. It may grow.
    """

    def __init__(
        self,
        load: Callable[[], SweepTables],
        look: Callable[[], View],
        script: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._look, self._script, self._clock = load, look, script, clock
        self.links: dict[str, str] = {}
        self._looking, self._making = threading.Lock(), threading.Lock()
        self._view: View | None = None
        self._trouble = ""
        self._looked_s = self._next_page_s = float("-inf")
        self._page: Page | None = None
        self._late = 0

    def page(self) -> Page:
        """Return the newest page; wait only for the first one.

        Raises:
            SweepError: If there is no page yet and the tracker cannot be read.
        """
        view = self._seen()
        if self._page is None:
            with self._making:
                if self._page is None:  # another request may have made it meanwhile
                    return self._make(view)
        self._keep_up(view)
        return self._page

    def state(self) -> dict[str, Any]:
        """Return the sweep's state and the name of the newest page, as JSON holds them.

        `page` is that name. `is_final` says that the page will not change any more. `trouble` says why the tracker
        cannot be read; it is empty if it can.
        """
        view = self._seen()
        self._keep_up(view)
        page = self._page
        told: dict[str, Any] = {"page": page.name if page else "", "trouble": self._trouble, "links": dict(self.links)}
        if view is None:  # a sweep without a trial has only just begun, and its driver will soon write its state
            has_trials = page is not None and page.trials > 0
            return {**told, "stage": "unknown", "is_final": has_trials and not self._trouble}
        total, state = view.state.total, view.state
        return {
            **told,
            "trouble": view.trouble or self._trouble,
            "stage": str(state.stage),
            "is_final": state.is_ended and page is not None and not self._is_behind(view, page),
            "is_silent": view.is_stale,
            "heard_s": round(view.age_s, 1),
            "resume": view.resume,
            **{name: getattr(total, name) for name in ("planned", "ended", "complete", "failed", "pruned", "running")},
            "seconds_left": state.seconds_left,
            "notes": [note.text for note in state.notes],
        }

    def _seen(self) -> View | None:
        """Return the sweep's state; None if its tracker holds none, as for a sweep that an older version drove."""
        with self._looking:
            if self._clock() - self._looked_s >= LOOK_EVERY_S:
                try:
                    self._view, self._trouble = self._look(), ""
                except QueryError:
                    self._view, self._trouble = None, ""
                except SweepError as error:  # the sweep is gone or the tracker is down; keep the last view
                    self._trouble = str(error)
                self._looked_s = self._clock()
            return self._view

    def _is_behind(self, view: View, page: Page) -> bool:
        """Return whether a page is older than the sweep's state."""
        ended = view.state.total.ended
        return (ended, view.state.is_ended) != page.seen or (page.trials < ended and self._late < _LATE_LOOKS)

    def _keep_up(self, view: View | None) -> None:
        """Start making a new page if there is something new to show and the next page is due."""
        page = self._page
        if page is None or view is None or not self._is_behind(view, page):
            return
        has_ended = view.state.is_ended and not page.seen[1]  # once, so that a reader gets the last page soon
        is_time = has_ended or self._clock() >= self._next_page_s
        if is_time and self._making.acquire(blocking=False):
            threading.Thread(target=self._make_aside, args=(view,), name="live-report", daemon=True).start()

    def _make_aside(self, view: View) -> None:
        try:
            self._make(view)
        except SweepError as error:
            self._trouble = str(error)
        finally:
            self._making.release()

    def _make(self, view: View | None) -> Page:
        begun_s = self._clock()
        try:
            sweep = self._load()
            seen = (view.state.total.ended, view.state.is_ended) if view else (0, True)
            self._late = self._late + 1 if self._page and self._page.seen == seen else 0
            # Claims are decided only at the end: before, a verdict could change while someone reads it.
            how = Refreshed(self._script, is_final=seen[1])
            text = report(sweep, refreshed=how) if sweep.records else empty_report(sweep.name, how)
            name = hashlib.sha256(text.encode()).hexdigest()[:16]
            self._page = Page(name, how.named(text, name).encode(), len(sweep.records), seen)
            return self._page
        finally:
            ended_s = self._clock()
            self._next_page_s = ended_s + max(PAGE_EVERY_S, (ended_s - begun_s) / PAGE_SHARE)
