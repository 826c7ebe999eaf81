"""Where a sweep lives on disk, and who may work on it. Only this file knows a file name.

HOME/mlflow.db             the tracking database, where no other is named
HOME/NAME/ledger.db        the ledger
HOME/NAME/driver.json      who drives the sweep; locked by the operating system while that process lives
HOME/NAME/tracking.txt     the tracking URI last used
HOME/NAME/checkpoints/     one file per population
HOME/NAME/networks/        one file per complete trial
HOME/NAME/placement/       what Ray Tune writes beside while it runs; never read
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from sweeper.errors import HomeError, SweepBusyError, UnknownSweepError
from sweeper.vocabulary import Lease

#: Stands for a tracking URI that carries a password.
NOT_KEPT = "(not kept: it carries a password)"

#: Who asks for `driver` holds the lock for a moment: a new driver asks for it so often before it calls it taken.
_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 20, 0.01


@dataclass(frozen=True)
class Home:
    """A folder that holds sweeps."""

    root: Path

    def __post_init__(self) -> None:
        if found := re.search("[?#]", str(self.root)):
            raise HomeError(
                f"the home {self.root} has {found.group()!r} in its path, which database addresses cannot hold. "
                "Name another folder with --home."
            )

    def sweep(self, name: str) -> SweepFolder:
        """Return the folder of a sweep, whether or not it exists."""
        return SweepFolder(self.root.absolute() / name)

    def known(self, name: str) -> SweepFolder:
        """Return the folder of a planned sweep.

        Raises:
            UnknownSweepError: If there is none of that name here.
        """
        folder = self.sweep(name)
        if not folder.is_planned:
            sweeps = ", ".join(self.sweeps()) or "none"
            raise UnknownSweepError(
                f"there is no sweep {name!r} in {self.root} (sweeps there: {sweeps}). "
                "Name the right folder with --home, or start it with `sweeper run`."
            )
        return folder

    def sweeps(self) -> list[str]:
        """Return the names of all planned sweeps, sorted.

        Raises:
            HomeError: If the home is no folder, or cannot be read.
        """
        if self.root.exists() and not self.root.is_dir():
            raise HomeError(f"the home must be a folder, but got the file {self.root}. Name a folder with --home.")
        try:
            return sorted(path.parent.name for path in self.root.glob("*/ledger.db"))
        except OSError as error:
            raise HomeError(f"the home {self.root} cannot be read: {error.strerror}") from error

    @property
    def artifact_root(self) -> str:
        """URI of the folder for artifacts, where a tracking database does not say."""
        return (self.root.absolute() / "artifacts").as_uri()

    @property
    def tracking_uri(self) -> str:
        """The tracking database of this home."""
        return f"sqlite:///{self.root.absolute() / 'mlflow.db'}"


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep."""

    path: Path

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def is_planned(self) -> bool:
        """Whether a ledger is here."""
        return (self.path / "ledger.db").is_file()

    @property
    def ledger_url(self) -> str:
        """URL of the ledger's storage."""
        return f"sqlite:///{self.path / 'ledger.db'}"

    def make_ledger(self, create: Callable[[str], None]) -> None:
        """Have a ledger made, so that nobody ever opens a half-made one.

        Args:
            create: Called with the URL of the file to make.
        """
        with self._writing():
            aside = self.path / f"ledger.{os.getpid()}.tmp"
            aside.unlink(missing_ok=True)
            try:
                create(f"sqlite:///{aside}")
                aside.replace(self.path / "ledger.db")
            finally:
                aside.unlink(missing_ok=True)

    def checkpoint(self, population: str) -> Path:
        """Return where the checkpoint of a population is kept."""
        return self.path / "checkpoints" / f"{population}.pt"

    def network(self, key: str) -> Path:
        """Return where the trained network of a trial is kept."""
        return self.path / "networks" / f"{key}.safetensors"

    @property
    def tracking_uri(self) -> str | None:
        """The tracking URI this sweep last used, if it was kept."""
        try:
            return (self.path / "tracking.txt").read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    def keep_tracking_uri(self, uri: str) -> None:
        """Note the tracking URI for later commands; of one that carries a password only that there was one."""
        is_file = uri.startswith("sqlite:")
        if not is_file and ("@" in uri or re.search("(?i)[?&](password|token)=", uri)):
            uri = NOT_KEPT
        with self._writing():
            aside = self.path / f"tracking.{os.getpid()}.tmp"
            aside.write_text(uri + "\n", encoding="utf-8")
            aside.replace(self.path / "tracking.txt")

    @contextmanager
    def drive(self) -> Iterator[Lease]:
        """Become the sweep's only driver.

        The operating system holds the lock and drops it when this process ends in any way, so a dead driver blocks
        nobody. Workers compare the session in the file with their own before they write.

        Raises:
            HomeError: If the folder cannot be made or written.
            SweepBusyError: If another driver works on this sweep; names it.
        """
        file = self._lock()
        try:
            session = uuid.uuid4().hex
            driver = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "session": session,
                "since": datetime.now().isoformat(timespec="seconds"),
            }
            with self._writing():
                file.seek(0)
                file.truncate()
                json.dump(driver, file)
                file.flush()
            for torn in self.leftovers():
                torn.unlink(missing_ok=True)
            yield Lease(str(self.path / "driver.json"), session)
        finally:
            if not self.is_planned:  # what was refused before it was planned leaves no trace
                with suppress(OSError):
                    (self.path / "driver.json").unlink()
                    self.path.rmdir()
            file.close()

    def leftovers(self) -> list[Path]:
        """Return the torn files of drivers and workers that were killed while writing; meaningless while one lives."""
        folders = (self.path, self.path / "checkpoints", self.path / "networks")
        return sorted(path for folder in folders for path in folder.glob("*.tmp*") if path.is_file())

    def _lock(self) -> IO[str]:
        """Return the driver's file, open and locked."""
        driver: dict[str, object] = {}
        for _ in range(_LOCK_ATTEMPTS):
            with self._writing():
                self.path.mkdir(parents=True, exist_ok=True)
                file = (self.path / "driver.json").open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another driver may have removed the file since it was opened: a lock on that keeps nobody out.
                if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):
                    return file
            except BlockingIOError:
                driver = _read(file)
            except FileNotFoundError:
                pass
            except OSError as error:
                file.close()
                raise HomeError(
                    f"the file {file.name} cannot be locked: {error.strerror}. "
                    "Name a folder on a file system that has locks with --home."
                ) from error
            file.close()
            time.sleep(_LOCK_PAUSE_S)
        raise SweepBusyError(
            f"sweep {self.name!r} is being driven by {_named(driver)}. "
            f"Watch it with `sweeper status {self.name}`, or end that process first."
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HomeError(
                f"the sweep's folder {self.path} cannot be written: {error.strerror}. "
                "Make it writable, or name another folder with --home."
            ) from error

    @property
    def driver(self) -> str | None:
        """Who drives this sweep now, in words; None if nobody does."""
        try:
            with (self.path / "driver.json").open(encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return _named(_read(file))
        except OSError:
            pass
        return None


def _read(file: IO[str]) -> dict[str, object]:
    try:
        file.seek(0)
        content = json.load(file)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _named(driver: dict[str, object]) -> str:
    if not driver:
        return "another process"
    return f"process {driver.get('pid')} on {driver.get('host')} since {driver.get('since')}"
