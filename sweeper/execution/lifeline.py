"""Notices that a process that Ray needs has died, before Ray gives up and ends this process silently.

Without its daemon on this machine Ray's driver waits for ever. Without its head it ends the process after 60 s. Neither
raises an exception. This module itself knows nothing of Ray.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Time between two looks, in seconds.
LOOK_EVERY_S = 0.5

#: Longest orderly end after a death, in seconds: calls into a dead Ray may not return.
GRACE_S = 20.0


@contextmanager
def watching(
    dead: Callable[[], str],
    on_death: Callable[[str], None],
    at_worst: Callable[[str], None] | None = None,
    grace_s: float = GRACE_S,
) -> Iterator[None]:
    """Watch for a death in a separate thread until the context is left.

    Args:
        dead: Returns a description of what has died; empty while everything lives.
        on_death: Called once with this description; it must make the caller end in order.
        at_worst: Called with it if the context is not left within `grace_s` after that; it must end the process.
        grace_s: Longest orderly end, in seconds.
    """
    is_left = threading.Event()

    def look() -> None:
        while not is_left.wait(LOOK_EVERY_S):
            if reason := dead():
                on_death(reason)
                if not is_left.wait(grace_s) and at_worst is not None:
                    at_worst(reason)
                return

    thread = threading.Thread(target=look, name="sweeper-lifeline", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_left.set()


def died(reason: str) -> str:
    """Return the user's message about a Ray of which something has died."""
    return f"{reason}, so that nothing more can be trained: every outcome so far is safe, what has none waits"
