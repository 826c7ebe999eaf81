"""Where a sweep lives on disk, and who may work on it. Only this file knows a file name.

HOME/mlflow.db             the tracking database, if no other is named
HOME/archived.json         marks a home that is an unpacked archive; no other tracking database is asked
HOME/NAME/ledger.db        the ledger; or, if several homes share a database,
HOME/NAME/ledger.json      the address of that database, and which of its sweeps this is
HOME/NAME/driver.json      who drives the sweep; locked by the operating system while that process lives
HOME/NAME/tracking.txt     the tracking URI last used
HOME/NAME/storage.txt      the folder or URI below which checkpoints and networks are kept, if it is not this one
HOME/NAME/checkpoints/     two files per population, which take turns; `checkpoints.py` names the second
HOME/NAME/leases/          one file per population, which names its last holder
HOME/NAME/networks/        one file per complete trial; copies of requested networks if they are kept elsewhere
HOME/NAME/probes/          one file per complete trial of a sweep with probes: its network's response to each image
HOME/NAME/placement/       files that Ray Tune writes while it runs; never read
HOME/NAME/archived.json    marks a read-only sweep of an archive; `mirror` beside it holds the tracker's data
HOME/NAME/upkeep.json      marks a sweep whose deletion or renaming is not complete

A home may be moved, because paths inside it are noted relative to it; see `kept_places.py`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sweeper import archived, sqlite_uri, storage
from sweeper.credentials import secrets_of
from sweeper.errors import HomeError, SweepBusyError, TrackingError, UnknownSweepError
from sweeper.job import Lease
from sweeper.ledger import kept_places
from sweeper.ledger.kept_places import ARTIFACTS, LEDGERS, TRACKING_FILE
from sweeper.spelling import did_you_mean, names_near

#: Advice for a ledger that cannot be read.
WAY_OUT = (
    "Restore it from a copy. What MLflow holds of the sweep can still be asked for with `sweeper pareto` and `sweeper "
    "trials`; a new sweep needs another --name."
)

#: Noted in place of a tracking URI that carries a password.
NOT_KEPT = "(not kept: it carries a password)"

#: Endings of temporary files that this and earlier versions write, and of SQLite's files beside them. It matches no
#: other files, because a user may keep some here.
_TORN = re.compile(r"\.(\d+|[0-9a-f]{32})\.tmp(-journal|-wal|-shm)?$")

#: The file that names the driver of a sweep.
_DRIVER = "driver.json"

#: The files that only a sweep writes, by folder.
_KEPT = {
    "checkpoints": re.compile(r".+\.pt"),
    "leases": re.compile(r".+\.json"),
    "networks": re.compile(r".+\.safetensors"),
    "probes": re.compile(r".+\.parquet"),
}

_NOTHING = re.compile("(?!)")

#: Files beside the ledger of a sweep whose planning was completed.
_LEFT = ("tracking.txt", "networks/*.safetensors", "checkpoints/*.pt")

#: The file that notes an unfinished operation on the whole sweep.
_UPKEEP = "upkeep.json"

#: Free disk space needed to start a population, in MiB: for its files and for pages of the ledger and of MLflow.
LEAST_ROOM_MIB = 8

#: A reader of `driver` holds the lock for a moment, so a new driver tries this often before it calls the lock taken.
_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 20, 0.01


@dataclass(frozen=True)
class Home:
    """A folder that holds sweeps.

    Attributes:
        storage: Folder or URI below which checkpoints and networks are kept. None means the place noted for the sweep,
            or the home if none is noted.
        ledger_url: URL of a database with ledgers. None means the ledger noted for the sweep, or a file in the home.
    """

    root: Path
    storage: str | None = None
    ledger_url: str | None = None

    def __post_init__(self) -> None:
        if found := sqlite_uri.problem_of(self.root):
            raise HomeError(
                f"the home {str(self.root)!r} has {found!r} in its path, which database addresses cannot hold. "
                "Name another folder with --home."
            )
        if self.root.is_file():
            raise HomeError(
                f"the home must be a folder, but got the file {self.root}. Name a folder with --home. Of an archive "
                f"`sweeper unarchive {self.root}` makes a sweep that every command takes."
            )

    def sweep(self, name: str) -> SweepFolder:
        """Return the folder of a sweep, whether or not it exists."""
        root = storage.rooted(self.storage) if self.storage else None
        return SweepFolder(self.root.absolute() / name, root, self.ledger_url)

    def known(self, name: str) -> SweepFolder:
        """Return the folder of a planned sweep.

        Raises:
            UnknownSweepError: If there is no sweep of that name here.
            HomeError: If there was such a sweep and its ledger is gone, or an operation on it is incomplete.
        """
        folder = self.sweep(name)
        folder.require_whole()
        folder.require_ledger()
        if not folder.is_planned and not folder.has_shared_ledger:
            sweeps = self.sweeps()
            otherwise = "Name the right home with --home or SWEEPER_HOME, or start it with `sweeper run`."
            raise UnknownSweepError(
                f"there is no sweep {name!r} in the home {self.root} (sweeps there: {names_near(name, sweeps)}). "
                + did_you_mean(name, sweeps, otherwise)
            )
        return folder

    def sweeps(self) -> list[str]:
        """Return the sorted names of all planned sweeps, including half-deleted ones and those without their ledger.

        Raises:
            HomeError: If the home cannot be read.
        """
        try:
            planned = {path.parent.name for name in (*LEDGERS, _UPKEEP) for path in self.root.glob(f"*/{name}")}
            folders = {path.name for path in self.root.glob("*") if path.is_dir()}
            return sorted(planned | {name for name in folders - planned if self.sweep(name).has_lost_ledger})
        except OSError as error:
            raise HomeError(f"the home {self.root} cannot be read: {error.strerror}") from error

    @property
    def artifact_root(self) -> str:
        """URI of the folder for artifacts, used if the tracking database names none."""
        return (self.root.absolute() / ARTIFACTS).as_uri()

    @property
    def tracking_uri(self) -> str:
        """URI of this home's tracking database."""
        return tracking_uri_in(self.root)

    def tracking_uri_of(self, name: str, named: str | None = None) -> str:
        """Return the tracking URI of a sweep: the one named now, or used last, or that of this home.

        A SQLite file is given by its absolute path, so that it is the same from every folder. The URI of an archived
        sweep is always the archive.

        Raises:
            TrackingError: If the last URI carried a password, which is not kept, and none is named.
        """
        folder = self.sweep(name)
        if folder.is_archived or (self.root / archived.MARKER).is_file():
            return f"{archived.SCHEME}{folder.path}"
        uri = named or folder.tracking_uri or self.tracking_uri
        if uri == NOT_KEPT:
            raise TrackingError(
                f"sweep {name!r} was mirrored to an address with a password, which is not kept. "
                "Name it again with --tracking-uri or MLFLOW_TRACKING_URI, in Python with tracking_uri."
            )
        file = sqlite_uri.file_of(uri)
        if file is None or file.is_absolute():
            return uri
        _, mark, how = uri.partition("?")
        return f"{sqlite_uri.uri_of(file.absolute())}{mark}{how}"


@dataclass(frozen=True)
class Drive(Lease):
    """A driver's lease on a sweep.

    Attributes:
        place: Device and inode of the locked file; its path may lead to another file later.
    """

    place: tuple[int, int] = (0, 0)

    def require_home(self) -> None:
        """Check that the home is still in its place, because writing after its loss would start a new home there.

        Raises:
            HomeError: If the home was deleted, moved or unmounted, or another home is there now.
        """
        file = Path(self.path)
        try:
            found = file.stat()
            is_here = (found.st_dev, found.st_ino) == self.place or (
                # Some file systems renumber a file, but its content is still the same.
                found.st_dev == self.place[0]
                and json.loads(file.read_text(encoding="utf-8")).get("session") == self.session
            )
            what = "" if is_here else "another one is there now"
        except FileNotFoundError:
            what = f"{file} is not there any more"
        except (OSError, ValueError, AttributeError) as error:
            what = f"{file} cannot be read any more ({getattr(error, 'strerror', None) or error})"
        if what:
            raise HomeError(
                f"the home {file.parent.parent} has gone while sweep {file.parent.name!r} ran: {what}. Nothing was "
                f"written since. Bring it back, then `sweeper resume {file.parent.name} --home DIR`."
            )


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep.

    Attributes:
        storage: Folder or URI for checkpoints and networks that this command names.
        named_ledger: URL for the ledger that this command names.
    """

    path: Path
    storage: str | None = None
    named_ledger: str | None = None

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def is_planned(self) -> bool:
        """Whether the folder holds a ledger, or a note of where the ledger is."""
        return (self.path / "ledger.db").exists() or "url" in self.shared_ledger

    @property
    def has_lost_ledger(self) -> bool:
        """Whether the folder has other files of a planned sweep, but no ledger."""
        is_known = self.is_planned or self.has_shared_ledger
        return not is_known and any(any(self.path.glob(name)) for name in _LEFT)

    def require_ledger(self) -> None:
        """Check that a sweep planned here still has its ledger.

        Raises:
            HomeError: If the ledger is gone.
        """
        if self.has_lost_ledger:
            raise HomeError(
                f"the ledger {self.path / 'ledger.db'} of sweep {self.name!r} is damaged: it is missing. {WAY_OUT}"
            )

    @property
    def has_shared_ledger(self) -> bool:
        """Whether the ledger is in a database, named now or noted before, and not in a file of this folder."""
        return not (self.path / "ledger.db").exists() and bool(self.named_ledger or self.shared_ledger.get("url"))

    @property
    def ledger_url(self) -> str:
        """URL of the ledger's storage: the file here if it exists, otherwise the database named now or noted before."""
        shared = (self.named_ledger or self.shared_ledger.get("url")) if self.has_shared_ledger else None
        return shared or sqlite_uri.uri_of(self.path / "ledger.db")

    @property
    def shared_ledger(self) -> Mapping[str, str]:
        """The note about a ledger in a shared database: `url` and `identity`; empty if there is none."""
        try:
            noted = json.loads((self.path / "ledger.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) else {}

    def keep_shared_ledger(self, url: str, identity: str) -> None:
        """Note the URL of the ledger and the sweep's identity; the URL must hold no password."""
        self._keep("ledger.json", json.dumps({"url": url, "identity": identity}))

    def make_ledger(self, create: Callable[[str], None]) -> None:
        """Make a ledger under a temporary name and rename it, so that nobody ever opens a half-made one.

        Args:
            create: Called with the URL of the file to make.
        """
        with self._writing(), storage.replaced(self.path / "ledger.db") as aside:
            create(sqlite_uri.uri_of(aside))

    @property
    def files(self) -> str:
        """Folder with checkpoints and networks: below the storage named now or noted before, otherwise this folder."""
        noted = self._kept("storage.txt")
        root = self.storage or (noted and kept_places.storage_as_meant(noted, self.path))
        return storage.join(root, self.name) if root else str(self.path)

    @property
    def has_files_elsewhere(self) -> bool:
        """Whether checkpoints and networks are kept outside of this folder."""
        return self.files != str(self.path)

    def is_in_home(self, path: str) -> bool:
        """Return whether a file or folder of this machine lies in this sweep's home, and so moves with it."""
        return kept_places.is_in_home(Path(path), self.path)

    def keep_storage(self) -> None:
        """Note the named storage for later commands, without credentials."""
        if self.storage:
            noted = kept_places.storage_as_noted(self.storage, self.path)
            self._keep("storage.txt", storage.without_credentials(noted))

    def checkpoint(self, population: str) -> str:
        """Return where the checkpoint of a population is kept."""
        return storage.join(self.files, "checkpoints", f"{population}.pt")

    def hand_out(self, population: str, holder: str) -> Lease:
        """Write the current holder of a population where its workers can read it, and return the lease.

        A worker stops if it finds another holder there. Otherwise a worker that was cut off, with or without its
        driver, would not know that its population continues elsewhere.

        Args:
            population: Key of the population.
            holder: Unique name of this handing out.

        Raises:
            OSError: If the lease cannot be written.
        """
        lease = Lease(storage.join(self.files, "leases", f"{population}.json"), holder)
        storage.write_bytes(lease.path, json.dumps({"session": holder}).encode())
        return lease

    def network(self, key: str) -> str:
        """Return where the trained network of a trial is kept."""
        return storage.join(self.files, "networks", f"{key}.safetensors")

    def probes(self, key: str) -> str:
        """Return where the responses of a trial's network to probes are kept, image by image."""
        return storage.join(self.files, "probes", f"{key}.parquet")

    def network_here(self, key: str) -> Path:
        """Return the path of a network on this machine; it is a copy if networks are kept elsewhere."""
        return self.path / "networks" / f"{key}.safetensors"

    @property
    def tracking_uri(self) -> str | None:
        """The tracking URI that this sweep last used, if it was kept."""
        noted = self._kept("tracking.txt")
        return noted and kept_places.tracking_as_meant(noted, self.path)

    def keep_tracking_uri(self, uri: str) -> None:
        """Note the tracking URI for later commands; for a URI with a password, note only that there was one."""
        if sqlite_uri.file_of(uri) is None and ("@" in uri or secrets_of(uri)):
            uri = NOT_KEPT
        self._keep("tracking.txt", kept_places.tracking_as_noted(uri, self.path))

    def keep_tracking_note(self) -> None:
        """Note the tracking URI again in today's form; the form of earlier versions depends on the sweep's name."""
        if (uri := self.tracking_uri) and uri != NOT_KEPT:
            self.keep_tracking_uri(uri)

    def _kept(self, name: str) -> str | None:
        try:
            text = (self.path / name).read_text(encoding="utf-8").strip()
            return text if text and "\0" not in text else None
        except (OSError, ValueError):
            return None

    def _keep(self, name: str, text: str) -> None:
        with self._writing():
            storage.write_local(self.path / name, f"{text}\n".encode())

    @contextmanager
    def drive(self) -> Iterator[Drive]:
        """Become the sweep's only driver.

        The operating system holds the lock and drops it when this process ends in any way, so a dead driver blocks
        nobody.

        Raises:
            HomeError: If the folder cannot be made or written, or its name is reserved for the home's own files.
            SweepBusyError: If another driver works on this sweep; names it.
        """
        if kept_places.is_reserved(self.name) and not self.is_planned:
            raise HomeError(
                f"a sweep cannot be called {self.name!r}: a home keeps files of its own under that name. Choose "
                "another one with --name."
            )
        self.require_own()
        self.require_whole()
        self.require_ledger()
        file = self._lock()
        try:
            session = uuid.uuid4().hex
            with self._writing():
                _sign(file, session)
            self.require_whole()  # the sweep may have been half deleted while this process waited
            self._remove_leftovers()
            place = os.fstat(file.fileno())
            yield Drive(str(self.path / _DRIVER), session, (place.st_dev, place.st_ino))
            # Lost machines and workers may have left torn files. Not after an exception: another may drive by then.
            self._remove_leftovers()
        finally:
            if not self.is_planned:  # a sweep that was refused before it was planned leaves no trace
                with suppress(OSError):
                    if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):  # not the file of another home
                        (self.path / _DRIVER).unlink()
                        self.path.rmdir()
            file.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every driver out during an operation on the whole sweep; its folder must exist.

        Raises:
            HomeError: If the folder cannot be written.
            SweepBusyError: If a driver works on this sweep; names it.
        """
        self.require_own()
        file = self._lock()
        try:
            with self._writing():
                _sign(file, uuid.uuid4().hex)
            yield
        finally:
            file.close()

    @property
    def upkeep(self) -> Mapping[str, Any]:
        """The unfinished operation on the whole sweep, as `begin_upkeep` noted it; empty if there is none."""
        try:
            noted = json.loads((self.path / _UPKEEP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return noted if isinstance(noted, dict) and isinstance(noted.get("command"), str) else {}

    def begin_upkeep(self, command: str, **facts: Any) -> None:
        """Note that an operation on the whole sweep begins, so that later commands recognise an interrupted one.

        Args:
            command: Command line, after `sweeper`, that completes the operation.
            facts: Plain values that this command needs.
        """
        self._keep(_UPKEEP, json.dumps({"command": command, **facts}))

    def end_upkeep(self) -> None:
        """Note that the operation on the whole sweep is complete."""
        with self._writing():
            (self.path / _UPKEEP).unlink(missing_ok=True)

    @property
    def is_archived(self) -> bool:
        """Whether this is a read-only sweep of an archive."""
        return (self.path / archived.MARKER).is_file()

    def unarchived(self) -> None:
        """Turn a sweep of an archive into an ordinary sweep."""
        with self._writing():
            (self.path / archived.MARKER).unlink(missing_ok=True)
            shutil.rmtree(self.path / "mirror", ignore_errors=True)

    def require_own(self) -> None:
        """Check that this is no sweep of an archive.

        Raises:
            HomeError: If it is one.
        """
        if self.is_archived:
            raise HomeError(
                f"sweep {self.name!r} in {self.path.parent} is of an archive, which is only read. `sweeper unarchive "
                "FILE` makes one of it that can be run."
            )

    def require_whole(self) -> None:
        """Check that no operation on the whole sweep is incomplete.

        Raises:
            HomeError: If one is incomplete; names the command that completes it.
        """
        if noted := self.upkeep:
            raise HomeError(
                f"`sweeper {noted['command']}` was interrupted, or is not done yet: sweep {self.name!r} in "
                f"{self.path.parent} is not whole. Give that command again to finish it."
            )

    def delete_files(self, *, here_only: bool = False) -> list[str]:
        """Remove every file of this sweep, here and where its files are kept; the note of the operation goes last.

        Args:
            here_only: Whether files kept elsewhere stay.

        Returns:
            Paths that stay in the sweep's folder, because a sweep writes no such files.

        Raises:
            HomeError: If a file cannot be removed; a repeated call removes the rest.
        """
        with self._writing():
            if self.has_files_elsewhere and not here_only:
                _delete_known(self.files)
            _delete_known(str(self.path))
            shutil.rmtree(self.path / "placement", ignore_errors=True)
            for name in ("tracking.txt", "storage.txt", "ledger.json", "ledger.db"):
                for ending in ("-wal", "-shm", "-journal", ""):
                    (self.path / f"{name}{ending}").unlink(missing_ok=True)
            left = [str(path) for path in sorted(self.path.glob("*")) if path.name not in (_UPKEEP, _DRIVER)]
            for name in (_UPKEEP, _DRIVER):
                (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):
            self.path.rmdir()
        return left

    def used_bytes(self) -> int:
        """Return the size of this sweep's files on this machine in bytes, without MLflow's data."""
        elsewhere = [Path(self.files)] if storage.is_local(self.files) and self.has_files_elsewhere else []
        return sum(disk_use(folder) for folder in (self.path, *elsewhere))

    def require_room(self) -> None:
        """Check that the disks of this folder, and of checkpoints and networks, have room for another population.

        Raises:
            HomeError: If a disk is full.
        """
        for root in {str(self.path), *([self.files] if storage.is_local(self.files) else [])}:
            try:
                free_mib = shutil.disk_usage(root).free / 2**20
            except OSError:
                continue  # a folder that does not exist yet, or an unknown size: writing will fail if there is no room
            if free_mib < LEAST_ROOM_MIB:
                raise HomeError(
                    f"the disk of {root} is full: {free_mib:.1f} MiB are free, and {LEAST_ROOM_MIB} are needed to go "
                    f"on. Trials without an outcome stay waiting. Free some, then `sweeper resume {self.name}`."
                )

    def leftovers(self) -> list[Path]:
        """Return the torn files of drivers and workers that were killed while writing.

        The result is meaningless while a driver or worker lives. Object stores never show torn files.
        """
        roots = {str(self.path), *([self.files] if storage.is_local(self.files) else [])}
        folders = [
            self.path,
            *(Path(root, folder) for root in roots for folder in ("checkpoints", "leases", "networks", "probes")),
        ]
        found = [path for folder in folders for path in folder.glob("*.tmp*") if path.is_file()]
        return sorted(path for path in found if _TORN.search(path.name))

    def _remove_leftovers(self) -> None:
        for torn in self.leftovers():
            with suppress(OSError):
                torn.unlink()

    def _lock(self) -> IO[str]:
        """Return the driver's file, open and locked."""
        driver: dict[str, object] = {}
        for _ in range(_LOCK_ATTEMPTS):
            with self._writing():
                self.path.mkdir(parents=True, exist_ok=True)
                file = (self.path / _DRIVER).open("a+", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Another driver may have removed the file since it was opened; a lock on a removed file is useless.
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
        except HomeError:
            raise  # a HomeError is an OSError as well, and already says what is wrong
        except OSError as error:
            raise HomeError(
                f"the sweep's folder {self.path} cannot be written: {error.strerror}. "
                "Make it writable, or name another folder with --home."
            ) from error

    @property
    def driver(self) -> str | None:
        """Description of the process that drives this sweep now; None if nobody does."""
        found = self.driving
        return None if found is None else _named(found)

    @property
    def driving(self) -> Mapping[str, object] | None:
        """The note of the process that drives this sweep now: `pid`, `host`, `since`; None if nobody does."""
        try:
            with (self.path / _DRIVER).open(encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return _read(file)
        except OSError:
            pass
        return None


def _delete_known(folder: str) -> None:
    """Remove the files of sweeps below a folder, and no others, because a user may keep files there."""
    for name in storage.sizes_below(folder):
        above, _, file = name.rpartition("/")
        if _KEPT.get(above, _NOTHING).fullmatch(file) or (above in {"", *_KEPT} and _TORN.search(file)):
            with suppress(FileNotFoundError):
                storage.delete(storage.join(folder, *name.split("/")))
    if storage.is_local(folder):
        for path in (*(Path(folder, name) for name in _KEPT), Path(folder)):
            with suppress(OSError):  # the folder is not empty or does not exist
                path.rmdir()


def tracking_uri_in(root: Path) -> str:
    """Return the URI of the tracking database in a home, which may be on another machine."""
    return sqlite_uri.uri_of(root.absolute() / TRACKING_FILE)


def disk_use(folder: Path | str) -> int:
    """Return the size of the files below a folder in bytes; links are not followed."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # the file has just been removed
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def this_driver() -> str:
    """Return the description of this process that another driver would see."""
    return _named(_this_process())


def _this_process() -> dict[str, object]:
    since = datetime.now().isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since}


def _sign(file: IO[str], session: str) -> None:
    """Write the description of this process into the file that it has locked."""
    file.seek(0)
    file.truncate()
    json.dump({**_this_process(), "session": session}, file)
    file.flush()


def _read(file: IO[str]) -> dict[str, object]:
    try:
        file.seek(0)
        content = json.load(file)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _named(driver: Mapping[str, object]) -> str:
    if not driver:
        return "another process"
    return f"process {driver.get('pid')} on {driver.get('host')} since {driver.get('since')}"
