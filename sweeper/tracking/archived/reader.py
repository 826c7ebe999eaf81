"""Reads a sweep from an unpacked archive, without any tracker.

The folder of a sweep in an archive has, beside the ledger, the networks and the files of probes:

archived.json              marks the folder as an archive, with its format
mirror/facts.json          the tracker's short texts about the sweep, its aims, and the keys of the networks it had
mirror/trials.parquet      the finished trials
mirror/live.json           the sweep's last state, if it was stored
mirror/fronts/N.parquet    the fronts, in no order; each file says which front it is
mirror/spec.yaml, mirror/spec_resolved.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.archived import MARKER, SCHEME
from sweeper.errors import DamagedError, QueryError, UnknownSweepError
from sweeper.tracking.reader import chosen_fronts

if TYPE_CHECKING:
    from sweeper.analysis.fronts import Front
    from sweeper.analysis.trials import StoredTrials
    from sweeper.tracking.live import LiveState
    from sweeper.tracking.reader import Reader

#: The files of the spec.
SPECS = ("spec.yaml", "spec_resolved.json")


def mirrored_files(
    reader: Reader, chosen: Sequence[Sequence[str]], *, as_it_is: bool = False
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a tracker's content for an archive: paths below the folder of the sweep, and contents.

    Args:
        reader: Reader of the sweep.
        chosen: Names of the objectives of each stored front that is not over all objectives.
        as_it_is: Whether to archive a sweep without a stored state too.

    Raises:
        SweepError: If the tracker cannot be read, or lacks something.
    """
    from sweeper.analysis.trials import aims, to_parquet_bytes

    stored = reader.trials()
    fronts = list(reader.fronts())
    for front in list(fronts):
        fronts += [one for names in chosen for one in reader.fronts(front.task, names)]
    members = {key for front in fronts for key in front.table["key"].to_pylist()}
    known = {
        "facts": reader.facts(),
        "aims": aims(stored.objectives, stored.reference_point),
        # Networks of the fronts are listed even if the tracker has lost one, because the archive has all networks.
        "networks": sorted({*reader.networks().keys, *members}),
    }
    yield "mirror/facts.json", _json(known)
    yield "mirror/trials.parquet", to_parquet_bytes(stored.table)
    for path in SPECS:
        if (data := reader.artifact(path)) is not None:
            yield f"mirror/{path}", data
    try:
        yield "mirror/live.json", reader.live().to_json().encode()
    except QueryError as error:  # the state was never stored, or is lost
        if not as_it_is or isinstance(error, DamagedError):
            raise
    for number, front in enumerate(fronts):
        yield f"mirror/fronts/{number}.parquet", front.to_parquet_bytes()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()


class ArchivedNetworks:
    """The networks that a tracker had; the folder holds all networks of the sweep."""

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        self._folder, self._keys = folder, sorted(keys)

    @property
    def keys(self) -> list[str]:
        """Keys of the trials whose networks the tracker had, sorted."""
        return [key for key in self._keys if self._file(key).is_file()]

    def read(self, key: str) -> bytes | None:
        """Return the file of the network of a trial; None if the tracker had none."""
        return self._file(key).read_bytes() if key in self.keys else None

    def _file(self, key: str) -> Path:
        return self._folder / "networks" / f"{key}.safetensors"


class ArchivedReader:
    """Reads one sweep from an archive.

    Args:
        address: `SCHEME` followed by the folder of the sweep.
        sweep: Name of the sweep.
    """

    def __init__(self, address: str, sweep: str) -> None:
        self._folder, self._sweep = Path(address.removeprefix(SCHEME)), sweep

    @property
    def sweep(self) -> str:
        """Name of the sweep."""
        return self._sweep

    @property
    def address(self) -> str:
        """The source, in words for people."""
        return "its archive"

    def facts(self) -> dict[str, str]:
        """Return short texts about the sweep, by name."""
        return {str(name): str(value) for name, value in self._known()["facts"].items()}

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the stored fronts; see `Reader.fronts`."""
        return chosen_fronts(self.all_fronts(), self._sweep, task, objectives)

    def all_fronts(self) -> list[Front]:
        """Return every stored front, over any objectives."""
        from sweeper.analysis.fronts import Front

        self._known()
        files = sorted((self._folder / "mirror" / "fronts").glob("*.parquet"))
        return sorted((Front.from_parquet_bytes(file.read_bytes()) for file in files), key=lambda front: front.key)

    def trials(self) -> StoredTrials:
        """Return all finished trials as one table; see `Reader.trials`."""
        from sweeper.analysis.trials import StoredTrials, from_parquet_bytes, read_aims

        known = self._known()
        table = from_parquet_bytes(self._read("mirror/trials.parquet"))
        return StoredTrials(self._sweep, table, *read_aims(str(known["aims"])))

    def live(self) -> LiveState:
        """Return the sweep's last state; see `Reader.live`."""
        from sweeper.tracking.live import LiveState

        self._known()
        file = self._folder / "mirror" / "live.json"
        if not file.is_file():
            raise QueryError(f"the archive of sweep '{self._sweep}' does not say how it stands.")
        return LiveState.from_json(file.read_text(encoding="utf-8"))

    def networks(self) -> ArchivedNetworks:
        """Return the networks that the tracker had."""
        return ArchivedNetworks(self._folder, [str(key) for key in self._known()["networks"]])

    def artifact(self, path: str) -> bytes | None:
        """Return the spec, as written or as JSON, or a network's answers under probes; None for any other path."""
        self._known()
        above, _, name = path.rpartition("/")
        if path in SPECS:
            file = self._folder / "mirror" / path
        elif above == "probes" and name == Path(name).name:
            file = self._folder / path
        else:
            return None
        return file.read_bytes() if file.is_file() else None

    def _known(self) -> Mapping[str, Any]:
        if self._folder.name != self._sweep or not (self._folder / MARKER).is_file():
            there = ", ".join(sorted(file.parent.name for file in self._folder.parent.glob(f"*/{MARKER}")))
            raise UnknownSweepError(
                f"there is no sweep '{self._sweep}' in this archive (it has: {there or 'none'}). Name one of these."
            )
        try:
            known = json.loads(self._read("mirror/facts.json"))
            if isinstance(known["facts"], dict) and isinstance(known["networks"], list) and "aims" in known:
                return dict(known)
        except (ValueError, KeyError, TypeError):
            pass
        raise DamagedError(f"mirror/facts.json in the archive of sweep '{self._sweep}' holds something else.")

    def _read(self, path: str) -> bytes:
        try:
            return (self._folder / path).read_bytes()
        except OSError as error:
            raise DamagedError(
                f"{path} in the archive of sweep '{self._sweep}' cannot be read: {error.strerror}. Take another copy "
                "of it."
            ) from error
