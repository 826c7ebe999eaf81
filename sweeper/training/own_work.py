"""The work of a user's own function, as the driver sends it to workers: torch is loaded there, not in the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweeper.job import Job, Progress
from sweeper.trial import Ended

#: The module that calls a function: every node of a cluster must be able to import it.
CALLED = "sweeper.training.own_function"


class FunctionWork:
    """Stands for `call_function` and becomes it when unpacked, so that a worker that cannot import it reports that."""

    def __call__(self, job: Job, report: Callable[[Progress], None]) -> list[Ended]:
        """Call the function of a job here; see `call_function`."""
        return call_function()(job, report)

    def __reduce__(self) -> tuple[Any, ...]:
        return call_function, ()


def call_function() -> Callable[[Job, Callable[[Progress], None]], list[Ended]]:
    """Return the function that calls a user's function."""
    from sweeper.training import own_function

    return own_function.call_function
