"""One run of a sweep with its signals and its progress: what `sweeper run` and `sweeper.run` share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.cli.live import progress, stop_signals

if TYPE_CHECKING:  # heavy rooms are imported where they are used
    from sweeper.driver.driver import Summary
    from sweeper.driver.sweep import Sweep
    from sweeper.execution.contract import Executor
    from sweeper.spec import LoadedSpec


@dataclass(frozen=True)
class Session:
    """How a run ended.

    Attributes:
        summary: What there is of the sweep.
        signal: Number of the signal that stopped it; None where none did.
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
    """Run or resume a sweep and show on the error output how it goes; the first signal stops it in order.

    Args:
        sweep: The sweep.
        loaded: Its spec; None resumes what was planned.
        workers: Populations trained at a time; None for as many as there is room for.
        address: A running Ray cluster; None starts one here.
        executor: Where populations are trained, in place of Ray.
        at_worst: Ends the process where a Ray that has died keeps it from ending in order.
        shows_progress: Whether to show anything.
        options: As for `Sweep.run`.

    Raises:
        KeyboardInterrupt: If a second signal asked to end at once.
        SweepError: As `Sweep.run` does.
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
    """Collect signals where this thread may: Python lets the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        with stop_signals() as stopped:
            yield stopped
    else:
        yield []
