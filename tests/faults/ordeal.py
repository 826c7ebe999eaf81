"""Strikes a sweep again and again, and resumes it as its own messages say, until it is complete."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sweeper.exit_codes import ExitCode
from tests.faults import own_sql, schedule
from tests.faults.rig import PATIENCE_S, descendants, workers
from tests.faults.schedule import BACKEND, CLOSING, DRIVER, MLFLOW, POSTGRES, RAY, WORKER, Strike, Tale

#: Allowed exit codes of a driver besides signals: done; a server is away; Ray is lost.
_KNOWN_ENDS = {ExitCode.DONE, ExitCode.MISTAKE, ExitCode.NOT_YET}

#: The commands that a driver names to continue.
_GOES_ON = re.compile(r"\bsweeper (resume|mirror|run)\b")

#: Longest time that a driver's descendants may outlive it, in seconds.
_LEAVES_S = 90


class Ordeal:
    """Strikes a sweep, in order, until none is left or the sweep is complete.

    Args:
        cli: The sweep's command line.
        start: The words that start it.
        ledger: Queries the ledger's database.
        trials: Number of trials of the complete sweep.
        strikes: Remaining strikes; a strike that meets a process is removed.
        tale: Receives the results.
        mlflow, postgres: The servers that the sweep uses; None for none.
    """

    def __init__(
        self,
        cli,
        start,
        ledger: own_sql.Ask,
        trials: int,
        strikes: list[Strike],
        tale: Tale,
        mlflow=None,
        postgres=None,
    ):
        self.cli, self._start, self._ask, self._trials = cli, start, ledger, trials
        self.strikes, self.tale, self._mlflow, self._postgres = strikes, tale, mlflow, postgres
        self._process = None
        self._count = 0
        self._sent = {}  # signals that were sent to each driver, by its process id
        self._later: list[tuple[float, Callable[[], None]]] = []  # when to start or continue something again, and how
        self._seen: dict[tuple[int, str], str] = {}  # titles of all processes that any driver has started
        self._ends: dict[str, tuple] = {}  # facts of finished trials, by key
        self._signs = self._armed_signs = (0, 0)
        self._due_s = None
        self._open: int | None = None
        self._beside, self._start_of_mlflow = ThreadPoolExecutor(1), None

    def go(self) -> None:
        """Drive the sweep to its end."""
        command: Sequence[str] | None = self._start
        most = 3 * len(self.strikes) + 12
        self._arm()
        try:
            while command is not None:
                if self._count == most:
                    self.tale.stuck.append(f"not complete after {most} drivers")
                    break
                command = self._next(self._driven(command))
        finally:
            self._restore()
            self._beside.shutdown()
        self._look_for_leavings()

    # --- one driver -----------------------------------------------------------------------------------

    def _driven(self, command: Sequence[str]) -> tuple[Sequence[str], int, str]:
        """Run a driver until it ends, and strike meanwhile; return its command, exit code and output."""
        self._count += 1
        file = self.cli.folder / f"driver-{self._count:02}.txt"
        with file.open("w") as out:
            self._process = self.cli.start(*command, to=out)
        self._log(f"driver {self._count} is process {self._process.pid}: {' '.join(map(str, command))}")
        moved_s, signs = time.monotonic(), self._signs
        while self._process.poll() is None:
            self._note()
            self._resume_others()
            self._strike()
            if self._signs != signs:
                moved_s, signs = time.monotonic(), self._signs
            if time.monotonic() - moved_s > PATIENCE_S:
                self.tale.stuck.append(f"driver {self._count} did nothing for {PATIENCE_S} s: {self._last_words(file)}")
                self._process.kill()
                self._process.wait()
            time.sleep(0.1)
        self._note(thoroughly=True)
        return command, self._process.returncode, file.read_text(errors="replace")

    def _next(self, ended: tuple[Sequence[str], int, str]) -> Sequence[str] | None:
        """Return the command that a driver's end asks for; None if nothing is left to do."""
        command, code, said = ended
        sent = self._sent.get(self._process.pid, set())
        named = signal.Signals(-code).name if code < 0 else str(code)
        self.tale.ends[named] = self.tale.ends.get(named, 0) + 1
        self._log(f"driver {self._count} ended with {named}")
        where = f"driver {self._count} (`sweeper {' '.join(map(str, command))}`, ended with {named})"
        if "Traceback (most recent call last)" in said:
            self.tale.tracebacks.append(f"{where}: {said[-3000:]}")
        by_signal = code in {-number for number in sent} | {128 + number for number in sent if number != signal.SIGKILL}
        if code not in _KNOWN_ENDS and not by_signal:
            self.tale.wrong.append(f"{where}: {said[-1500:]}")
        if code == ExitCode.DONE:
            if self._open and command[0] != "mirror":
                self.tale.wrong.append(f"{where}, though {self._open} trials were left")
            return ["resume", "fragile", *self._workers] if self._open else None
        if code == ExitCode.MISTAKE:
            self._restore()  # a user would bring a missing server back before continuing
        words = _GOES_ON.findall(said)
        # A killed driver could say nothing; the documentation then says `sweeper resume`. Before there is a plan, that
        # command says what to do instead.
        if not words and code not in {-number for number in sent} and code != ExitCode.MISTAKE:
            self.tale.wrong.append(f"{where} did not say how to go on: {said[-1500:]}")
        match words[-1] if words else "":
            case "mirror":
                return ["mirror", "fragile"]
            case "run":
                return self._start
            case _:
                return ["resume", "fragile", *self._workers]

    @property
    def _workers(self):
        at = self._start.index("--workers")
        return self._start[at : at + 2]

    def _last_words(self, file: Path) -> str:
        return file.read_text(errors="replace")[-500:]

    def _log(self, what: str) -> None:
        """Log an event, for the study of findings."""
        with (self.cli.folder / "ordeal.txt").open("a") as file:
            file.write(f"{datetime.now():%H:%M:%S.%f} {what}; {self._signs[1]} outcomes\n")

    # --- what is seen ---------------------------------------------------------------------------------

    def _note(self, *, thoroughly: bool = False) -> None:
        """Look at processes, checkpoints and outcomes; `thoroughly` also compares outcomes if none is new."""
        for pid, title in descendants(self._process.pid).items():
            with suppress(OSError):
                self._seen.setdefault((pid, _born(pid)), title)
        newest = max((path.stat().st_mtime_ns for path in self._checkpoints()), default=0)
        try:
            self._open, ended = own_sql.open_trials(self._ask)
            if ended == self._signs[1] and not thoroughly:
                self._signs = newest, ended
                return
            rows = own_sql.rows_of(self._ask)
        except Exception:  # there is no ledger yet, or its server is away
            self._open, self._signs = None, (newest, self._signs[1])
            return
        ends = {row.key: row.end for row in rows if row.state in own_sql.FINISHED}
        for key, end in self._ends.items():
            if ends.get(key) != end:
                self.tale.repeated.append(
                    f"{key} had ended, and is another one now, while driver {self._count} was there"
                )
        self._ends, self._signs = ends, (newest, len(ends))

    def _checkpoints(self) -> Iterable[Path]:
        found = []
        for path in (self.cli.home / "fragile" / "checkpoints").glob("*.pt"):
            with suppress(FileNotFoundError):
                path.stat()
                found.append(path)
        return found

    def _is_closing(self) -> bool:
        return self._open == 0 and self._signs[1] == self._trials

    # --- striking -------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._armed_signs, self._due_s = self._signs, None

    def _strike(self) -> None:
        """Strike if the next strike is due."""
        if not self.strikes:
            return
        strike = self.strikes[0]
        if self._due_s is None:
            if self._has_come(strike):
                self._due_s = time.monotonic() + strike.delay_s
            return
        if time.monotonic() < self._due_s:
            return
        if strike.moment == CLOSING and not self._is_closing():
            return
        if not (found := self._targets(strike.target)) or self._process.poll() is not None:
            return
        self.strikes.pop(0)
        self._log(f"{strike.signal} to {strike.target} {found}, {strike.moment}")
        self._hit(strike, found)
        self.tale.strikes.append(strike)
        self._arm()

    def _has_come(self, strike: Strike) -> bool:
        match strike.moment:
            case schedule.SOON:
                return bool(self._targets(strike.target))
            case schedule.TRAINING:
                # Requires a worker of this driver, because a killed driver's worker may have written the checkpoint.
                return self._signs[0] > self._armed_signs[0] and bool(workers(self._process.pid))
            case schedule.OUTCOME:
                return self._signs[1] > self._armed_signs[1]
            case _:
                return self._is_closing()

    def _targets(self, target: str) -> list[int]:
        """Return the ids of the existing processes of a kind; for a server, only its main process."""
        if target == DRIVER:
            return [self._process.pid]
        if target == WORKER:
            return workers(self._process.pid)
        if target == MLFLOW:
            return [self._mlflow.process.pid] if self._mlflow.process and self._start_of_mlflow is None else []
        if target == POSTGRES:
            return list(self._postgres.processes)[:1]
        if target == BACKEND:
            return [pid for pid, title in self._postgres.processes.items() if "127.0.0.1(" in title]
        return [pid for pid, title in descendants(self._process.pid).items() if RAY[target] in f"{title} "]

    def _hit(self, strike: Strike, found: Sequence[int]) -> None:
        number = signal.Signals[strike.signal]
        if strike.target == MLFLOW and strike.is_kill:
            self._mlflow.stop(number)
            self._later.append((time.monotonic() + strike.away_s, self._start_mlflow))
        elif strike.target == MLFLOW:
            self._mlflow.send(number)
            self._later.append((time.monotonic() + strike.away_s, lambda: self._mlflow.send(signal.SIGCONT)))
        elif strike.target == POSTGRES:
            self._postgres.kill()
            self._later.append((time.monotonic() + strike.away_s, self._postgres.start))
        else:
            pid = sorted(found)[int(strike.which * len(found))]
            if strike.target == DRIVER:
                self._sent.setdefault(pid, set()).add(number)
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            if number == signal.SIGSTOP:
                self._later.append((time.monotonic() + strike.away_s, lambda: _go_on(pid)))

    def _resume_others(self, *, at_once: bool = False) -> None:
        """Start or continue everything whose time away is over."""
        due = [one for one in self._later if at_once or time.monotonic() >= one[0]]
        self._later = [one for one in self._later if one not in due]
        for _, do in due:
            do()
        if self._start_of_mlflow is not None and (at_once or self._start_of_mlflow.done()):
            self._start_of_mlflow.result()
            self._start_of_mlflow = None

    def _start_mlflow(self) -> None:
        """Start MLflow in another thread, because it takes seconds."""
        self._start_of_mlflow = self._beside.submit(self._mlflow.start)

    def _restore(self) -> None:
        self._resume_others(at_once=True)

    # --- at the end -----------------------------------------------------------------------------------

    def _look_for_leavings(self) -> None:
        """Look for processes and folders that outlive the last driver."""
        until = time.monotonic() + _LEAVES_S
        while (left := self._alive()) and time.monotonic() < until:
            time.sleep(0.2)
        self.tale.stuck += [f"process {pid} was left behind: {title[:120]}" for pid, title in left]
        folder = Path(self.cli.environment["RAY_TMPDIR"])
        self.tale.stuck += [f"{path.name} of Ray was left behind" for path in folder.iterdir()]
        below = self.cli.home / "fragile"
        left = [path for path in below.rglob("*") if path.name == "placement" or path.suffix == ".tmp"]
        self.tale.stuck += [f"{path.relative_to(below)} was left behind" for path in left]
        for pid, _ in self._alive():  # leftovers must not disturb later tests
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _alive(self) -> list[tuple[int, str]]:
        found = []
        for (pid, born), title in self._seen.items():
            with suppress(OSError):
                if _born(pid) == born:
                    found.append((pid, title))
        return found


def _born(pid: int) -> str:
    """Return the start time of a process, because process ids are reused."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return fields[19]


def _go_on(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
