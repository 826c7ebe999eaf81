"""Reads a sweep back from an unpacked archive, without any tracker.

The folder of a sweep in an archive has, beside the ledger, the networks and the files of probes:

archived.json              says that this is an archive, and of which format
mirror/facts.json          what the tracker knew of the sweep in short texts, its aims, and which networks it had
mirror/trials.parquet      the finished trials
mirror/live.json           how the sweep last stood, where that was kept
mirror/fronts/N.parquet    the fronts, in no order: each says what it is
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
    """Yield what an archive keeps of what a tracker has: paths below the folder of the sweep, and contents.

    Args:
        reader: Of the sweep.
        chosen: Objectives by name of each front that is stored beside the one over all of them.
        as_it_is: Whether a sweep that does not say how it stands is archived all the same.

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
        # Those of today's fronts are told also where the tracker has lost one: the archive has them all.
        "networks": sorted({*reader.networks().keys, *members}),
    }
    yield "mirror/facts.json", _json(known)
    yield "mirror/trials.parquet", to_parquet_bytes(stored.table)
    for path in SPECS:
        if (data := reader.artifact(path)) is not None:
            yield f"mirror/{path}", data
    try:
        yield "mirror/live.json", reader.live().to_json().encode()
    except QueryError as error:  # it never said how it stands, or that is lost
        if not as_it_is or isinstance(error, DamagedError):
            raise
    for number, front in enumerate(fronts):
        yield f"mirror/fronts/{number}.parquet", front.to_parquet_bytes()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()


class ArchivedNetworks:
    """The networks that a tracker had; all networks of the sweep are beside."""

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
    """Reads back what an archive holds.

    Args:
        address: As the home of an archive says it: `SCHEME` and the folder of the sweep.
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
        """What is read, for people."""
        return "its archive"

    def facts(self) -> dict[str, str]:
        """Return what was kept of the sweep in short texts, by name."""
        return {str(name): str(value) for name, value in self._known()["facts"].items()}

    def fronts(self, task: str | None = None, objectives: Sequence[str] = ()) -> list[Front]:
        """Return the fronts that were stored; see `Reader.fronts`."""
        return chosen_fronts(self.all_fronts(), self._sweep, task, objectives)

    def all_fronts(self) -> list[Front]:
        """Return every front that was stored, over whichever objectives."""
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
        """Return how the sweep last stood; see `Reader.live`."""
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
        """Return the spec, as written or as JSON, or what a network does under probes; None for any other path."""
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
