"""Handles signals while a sweep runs, and shows its progress."""

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

if TYPE_CHECKING:  # a watcher does not need the driver's modules
    from sweeper.driver.driver import Observer, Snapshot

#: Longest wait for a tracking server that is still starting, in seconds.
_SERVER_PATIENCE_S = 60.0

#: Duration from which a wait is shown with its length, in seconds.
_WAIT_S = 2.0

#: Least time between two plain lines, in seconds.
LINES_EVERY_S = 10.0


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP: the first one asks the sweep to stop; a SIGINT after it ends it at once."""
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.append(number)

    with _handling(stop):
        yield stopped


@contextmanager
def leaving_signals() -> Iterator[None]:
    """Exit on SIGINT, SIGTERM and SIGHUP by SystemExit, so that cleanups run and a terminal gets its cursor back."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    with _handling(leave):
        yield


def handled() -> list[signal.Signals]:
    """Return the signals that end a command in order; without SIGHUP (a closed terminal) if `nohup` ignores it."""
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
    """Show a terminal's cursor again, which a live table hides."""
    Console(stderr=True).show_cursor()


class Screen(Protocol):
    """Shows a sweep while it runs."""

    def show(self, look: Callable[[], View]) -> None:
        """Show the view that `look` returns; it may be called later, repeatedly, and from another thread."""

    def note(self, text: str) -> None:
        """Write a note once, above the table or between the lines."""


class Lines:
    """Shows a sweep in plain lines from time to time, without colours or control characters.

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
        """Write a line, unless the last one is too recent."""
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
        """Write the last view if it was not written yet."""
        if self._look is not None:
            self._write(plain(live_line(self._look())))
            self._look = None


class Panel:
    """Shows a sweep as a table at the bottom of a terminal."""

    def __init__(self, console: Console, before: str) -> None:
        self._console, self._wait = console, Wait(before)
        self._look: Callable[[], View] | None = None
        self._noted: set[str] = set()

    def show(self, look: Callable[[], View]) -> None:
        """Draw the view of `look` from now on."""
        self._look = look

    def note(self, text: str) -> None:
        """Write a permanent note above the table."""
        text = plain(text)
        if text and text not in self._noted:
            self._noted.add(text)
            self._console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    def draw(self) -> RenderableType:
        """Return the current table, or a spinner if there is no view yet."""
        if self._look is None:
            return self._wait.draw()
        return live_table(self._look(), self._console.width, self._console.height)


class Wait:
    """Shows a spinner that names the reason of a wait, and after two seconds its length.

    Args:
        what: The reason in words, such as `starting Ray`.
        after_s: Seconds before the spinner appears, so that short waits show nothing.
        clock: Seconds from any start.
    """

    def __init__(self, what: str, after_s: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._after_s, self._clock, self._since_s = what, after_s, clock, clock()
        self._spinner = Spinner("dots")

    def draw(self) -> RenderableType:
        """Return the current spinner, or nothing yet."""
        waited_s = self._clock() - self._since_s
        if waited_s < self._after_s:
            return Text()
        seconds = f" · {duration(waited_s)}" if waited_s >= _WAIT_S else ""
        self._spinner.update(text=Text(f"{self._what}{seconds}"))
        return self._spinner


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show a spinner on standard error if a wait takes over two seconds; show nothing outside a terminal.

    Args:
        what: The reason of the wait in words, such as `drawing`.
    """
    console = Console(stderr=True)
    if not is_animated(console):
        yield
        return
    wait = Wait(what, _WAIT_S)
    with Live(console=console, get_renderable=wait.draw, refresh_per_second=8, transient=True, redirect_stdout=False):
        yield


def wait_for_tracking(uri: str) -> bool:
    """Wait up to a minute for a tracking server that does not listen yet, and say so; Ctrl-C ends the wait.

    Returns:
        Whether the server listens at the end, or this cannot be told.
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
    """Yield a live table on a terminal, or plain lines elsewhere and for users who want no colour.

    Args:
        console: The console to show it on.
        before: Words that a terminal shows until there is a view.
    """
    if is_animated(console):
        panel = Panel(console, before)
        with Live(console=console, get_renderable=panel.draw, refresh_per_second=4, transient=True):
            yield panel
        return

    def write(line: str) -> None:
        with suppress(OSError):  # in Python the stream is the user's own, and its failure must not end the sweep
            print(line, file=console.file, flush=True)

    lines = Lines(write)
    yield lines
    lines.finish()


def show(shown: Screen, view: View) -> None:
    """Show a view, and each of its notes once."""
    for note in view.state.notes:
        shown.note(note.text)
    without = replace(view, state=replace(view.state, notes=()))
    shown.show(lambda: without)


def is_animated(console: Console) -> bool:
    """Return whether a console is a terminal with colours and cursor control, whose user did not ask for plain text."""
    return console.is_interactive and console.file.isatty() and not console.no_color and not console.is_dumb_terminal


@contextmanager
def progress() -> Iterator[Observer]:
    """Yield an observer that shows the progress of a sweep driven by this process, on standard error."""
    with screen(Console(stderr=True), "starting Ray") as shown:

        def update(snapshot: Snapshot) -> None:
            shown.note(snapshot.note)
            shown.show(lambda: View(replace(snapshot.live(), notes=())))  # notes are written above

        yield update
