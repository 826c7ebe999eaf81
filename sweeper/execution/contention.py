"""How much of this machine's processors a sweep's workers get beside what else wants them."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

#: By so many steps Ray lowers the priority of its workers, unless its variable says otherwise: a machine that is busy
#: with anything else leaves them little.
WORKER_NICENESS, VARIABLE = 15, "RAY_worker_niceness"

#: How often it is looked who wants a processor, and how long between.
_LOOKS, _BETWEEN_S = 10, 0.03


@dataclass(frozen=True)
class Others:
    """Threads that want a processor now, on average over a moment, without those of this process.

    Attributes:
        count: How many.
        weight: Their weights together; see `weight_of`.
    """

    count: float
    weight: float

    def slow_down(self, workers: int, processors: int, niceness: int) -> float:
        """Return how many times longer work takes beside them than with a processor for each worker.

        Args:
            workers: Processes that work all the time.
            processors: What all share.
            niceness: Of the workers.
        """
        ours = workers * weight_of(niceness)
        by_weight = processors * ours / (ours + self.weight)
        return workers / min(workers, max(processors - self.count, by_weight))


def weight_of(niceness: int) -> float:
    """Return the weight by which Linux shares processors out: a step of niceness is a quarter more or less."""
    return 1024 / 1.25 ** max(-20, min(19, niceness))


def worker_niceness() -> int:
    """Return the niceness of Ray's workers here, as its variable or its default says."""
    try:
        more = int(os.environ.get(VARIABLE, WORKER_NICENESS))
    except ValueError:  # Ray refuses it as well, and says so
        more = WORKER_NICENESS
    return os.nice(0) + more


def others_at_work() -> Others:
    """Look for a moment who wants a processor. A load average would count what ended a minute ago."""
    found = []
    for _ in range(_LOOKS):
        time.sleep(_BETWEEN_S)
        found.append([weight_of(niceness) for niceness in _running()])
    return Others(sum(map(len, found)) / _LOOKS, sum(map(sum, found)) / _LOOKS)


def _running() -> list[int]:
    """Return the niceness of each thread of other processes that runs, or could."""
    found = []
    for file in Path("/proc").glob("[0-9]*/task/*/stat"):
        if file.parts[2] == str(os.getpid()):
            continue
        try:
            # Behind the name, which may hold anything: the state first, and niceness as the 17th.
            facts = file.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
        except OSError:  # it has just ended
            continue
        if len(facts) > 16 and facts[0] == "R":
            found.append(int(facts[16]))
    return found
