"""`sweeper findings` on a small trained sweep, from MLflow alone: as text, as values, and with human data."""

from __future__ import annotations

import csv
import io
import json

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from sweeper.results.findings import SCHEMA
from sweeper.results.loaded_sweep import load
from tests.cli.test_run import mistaken, place, sweeper  # noqa: F401  # fixtures
from tests.support.swept import answers, reactions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def labels(asked):
    found = load("asked", asked)
    whole = found.probes(where=[f"key = '{found.records[0].key}'", "probe = whole"]).sort_by("image")
    return whole["label"].to_pylist()


@pytest.fixture
def findings(sweeper, asked, place):  # noqa: F811
    """The command, with MLflow and without a home."""

    def call(name, *words):
        return sweeper("findings", name, *words, "--tracking-uri", asked, "--home", "nowhere")

    return call


def test_text_says_verdict_effect_controls_and_what_is_missing(findings):
    said = findings("asked")
    assert (said.code, said.err) == (0, "")
    text = " ".join(said.out.split())
    for claim in ("F1", "F2", "F3", "F4", "F5"):
        assert f"{claim} " in text
    assert "F3 occluded images take more recurrent steps" in text
    assert "of the steps of whole images, 0.02 matters" in text
    assert "control equal confidence, " in text
    assert "control seeds, " in text
    assert (
        "this sweep cannot answer: depth_pressure is not varied. The shipped sweep tradeoff has what it takes." in text
    )
    assert findings("asked").out == said.out


def test_sweep_that_lacks_everything_says_which_shipped_sweep_has_it(findings):
    said = findings("silent")
    text = " ".join(said.out.split())
    assert said.code == 0
    for name in ("tradeoff", "growth", "occlusion", "reaction-time"):
        assert f"The shipped sweep {name} has what it takes." in text
    assert text.count("this sweep cannot answer: ") == 5


def test_json_has_effects_controls_and_numbers(findings):
    said = findings("asked", "--claim", "F3", "--claim", "f5", "--json")
    found = json.loads(said.out)
    assert found["sweep"] == "asked"
    assert [one["claim"] for one in found["claims"]] == ["F3", "F5"]
    (part,) = found["claims"][0]["parts"]
    assert part["low"] <= part["effect"] <= part["high"]
    assert {one["name"] for one in part["controls"]} == {"equal confidence", "any change"}
    assert {"probes", "at_equal_confidence", "beyond_any_change"} <= part["numbers"].keys()
    assert "NaN" not in said.out


def test_tables_are_csv_and_parquet(findings, place):  # noqa: F811
    said = findings("asked", "--claim", "F3", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said.out))
    assert (row["claim"], row["rule"]) == ("F3", "confidence")
    assert findings("asked", "--claim", "F3", "--format", "parquet", "-o", "found.parquet").code == 0
    table = pq.read_table(place / "found.parquet")
    assert table.column_names == SCHEMA.names
    assert table["effect"].to_pylist() == [float(row["effect"])]


def test_people_are_named_by_file(findings, labels, place):  # noqa: F811
    by_image, by_level = answers(labels, place / "answers.parquet"), reactions(place / "trials.parquet")
    said = findings("asked", "--claim", "F4", "--human", by_image, "--human", by_level)
    text = " ".join(said.out.split())
    assert (said.code, said.err) == (0, "")
    assert "by image: " in text
    assert "control confidence of the first step, " in text
    assert "control steps of feed-forward networks, not passed: no network without lateral" in text
    assert "by condition: noise over 6 levels" in text
    table = pq.read_table(by_level)
    pyarrow.csv.write_csv(table, place / "trials.csv")
    as_csv = findings("asked", "--claim", "F4", "--human", place / "trials.csv")
    assert "noise over 6 levels" in " ".join(as_csv.out.split())


@pytest.fixture
def refused(mistaken, asked):  # noqa: F811
    def call(*words):
        return " ".join(mistaken(*words, "--tracking-uri", asked, "--home", "nowhere").split())

    return call


def test_claim_that_there_is_not_is_one_message(refused):
    assert "there is no claim 'F6' (there are: F1, F2, F3, F4, F5)" in refused("findings", "asked", "--claim", "F6")
    assert "Did you mean 'F3'?" in refused("findings", "asked", "--claim", "f33")


def test_files_that_hold_no_people_are_one_message(refused, labels, place):  # noqa: F811
    def of(name, table=None, text=None):
        if table is not None:
            pq.write_table(table, place / name)
        elif text is not None:
            (place / name).write_text(text)
        return refused("findings", "asked", "--claim", "F4", "--human", place / name)

    assert "cannot be read" in of("none.parquet")
    assert "cannot be read" in of("text.parquet", text="no Parquet at all")
    assert "holds no human data that is known (its columns: a, b)" in of("other.csv", text="a,b\n1,2\n")
    assert "at least 2 answers" in of("few.parquet", pa.table({"test_index": [0], "counts": [[1, 0, 0]]}))
    odd = pa.table({"test_index": ["first"], "counts": [[3, 1, 0]]})
    assert "cannot be read" in of("odd.parquet", odd)
    twice = pa.table({"test_index": [0, 0], "counts": [[3, 1, 0], [1, 3, 0]]})
    assert "has 2 rows of test_index 0" in of("twice.parquet", twice)
    shifted = answers([labels[-1], *labels[:-1]], place / "shifted.parquet")
    said = refused("findings", "asked", "--claim", "F4", "--human", shifted)
    assert "the human data are of other images" in said
    own = answers(labels, place / "answers.parquet")
    assert "Name one of them" in refused("findings", "asked", "--human", own, "--human", own)


def test_pictures_take_people_where_they_show_them(refused, sweeper, asked, place, labels):  # noqa: F811
    own = answers(labels, place / "answers.parquet")
    words = ("asked", "finding-reaction-time", "-o", "steps.html")
    assert "--human FILE" in refused("plot", *words)
    said = refused("plot", "asked", "finding-occlusion", "-o", "x.html", "--human", own)
    assert "finding-reaction-time, but got the picture finding-occlusion" in said
    assert "--human" in refused("plot", "asked", "--human", own)
    listed = sweeper("plot", "asked", "--tracking-uri", asked, "--home", "nowhere").out
    assert "finding-occlusion" in listed
    assert "(with --human FILE)" in listed
    assert "finding-growth" not in listed
    done = sweeper("plot", *words, "--human", own, "--tracking-uri", asked, "--home", "nowhere")
    assert (done.code, done.err) == (0, "")
    assert "ceiling" in (place / "steps.html").read_text()


def test_report_takes_people_too(sweeper, asked, place, labels):  # noqa: F811
    own = answers(labels, place / "answers.parquet")
    done = sweeper("report", "asked", "--human", own, "--no-log", "--tracking-uri", asked, "--home", "nowhere")
    assert (done.code, done.err) == (0, "")
    assert "finding-reaction-time" in (place / "asked.html").read_text("utf-8")
