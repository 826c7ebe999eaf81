"""Estimates the share of this machine's processors that a sweep's workers get beside other processes."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Niceness that Ray adds to its workers unless the variable says otherwise. On a busy machine they then get little.
WORKER_NICENESS, VARIABLE = 15, "RAY_worker_niceness"

#: Number of looks at running threads, and the time between two looks, in seconds.
_LOOKS, _BETWEEN_S = 10, 0.03


#: File that says whether Linux divides processors among sessions first, and by niceness only within each session.
_AUTOGROUP = Path("/proc/sys/kernel/sched_autogroup_enabled")


@dataclass(frozen=True)
class Others:
    """Mean numbers of threads that want a processor now, without those of this process.

    Attributes:
        count: Threads that compete with the workers by niceness.
        weight: Sum of their weights; see `weight_of`.
        sessions: Threads in each other session, if each session gets an equal share.
    """

    count: float
    weight: float
    sessions: Sequence[float] = ()

    @property
    def load(self) -> float:
        """Number of threads that want a processor, in all sessions."""
        return self.count + sum(self.sessions)

    def slow_down(self, workers: int, processors: int, niceness: int) -> float:
        """Return the factor by which work beside these threads takes longer than with a processor for each worker.

        Args:
            workers: Number of processes that work all the time.
            processors: Number of processors that all share.
            niceness: Niceness of the workers.
        """
        share = _equal_shares([workers + self.count, *self.sessions], processors)[0]
        ours = workers * weight_of(niceness)
        by_weight = share * ours / (ours + self.weight)
        return workers / min(workers, max(share - self.count, by_weight))


def _equal_shares(wanted: Sequence[float], processors: float) -> list[float]:
    """Return each one's share: none gets more than it wants, and all that are cut short get the same."""
    shares, left, most = [0.0] * len(wanted), float(processors), len(wanted)
    for place in sorted(range(len(wanted)), key=lambda at: wanted[at]):
        shares[place] = min(wanted[place], left / most)
        left, most = left - shares[place], most - 1
    return shares


def weight_of(niceness: int) -> float:
    """Return the weight by which Linux divides processors: each step of niceness changes it by a quarter."""
    return 1024 / 1.25 ** max(-20, min(19, niceness))


def worker_niceness() -> int:
    """Return the niceness of Ray's workers here, from Ray's variable or its default."""
    try:
        more = int(os.environ.get(VARIABLE, WORKER_NICENESS))
    except ValueError:  # Ray refuses such a value itself, with an error
        more = WORKER_NICENESS
    return os.nice(0) + more


def others_at_work() -> Others:
    """Count for a moment the threads that want a processor; a load average would include those that ended lately."""
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
    """Return whether sessions get equal shares here: the kernel does so for processes outside of CPU control groups."""
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
    """Return session and niceness of each thread of other processes that runs or could run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/task/*/stat"):
        if file.parts[2] == str(os.getpid()):
            continue
        try:
            # After the name, which may hold any character: field 1 is the state, 4 the session, 17 the niceness.
            facts = file.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
        except OSError:  # the thread has just ended
            continue
        if len(facts) > 16 and facts[0] == "R":
            found.append((int(facts[3]), int(facts[16])))
    return found
