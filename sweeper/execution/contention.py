"""How much of this machine's processors a sweep's workers get beside what else wants them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: By so many steps Ray lowers the priority of its workers, unless its variable says otherwise: a machine that is busy
#: with anything else leaves them little.
WORKER_NICENESS, VARIABLE = 15, "RAY_worker_niceness"

#: How often it is looked who wants a processor, and how long between.
_LOOKS, _BETWEEN_S = 10, 0.03


#: Whether Linux shares processors out among sessions first, and only within each by niceness.
_AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


@dataclass(frozen=True)
class Others:
    """Threads that want a processor now, on average over a moment, without those of this process.

    Attributes:
        count: How many that niceness is weighed against.
        weight: Their weights together; see `weight_of`.
        sessions: How many want one in each other session, where each session has an equal share.
    """

    count: float
    weight: float
    sessions: Sequence[float] = ()

    @property
    def load(self) -> float:
        """How many want a processor, in all sessions."""
        return self.count + sum(self.sessions)

    def slow_down(self, workers: int, processors: int, niceness: int) -> float:
        """Return how many times longer work takes beside them than with a processor for each worker.

        Args:
            workers: Processes that work all the time.
            processors: What all share.
            niceness: Of the workers.
        """
        share = _equal_shares([workers + self.count, *self.sessions], processors)[0]
        ours = workers * weight_of(niceness)
        by_weight = share * ours / (ours + self.weight)
        return workers / min(workers, max(share - self.count, by_weight))


def _equal_shares(wanted: Sequence[float], processors: float) -> list[float]:
    """Return what each gets where none gets more than it wants, and those that want more get the same."""
    shares, left, most = [0.0] * len(wanted), float(processors), len(wanted)
    for place in sorted(range(len(wanted)), key=lambda at: wanted[at]):
        shares[place] = min(wanted[place], left / most)
        left, most = left - shares[place], most - 1
    return shares


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
    found = list[tuple[int, int]]()
    for _ in range(_LOOKS):
        time.sleep(_BETWEEN_S)
        found += _running()
    ours = os.getsid(0)
    is_by_session = _shares_by_session()
    here = [niceness for session, niceness in found if session == ours or not is_by_session]
    elsewhere = Counter(session for session, _ in found if session != ours and is_by_session)
    return Others(
        len(here) / _LOOKS, sum(map(weight_of, here)) / _LOOKS, [count / _LOOKS for count in elsewhere.values()]
    )


def _shares_by_session(
    autogroup: Path = _AUTOGROUP, cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> bool:
    """Tell whether sessions have equal shares here: the kernel does so for whom no control group shares out."""
    try:
        if autogroup.read_text(encoding="utf-8").strip() != "1":
            return False
        for line in cgroup.read_text(encoding="utf-8").splitlines():
            _, names, path = line.split(":", 2)
            is_one = "cpu" in names.split(",") or (not names and (root / path.lstrip("/") / "cpu.weight").exists())
            if is_one and path != "/":
                return False
    except (OSError, ValueError):
        return False
    return True


def _running() -> list[tuple[int, int]]:
    """Return session and niceness of each thread of other processes that runs, or could."""
    found = []
    for file in Path("/proc").glob("[0-9]*/task/*/stat"):
        if file.parts[2] == str(os.getpid()):
            continue
        try:
            # Behind the name, which may hold anything: the state first, the session as the 4th, niceness as the 17th.
            facts = file.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
        except OSError:  # it has just ended
            continue
        if len(facts) > 16 and facts[0] == "R":
            found.append((int(facts[3]), int(facts[16])))
    return found
