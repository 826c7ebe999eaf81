"""The findings in the documentation follow from the files beside them: making them again gives the same."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from docs.evidence import FOLDER, decided, kept_looks

KEPT = sorted(path.name for path in FOLDER.iterdir() if path.is_dir()) if FOLDER.is_dir() else []


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_findings_are_made_again_from_their_files(name):
    stored = json.loads((FOLDER / name / "findings.json").read_text())
    claims = [
        one["claim"] for one in stored["claims"] if one["claim"] != "F4"
    ]  # F4 needs human data, which may not be published
    found = decided(FOLDER / name, claims).to_table().to_pylist()
    kept = [row for row in pq.read_table(FOLDER / name / "findings.parquet").to_pylist() if row["claim"] != "F4"]
    if not claims:  # F4 is the only claim
        assert "no human data were named" in " ".join(decided(FOLDER / name, ["F4"]).findings[0].missing)
        return
    assert len(found) == len(kept) > 0
    for new, old in zip(found, kept, strict=True):
        for column, value in old.items():
            if column == "p_corrected":  # depends on all tests, including those of F4
                continue
            if isinstance(value, float):
                assert math.isclose(new[column], value, rel_tol=1e-6, abs_tol=1e-9), (old, column)
            else:
                assert new[column] == value, (old, column)


@pytest.mark.parametrize("name", KEPT)
def test_files_are_small(name):
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 4_000_000


def test_looks_are_kept_as_far_as_claims_need_them():
    rows = {
        "key": ["a", "a"],
        "probe": ["whole", "debris"],
        "level": [0.0, 0.25],
        "image": [0, 0],
        "label": [3, 3],
        "right": [True, False],
        "steps": [2, 4],
        "confidence": [0.87654, 0.4],
    }
    table = pa.table(rows)
    kept = kept_looks(table, ["F5"])
    assert kept.column_names == ["key", "probe", "level", "image", "label", "right", "steps"]
    assert kept.num_rows == 1
    kept = kept_looks(table, ["F1", "F3"])
    assert kept.num_rows == 2
    assert kept["confidence"].to_pylist() == pytest.approx([0.877, 0.4])
