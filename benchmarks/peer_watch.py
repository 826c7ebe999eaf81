"""Measures the processor time of a program and all of its descendants, daemons included, for peers.py. Linux only.

The kernel adds a child's time to its parent's when the parent waits for it. Two kinds of processes would escape. One is
daemons whose parent is gone: this process becomes the parent of all orphans below it. The other is children of a
process that ignores their end, as Ray's raylet does: they are sampled ten times a second while they live.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class _Process:
    parent: int
    own: float  # seconds of the process alone
    all: float  # including children that it has waited for
    is_unseen: bool = False  # no process waits for it


class Watched:
    """A running program, and the processor time that it takes.

    Attributes:
        started, ended: Times at which the program began, and its last process was gone.
        curve: Processor seconds of all its processes, by time.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.curve: list[tuple[float, float]] = []
        self._seen: dict[tuple[int, int], _Process] = {}
        self._waited_for: set[int] = set()  # orphans, whose time the kernel has given to this process
        self._before, self._is_over = _spent_below(), threading.Event()
        self.started = self.ended = time.time()
        with output.open("ab") as said:
            self._process = subprocess.Popen(
                command, cwd=folder, env=dict(environment), stdout=said, stderr=said, start_new_session=True
            )
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether the program itself has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill its process group with SIGKILL."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stop_looking()

    def wait(self, patience_s: float) -> int:
        """Wait for the program, then for its remaining processes, and kill those that stay too long.

        Returns:
            The program's exit code.

        Raises:
            TimeoutExpired: If the program itself does not end in time.
        """
        code = self._process.wait(patience_s)
        until = time.time() + 60
        while self._has_children():
            if time.time() > until:
                for (pid, _), _process in self._children().items():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        if not self._is_over.is_set():
            self.ended = time.time()
            self._stop_looking()
        return code

    def _stop_looking(self) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def cpu(self) -> float:
        """Processor seconds of all its processes, valid once it is over."""
        unseen = sum(
            process.all for (pid, _), process in self._seen.items() if process.is_unseen and pid not in self._waited_for
        )
        return _spent_below() - self._before + unseen

    def _has_children(self) -> bool:
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._waited_for.add(pid)
        except ChildProcessError:
            return False
        return True

    def _look(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            for name, process in self._children().items():
                process.is_unseen = self._seen.get(name, process).is_unseen or _ignores_children(process.parent)
                self._seen[name] = process
            self.curve.append((time.time(), sum(process.own for process in self._seen.values())))

    def _children(self) -> dict[tuple[int, int], _Process]:
        """Return all descendants of this process, by id and start."""
        found, starts = {}, {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                with suppress(OSError):
                    fields = (path / "stat").read_text().rpartition(")")[2].split()
                    times = [int(ticks) / _TICKS for ticks in fields[11:15]]
                    found[int(path.name)] = _Process(int(fields[1]), sum(times[:2]), sum(times))
                    starts[int(path.name)] = int(fields[19])
        mine = {os.getpid()}
        while more := {pid for pid, process in found.items() if process.parent in mine} - mine:
            mine |= more
        return {(pid, starts[pid]): found[pid] for pid in mine - {os.getpid()} if pid in found}


def _ignores_children(pid: int) -> bool:
    with suppress(OSError, IndexError):
        ignored = Path(f"/proc/{pid}/status").read_text().partition("SigIgn:")[2].split()[0]
        return bool(int(ignored, 16) >> (signal.SIGCHLD - 1) & 1)
    return False


def _spent_below() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime
