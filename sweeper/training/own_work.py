"""The call of a user's own function, as a driver hands it to workers: it loads torch there, and not in the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweeper.job import Job, Progress
from sweeper.trial import Ended

#: The module that calls a function: every node of a cluster must be able to import it.
CALLED = "sweeper.training.own_function"


class FunctionWork:
    """Stands for `call_function`, and becomes it where it is unpacked: so a worker that cannot import it says so."""

    def __call__(self, job: Job, report: Callable[[Progress], None]) -> list[Ended]:
        """Call the function of a job here; see `call_function`."""
        return call_function()(job, report)

    def __reduce__(self) -> tuple[Any, ...]:
        return call_function, ()


def call_function() -> Callable[[Job, Callable[[Progress], None]], list[Ended]]:
    """Return what calls a function."""
    from sweeper.training import own_function

    return own_function.call_function
