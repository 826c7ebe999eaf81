"""Notices that what a Ray stands on has died, before Ray itself gives up and ends this process without a word.

Without its daemon on this machine Ray's driver waits for ever, and without its head it ends the process after 60 s:
nothing is raised either way. Knows nothing of Ray.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: So often is looked.
LOOK_EVERY_S = 0.5

#: So long may it take to end in order, once something has died: calls into a Ray that is dead may not return.
GRACE_S = 20.0


@contextmanager
def watching(
    dead: Callable[[], str],
    on_death: Callable[[str], None],
    at_worst: Callable[[str], None] | None = None,
    grace_s: float = GRACE_S,
) -> Iterator[None]:
    """Look again and again, in a thread of its own, whether something has died, until this is left.

    Args:
        dead: Returns in words what has died; empty while all of it lives.
        on_death: Called once with these words: it asks whoever works with it to end.
        at_worst: Called with them where this was not left within `grace_s` after that; it ends the process.
        grace_s: Seconds.
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
    """Return what there is to say of a Ray of which something has died."""
    return f"{reason}, so that nothing more can be trained: every outcome so far is safe, what has none waits"
