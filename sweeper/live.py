"""While a sweep runs: the signals that stop it, and how it goes. The other half of the room that prints."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from sweeper.driver import Observer, Snapshot
from sweeper.terminal import ProgressLine


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM: the first asks the sweep to stop, a second SIGINT ends it at once."""
    stopped: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        stopped.append(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress() -> Iterator[Observer]:
    """Show a live line on a terminal, and plain lines every few seconds elsewhere; both on the error output."""
    console, line = Console(stderr=True), ProgressLine(time.monotonic)
    notes: set[str] = set()

    def tell(snapshot: Snapshot) -> bool:
        if is_news := bool(snapshot.note) and snapshot.note not in notes:
            notes.add(snapshot.note)
            console.print(f"note: {snapshot.note}", highlight=False, markup=False, soft_wrap=True)
        return is_news

    if console.is_terminal:
        with Live("starting Ray", console=console, refresh_per_second=4, transient=True) as live:

            def update(snapshot: Snapshot) -> None:
                tell(snapshot)
                live.update(line.line(snapshot))

            yield update
        return
    shown = [-10.0]

    def write(snapshot: Snapshot) -> None:
        text = line.line(snapshot)
        if tell(snapshot) or time.monotonic() - shown[0] >= 10 or not snapshot.epochs:
            shown[0] = time.monotonic()
            print(text.plain, file=sys.stderr, flush=True)

    yield write
