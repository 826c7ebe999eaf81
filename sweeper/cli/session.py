"""Runs a sweep once, with signals and progress; `sweeper run` and the Python function `sweeper.run` share it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.cli.live import progress, stop_signals

if TYPE_CHECKING:  # functions import heavy packages themselves
    from sweeper.driver.driver import Summary
    from sweeper.driver.sweep import Sweep
    from sweeper.execution.contract import Executor
    from sweeper.spec import LoadedSpec


@dataclass(frozen=True)
class Session:
    """How a run ended.

    Attributes:
        summary: Summary of the sweep.
        signal: Number of the signal that stopped the run; None if none did.
    """

    summary: Summary
    signal: int | None


def run_session(
    sweep: Sweep,
    loaded: LoadedSpec | None,
    workers: int | None,
    address: str | None,
    *,
    executor: Executor | None = None,
    at_worst: Callable[[str], None] | None = None,
    shows_progress: bool = True,
    **options: Any,
) -> Session:
    """Run or resume a sweep, and show its progress on standard error; the first signal stops it in order.

    Args:
        sweep: The sweep.
        loaded: Its spec; None resumes the planned sweep.
        workers: Populations trained at a time; None for as many as there is room for.
        address: A running Ray cluster; None starts one here.
        executor: Trains populations in place of Ray.
        at_worst: Ends the process if a dead Ray keeps it from ending in order.
        shows_progress: Whether to show progress.
        options: As for `Sweep.run`.

    Raises:
        KeyboardInterrupt: If a second signal asked to end at once.
        SweepError: As for `Sweep.run`.
    """
    from sweeper.execution.executors import RayExecutor

    with _signals() as stopped, progress() if shows_progress else nullcontext(lambda _: None) as observe:
        summary = sweep.run(
            loaded,
            executor=executor or RayExecutor(workers, address, sweep.scratch, at_worst),
            workers=workers,
            observe=observe,
            should_stop=lambda: bool(stopped),
            **options,
        )
    return Session(summary, stopped[0] if stopped else None)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect signals if this is the main thread, because Python allows handlers in no other."""
    if threading.current_thread() is threading.main_thread():
        with stop_signals() as stopped:
            yield stopped
    else:
        yield []
