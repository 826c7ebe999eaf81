"""While a sweep runs: the signals that stop it, and how it goes. The other half of the room that prints."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from sweeper.cli.live_view import live_line, live_table
from sweeper.cli.status_tables import duration
from sweeper.tracking.live import View, plain

if TYPE_CHECKING:  # who watches a sweep does not drive it
    from sweeper.driver.driver import Observer, Snapshot

#: Seconds for which a tracking server is waited for that is being started.
_SERVER_PATIENCE_S = 60.0

#: Seconds from which on a wait is one, and how long it has lasted is told.
_WAIT_S = 2.0

#: Seconds between plain lines, at least.
LINES_EVERY_S = 10.0


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP: the first asks the sweep to stop, a second SIGINT ends it at once."""
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.append(number)

    with _handling(stop):
        yield stopped


@contextmanager
def leaving_signals() -> Iterator[None]:
    """Leave at once on SIGINT, SIGTERM and SIGHUP, in order: a terminal gets its cursor back."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    with _handling(leave):
        yield


def handled() -> list[signal.Signals]:
    """Return the signals that end a command in order; that of a closed terminal not where `nohup` has it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


@contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in handled()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def show_cursor() -> None:
    """Give a terminal its cursor back that a table has hidden."""
    Console(stderr=True).show_cursor()


class Screen(Protocol):
    """Where a sweep is shown while it runs."""

    def show(self, look: Callable[[], View]) -> None:
        """Show what `look` returns; it may be asked later, again, and from another thread."""

    def note(self, text: str) -> None:
        """Write a note, once, above or between what is shown."""


class Lines:
    """Shows a sweep in plain lines, now and then: no colour, and nothing that a terminal would obey.

    Args:
        write: Takes a line.
        clock: Seconds from any start.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._next_s: float | None = None
        self._look: Callable[[], View] | None = None
        self._noted: set[str] = set()

    def show(self, look: Callable[[], View]) -> None:
        """Write a line, unless there was one just now."""
        self._look = look
        if self._next_s is None or self._clock() >= self._next_s:
            self._next_s = self._clock() + LINES_EVERY_S
            self.finish()

    def note(self, text: str) -> None:
        """Write a note, unless it was written before."""
        text = plain(text)
        if text and text not in self._noted:
            self._noted.add(text)
            self._write(f"note: {text}")

    def finish(self) -> None:
        """Write what was not written yet."""
        if self._look is not None:
            self._write(plain(live_line(self._look())))
            self._look = None


class Panel:
    """Shows a sweep as a table at the end of a terminal, drawn again four times a second."""

    def __init__(self, console: Console, before: str) -> None:
        self._console, self._wait = console, Wait(before)
        self._look: Callable[[], View] | None = None
        self._noted: set[str] = set()

    def show(self, look: Callable[[], View]) -> None:
        """Draw this from now on."""
        self._look = look

    def note(self, text: str) -> None:
        """Write a note above the table, where it stays."""
        text = plain(text)
        if text and text not in self._noted:
            self._noted.add(text)
            self._console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    def draw(self) -> RenderableType:
        """Return the table as it looks now."""
        if self._look is None:
            return self._wait.draw()
        return live_table(self._look(), self._console.width, self._console.height)


class Wait:
    """Says what is being waited for, and from two seconds on for how long.

    Args:
        what: In words, such as `starting Ray`.
        after_s: Until then nothing is drawn: what takes no longer is no wait.
        clock: Seconds from any start.
    """

    def __init__(self, what: str, after_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._after_s, self._clock, self._since_s = what, after_s, clock, clock()
        self._spinner = Spinner("dots")

    def draw(self) -> RenderableType:
        """Return how it looks now."""
        waited_s = self._clock() - self._since_s
        if waited_s < self._after_s:
            return Text()
        seconds = f" · {duration(waited_s)}" if waited_s >= _WAIT_S else ""
        self._spinner.update(text=Text(f"{self._what}{seconds}"))
        return self._spinner


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal's error output what is waited for, where that takes over two seconds; nothing elsewhere.

    Args:
        what: In words, such as `drawing`.
    """
    console = Console(stderr=True)
    if not is_animated(console):
        yield
        return
    wait = Wait(what, _WAIT_S)
    with Live(console=console, get_renderable=wait.draw, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield


def wait_for_tracking(uri: str) -> bool:
    """Wait a minute for a tracking server at whose address nothing listens yet, and say so; Ctrl-C ends the wait.

    Returns:
        False where nothing listens even then.
    """
    from sweeper.credentials import redacted
    from sweeper.tracking.mlflow.waiting import wait_for_server

    def say() -> None:
        print(
            f"note: nothing listens at {redacted(uri)} yet; waiting up to {duration(_SERVER_PATIENCE_S)} for it",
            file=sys.stderr,
            flush=True,
        )

    with leaving_signals(), waiting("waiting for the tracking server"):
        return wait_for_server(uri, _SERVER_PATIENCE_S, say)


@contextmanager
def screen(console: Console, before: str = "starting") -> Iterator[Screen]:
    """Give a table on a terminal, and plain lines elsewhere, or where no colour is wanted.

    Args:
        console: Where to show.
        before: What a terminal shows until there is something to see.
    """
    if is_animated(console):
        panel = Panel(console, before)
        with Live(console=console, get_renderable=panel.draw, refresh_per_second=4, transient=True):
            yield panel
        return

    def write(line: str) -> None:
        with suppress(OSError):  # in Python the stream is the user's own: what it does not take ends no sweep
            print(line, file=console.file, flush=True)

    lines = Lines(write)
    yield lines
    lines.finish()


def show(shown: Screen, view: View) -> None:
    """Show a view, its notes once each above what is drawn anew."""
    for note in view.state.notes:
        shown.note(note.text)
    without = replace(view, state=replace(view.state, notes=()))
    shown.show(lambda: without)


def is_animated(console: Console) -> bool:
    """Whether a console takes colours and moves its cursor, and its user has not asked for plain text."""
    return console.is_interactive and console.file.isatty() and not console.no_color and not console.is_dumb_terminal


@contextmanager
def progress() -> Iterator[Observer]:
    """Show on the error output how the sweep goes that is run here."""
    with screen(Console(stderr=True), "starting Ray") as shown:

        def update(snapshot: Snapshot) -> None:
            shown.note(snapshot.note)
            shown.show(lambda: View(replace(snapshot.live(), notes=())))  # they stand above

        yield update
