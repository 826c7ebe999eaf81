"""Stores the evidence for a sweep's findings in small files, and decides the findings from these files.

    python -m docs.evidence NAME [--home FOLDER] [--claims F1,F5] [--human FILE] [--again]

writes `docs/findings/NAME/`:

    spec.json         the spec, with every default written out
    trials.parquet    every finished trial
    looks.parquet     what complete networks do with each image, in the columns that the claims need; three decimals
    fronts.parquet    the fronts
    findings.parquet  each effect with its interval, p and verdict
    findings.json     the same with the controls and all other numbers

The findings are decided from the files, not from the sweep, so that anyone with the files gets the same numbers. The
files do not include human data: F4's results about people cannot be reproduced without the file given by `--human`.
`--again` decides from the existing files, after a rule has changed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sweeper.analysis.findings.decide import Evidence, decide
from sweeper.analysis.findings.human import Human, human_of
from sweeper.analysis.findings.looks import looks_of
from sweeper.analysis.findings.networks import networks_of
from sweeper.analysis.formats import json_bytes
from sweeper.errors import QueryError
from sweeper.results.findings import Findings
from sweeper.results.loaded_sweep import LoadedSweep, load

FOLDER = Path(__file__).parent / "findings"

#: Claim -> columns of looks that it needs, beside those that identify the image.
NEEDED = {
    "F3": ("right", "steps", "confidence"),
    "F4": (
        *("right", "steps", "confidence", "first_confidence", "last_confidence", "uncertainty"),
        *("brightness", "edges"),
    ),
    "F5": ("right", "steps"),
}

#: Decimals of shares; enough to distinguish shares of 450 images.
_DECIMALS = 3


def kept_looks(table: pa.Table, claims: Sequence[str]) -> pa.Table:
    """Return the rows and columns of `LoadedSweep.probes()` that claims need, in compact types."""
    names = dict.fromkeys(name for claim in claims for name in NEEDED.get(claim, ()))
    if not {"F3", "F4"} & set(claims):
        table = table.filter(pc.equal(table["probe"], "whole"))
    columns = {
        "key": table["key"].dictionary_encode(),
        "probe": table["probe"].dictionary_encode(),
        "level": table["level"],
        "image": table["image"].cast(pa.int32()),
        "label": table["label"].cast(pa.int16()),
    }
    for name in names:
        column = table[name]
        if pa.types.is_floating(column.type):
            column = pc.round(column.cast(pa.float64()), _DECIMALS).cast(pa.float32())
        columns[name] = column.cast(pa.int16()) if pa.types.is_integer(column.type) else column
    return pa.table(columns)


def decided(folder: Path, claims: Sequence[str], human: Human | None = None) -> Findings:
    """Return the findings of a sweep from its files alone."""
    spec = json.loads((folder / "spec.json").read_text())
    trials = pq.read_table(folder / "trials.parquet")
    looks = folder / "looks.parquet"
    rows = pq.read_table(looks) if looks.exists() else None
    if rows is not None:
        plain = [pa.string() if pa.types.is_dictionary(field.type) else field.type for field in rows.schema]
        rows = rows.cast(pa.schema(list(zip(rows.column_names, plain, strict=True))))
    evidence = Evidence(spec, networks_of(trials, spec), looks_of(rows) if rows is not None else {}, human)
    return Findings(folder.name, tuple(decide(evidence, claims)))


def keep(sweep: LoadedSweep, claims: Sequence[str], human: Sequence[Path] = ()) -> Path:
    """Write the files of a finished sweep, and return their folder."""
    folder = FOLDER / sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_bytes(json_bytes(sweep.spec))
    _write(sweep.trials(), folder / "trials.parquet")
    with suppress(QueryError):  # the sweep has no probes
        _write(kept_looks(sweep.probes(), claims), folder / "looks.parquet")
    _write(sweep.front(), folder / "fronts.parquet")
    decide_again(folder, claims, human)
    return folder


def decide_again(folder: Path, claims: Sequence[str], human: Sequence[Path] = ()) -> None:
    """Decide the findings from the files of a sweep, and write them."""
    side = 32  # of CIFAR-10, the only data set whose levels are compared with people's
    people = [human_of(pq.read_table(file), file.name, side) for file in human]
    joined = None
    if people:
        by_image = next((one.difficulty for one in people if one.difficulty is not None), None)
        joined = Human(by_image, tuple(condition for one in people for condition in one.conditions))
    found = decided(folder, claims, joined)
    _write(found.to_table(), folder / "findings.parquet")
    (folder / "findings.json").write_bytes(json_bytes(found.to_dict()))


def _write(table: pa.Table, file: Path) -> None:
    pq.write_table(table, file, compression="zstd", compression_level=19)


def main() -> None:
    """Write the files of the named sweep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--home", type=Path, default=Path("sweeps"))
    parser.add_argument("--claims", default="F1,F2,F3,F4,F5")
    parser.add_argument("--human", type=Path, action="append", default=[])
    parser.add_argument("--again", action="store_true", help="from the files in docs/findings, without the sweep")
    given = parser.parse_args()
    folder, claims = FOLDER / given.name, given.claims.split(",")
    if given.again:
        decide_again(folder, claims, given.human)
    else:
        keep(load(given.name, f"sqlite:///{given.home.absolute()}/mlflow.db"), claims, given.human)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:>10,} {file.relative_to(FOLDER.parent.parent)}")


if __name__ == "__main__":
    main()
