"""Makes archives of sweeps, opens them for reading, and turns them into sweeps again."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import uuid
from atexit import register as at_exit
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sweeper import archived, cache, storage
from sweeper.analysis.formats import encode, read_probes
from sweeper.analysis.fronts import Front
from sweeper.credentials import redacted
from sweeper.errors import HomeError, QueryError, SweepBusyError, TrackingError, UnknownSweepError
from sweeper.ledger.copying import copy_ledger
from sweeper.ledger.home import Home, SweepFolder
from sweeper.ledger.open import read_ledger
from sweeper.ledger.reading import LedgerReader
from sweeper.ledger.standing import standing_of
from sweeper.tracking.archived.reader import ArchivedReader, mirrored_files
from sweeper.tracking.reader import Reader
from sweeper.tracking.trackers import reader_of
from sweeper.trial import State
from sweeper.upkeep import archive_file

#: Folder in the user's cache where archives are unpacked for reading.
CACHE = "archives"


@dataclass(frozen=True)
class Archived:
    """Facts about a new archive.

    Attributes:
        size: Its size in bytes.
        networks, probes: Numbers of files of each kind that it holds.
        missing: A line for each network or per-image file of a complete trial that is left out, with the reason.
    """

    size: int
    networks: int
    probes: int
    missing: tuple[str, ...]


def archive(
    home: Home,
    name: str,
    output: Path,
    tracking_uri: str | None = None,
    report: Callable[[str], bytes | None] = lambda _: None,
    *,
    as_it_is: bool = False,
) -> Archived:
    """Put a sweep into one file: its ledger, networks, per-image files, fronts, trials, spec and report.

    Args:
        home: The sweep's home.
        name: Name of the sweep.
        output: The file to write.
        tracking_uri: Its tracking URI; None for the one that its home knows.
        report: Returns the sweep's report, given its tracking URI; None for no report.
        as_it_is: Whether to leave out networks and per-image files that are missing or damaged, and a missing state,
            instead of refusing.

    Raises:
        SweepBusyError: If a driver runs the sweep.
        UnknownSweepError: If the home or MLflow has no such sweep.
        SweepError: If part of the sweep cannot be read, or the file cannot be written.
    """
    folder = home.known(name)
    folder.require_own()
    _refuse_driven(folder)
    uri = home.tracking_uri_of(name, tracking_uri)
    reader = reader_of(uri, name)
    from sweeper.ledger.drive import with_files_of  # imported late, because it loads Optuna, which readers do not need

    with closing(read_ledger(folder)) as ledger, tempfile.TemporaryDirectory(prefix="sweeper-archive-") as scratch:
        contents = _Contents(with_files_of(folder, ledger), ledger, reader, Path(scratch), as_it_is)
        ledger.require_knowledge()
        identity = reader.facts().get("identity", ledger.identity)
        if identity != ledger.identity:
            raise TrackingError(
                f"MLflow at {redacted(uri)} holds another sweep named {name!r} than {folder.path}. Name the MLflow "
                "that this one is mirrored to with --tracking-uri."
            )
        copy_ledger(folder, contents.ledger_file)
        size = archive_file.write(output, name, ledger.identity, contents.files(report(uri)))
    try:
        _refuse_driven(folder)  # if a driver started meanwhile, the archive may mix two states
    except SweepBusyError:
        output.unlink(missing_ok=True)
        raise
    return Archived(size, contents.networks, contents.probes, tuple(contents.missing))


def _refuse_driven(folder: SweepFolder) -> None:
    if driver := standing_of(folder).driver:
        raise SweepBusyError(
            f"sweep {folder.name!r} is being driven by {driver}, and an archive is of one moment. Wait until it has "
            "ended, or end that process."
        )


class _Contents:
    """Yields the content of an archive, in the same order every time."""

    def __init__(
        self, folder: SweepFolder, ledger: LedgerReader, reader: Reader, scratch: Path, as_it_is: bool
    ) -> None:
        self._folder, self._ledger, self._reader, self._as_it_is = folder, ledger, reader, as_it_is
        self.ledger_file = scratch / "ledger.db"
        self.networks = self.probes = 0
        self.missing: list[str] = []

    def files(self, report: bytes | None) -> Iterator[tuple[str, bytes | Path]]:

        from sweeper.training.network_file import content_problem  # imported late, because readers do not need it

        own = f"{archive_file.HOME}/{self._folder.name}"
        if report is not None:
            yield "report.html", report
        for folder in (archive_file.HOME, own):
            yield f"{folder}/{archived.MARKER}", b'{"format": 1}\n'
        yield f"{own}/ledger.db", self.ledger_file
        for path, data in mirrored_files(self._reader, self._ledger.spec.fronts, as_it_is=self._as_it_is):
            if path.startswith("mirror/fronts/"):
                yield _table_of(Front.from_parquet_bytes(data), path)
            yield f"{own}/{path}", data
        records = [record for record in self._ledger.records() if record.state is State.COMPLETE]
        for key in sorted({record.key for record in records if record.own_units is None}):
            network = self._read(self._folder.network(key), self._folder.network_here(key))
            network = self._whole("the network", key, network, content_problem)
            if network is not None:
                self.networks += 1
                yield f"{own}/networks/{key}.safetensors", network
        for key in sorted({record.key for record in records}) if self._ledger.spec.beside.probes else ():
            probes = self._read(self._folder.probes(key))
            probes = self._whole("the per-image file", key, probes, _problem_of_probes)
            if probes is not None:
                self.probes += 1
                yield f"{own}/probes/{key}.parquet", probes

    def _whole(self, what: str, key: str, data: bytes | None, problem_of: Callable[[bytes, str], str]) -> bytes | None:
        """Return a sound file; for a missing or damaged one, note the problem if that is allowed, else refuse it."""
        problem = "is missing" if data is None else problem_of(data, key)
        if not problem:
            return data
        if not self._as_it_is:
            raise HomeError(
                f"{what} of trial {key} of sweep {self._folder.name!r} cannot be archived: it {problem}. Restore it "
                f"from a copy (`sweeper audit {self._folder.name}` names all that are wrong), or leave it out with "
                "--as-it-is."
            )
        self.missing.append(f"{what} of trial {key} {problem}")
        return None

    @staticmethod
    def _read(location: str, here: Path | None = None) -> bytes | None:
        if here is not None and here.is_file():  # a local copy of a file in a remote storage
            return here.read_bytes()
        try:
            return storage.read_bytes(location)
        except OSError as error:
            raise HomeError(
                f"{storage.without_credentials(location)} cannot be read to be archived: {error.strerror or error}."
            ) from error


def _problem_of_probes(data: bytes, key: str) -> str:
    try:
        read_probes(data, key)
    except QueryError as error:
        return f"cannot be used ({str(error).partition('. ')[0]})"
    return ""


def _table_of(front: Front, path: str) -> tuple[str, bytes]:
    """Return the path in the archive and the content of a front as a CSV table, which any program can read."""
    number = Path(path).stem
    return f"fronts/{number}-{re.sub(r'[^A-Za-z0-9_.-]', '-', front.key)}.csv", encode(front.table, "csv")


def unpacked(file: Path) -> Path:
    """Return a home with an archive's sweep, for reading.

    The archive is unpacked into the user's cache, or into a temporary folder if the cache cannot be written.

    Raises:
        HomeError: If the file is not an archive, is damaged, or cannot be unpacked.
    """
    archive_file.read_list(file)  # refuse other files before making a folder
    root = cache.folder()
    if root is not None:
        try:
            return _cached(file, root / CACHE)
        except HomeError:
            raise
        except OSError:
            pass  # the cache cannot be written
    scratch = Path(tempfile.mkdtemp(prefix="sweeper-archive-"))
    at_exit(shutil.rmtree, scratch, ignore_errors=True)
    archive_file.unpack(file, scratch / "unpacked")
    return scratch / "unpacked" / archive_file.HOME


def _cached(file: Path, root: Path) -> Path:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    folder = root / digest
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = root / f"{uuid.uuid4().hex}.tmp"
        archive_file.unpack(file, aside)
        try:
            aside.rename(folder)
        except OSError:  # another process has unpacked it meanwhile
            shutil.rmtree(aside, ignore_errors=True)
            if not folder.is_dir():
                raise
    os.utime(folder)  # `clean` keeps recently used archives
    return folder / archive_file.HOME


def unarchive(file: Path, home: Home, tracking_uri: str | None = None) -> str:
    """Turn an archive into a sweep of a home, and store its fronts in MLflow; `sweeper mirror` stores the rest.

    An interrupted call is continued.

    Args:
        file: The archive.
        home: The home that gets the sweep.
        tracking_uri: Address of MLflow; None for the home's own.

    Returns:
        The name of the sweep.

    Raises:
        HomeError: If the file is not an archive, is damaged, or the home has a sweep of that name.
        TrackingError: If MLflow has another sweep of that name, or cannot be reached.
    """
    from sweeper.tracking.mlflow.removal import held  # imported late, because readers of archives do not need it

    listed = archive_file.read_list(file)
    folder = home.sweep(listed.sweep)
    uri = tracking_uri or home.tracking_uri
    is_begun = folder.is_archived and _identity(folder) == listed.identity
    if not is_begun:
        _refuse_other(home, folder, listed)
        holding = held(uri, listed.sweep)
        if holding is not None and holding.identities and listed.identity not in holding.identities:
            raise TrackingError(
                f"MLflow at {redacted(uri)} holds another sweep named '{listed.sweep}', from the home "
                f"{', '.join(sorted(holding.homes))}. Name another home, or another MLflow with --tracking-uri."
            )
        _put_there(file, home, folder)
    if tracking_uri:
        folder.keep_tracking_uri(tracking_uri)
    _bring_fronts(folder, uri, listed.identity)
    folder.unarchived()
    return listed.sweep


def _identity(folder: SweepFolder) -> str:
    with closing(read_ledger(folder)) as ledger:
        return ledger.identity


def _refuse_other(home: Home, folder: SweepFolder, listed: archive_file.Listed) -> None:
    try:
        home.known(listed.sweep)
    except UnknownSweepError:
        if not folder.path.exists():
            return
        raise HomeError(
            f"the folder {folder.path} is there already, and holds no sweep. Move it away, or name another home with "
            "--home."
        ) from None
    same = not folder.is_archived and _identity(folder) == listed.identity
    raise HomeError(
        f"there is a sweep {listed.sweep!r} in {home.root} already"
        + (
            f", and it is this one: `sweeper mirror {listed.sweep}` writes to MLflow what is missing there."
            if same
            else f". Rename that one with `sweeper rename {listed.sweep} OTHER`, or name another home with --home."
        )
    )


def _put_there(file: Path, home: Home, folder: SweepFolder) -> None:
    """Unpack an archive into a temporary folder of a home, and move its sweep into place atomically."""
    aside = home.root.absolute() / f".{uuid.uuid4().hex}.tmp"
    try:
        home.root.mkdir(parents=True, exist_ok=True)
        archive_file.unpack(file, aside)
        (aside / archive_file.HOME / folder.name).rename(folder.path)
    except HomeError:
        raise
    except OSError as error:
        raise HomeError(
            f"the archive {file} cannot be unpacked into {home.root}: {error.strerror}. Name another home with --home."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _bring_fronts(folder: SweepFolder, uri: str, identity: str) -> None:
    """Store the fronts with their old versions; computed anew, they would be version 1."""
    from sweeper.analysis.trials import aims
    from sweeper.tracking.mlflow.recorder import MlflowRecorder
    from sweeper.tracking.recorder import SweepFacts

    reader = ArchivedReader(f"{archived.SCHEME}{folder.path}", folder.name)
    spec, resolved = ((reader.artifact(path) or b"").decode() for path in ("spec.yaml", "spec_resolved.json"))
    stored = reader.trials()
    what = aims(stored.objectives, stored.reference_point)
    recorder = MlflowRecorder(uri, None if uri.startswith("sqlite") else Home(folder.path.parent).artifact_root)
    recorder.open(SweepFacts(folder.name, spec, resolved, {"home": str(folder.path.parent)}, identity, what))
    for front in reader.all_fronts():
        recorder.bring_front(front)
