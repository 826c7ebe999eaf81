"""`sweeper list`: all sweeps of a home at a glance, and sweeps that only MLflow has."""

from __future__ import annotations

import json
import shutil

import pytest

from sweeper.ledger.home import Home
from sweeper.ledger.standing import standing_of
from tests.support.stuck import a_stuck_driver


def listed(sweeper, *words):
    code, out, _ = sweeper("list", "--json", *words)
    return code, {row["name"]: row for row in json.loads(out)}


def test_list_says_of_each_sweep_what_its_ledger_and_its_folder_say(sweeper, home):
    code, rows = listed(sweeper, "--home", home.root)
    assert (code, list(rows)) == (0, ["first", "second"])
    for name, row in rows.items():
        standing = standing_of(home.known(name))
        files = [path for path in (home.root / name).rglob("*") if path.is_file()]
        assert row["state"] == "finished"
        assert (row["done"], row["planned"], row["failed"]) == (2, standing.counts.planned, 0)
        assert row["last_ms"] == standing.last_ms > 0
        assert row["size"] == sum(path.stat().st_size for path in files)
        assert (row["rules"], row["place"], row["problem"]) == (standing.rules, "home", "")


def test_table_has_the_whole_name_of_every_sweep(sweeper, home):
    code, out, err = sweeper("list", "--home", home.root)
    assert (code, err) == (0, "")
    assert "  2 of 2  " in out
    assert [line.split()[0] for line in out.splitlines()[3:] if line.strip()] == ["first", "second"]


@pytest.mark.slow
def test_state_is_running_while_somebody_drives_and_interrupted_after(sweeper, home):
    with a_stuck_driver(home.root, "stuck"):
        assert listed(sweeper, "--home", home.root)[1]["stuck"]["state"] == "running"
    row = listed(sweeper, "--home", home.root)[1]["stuck"]
    assert (row["state"], row["done"]) == ("interrupted", 0)


def test_sweeps_that_mlflow_alone_has_follow_those_of_the_home(sweeper, home):
    shutil.rmtree(home.root / "first")
    code, rows = listed(sweeper, "--home", home.root, "--tracking-uri", home.tracking_uri)
    assert (code, [(name, row["place"]) for name, row in rows.items()]) == (
        0,
        [("second", "home"), ("first", "mlflow")],
    )
    first = rows["first"]
    assert (first["state"], first["done"], first["planned"], first["size"]) == ("finished", 2, 2, None)
    assert first["rules"] == rows["second"]["rules"]


def test_sweep_that_cannot_be_read_is_listed_as_damaged_and_said_at_the_end(sweeper, home):
    (home.root / "first" / "ledger.db").write_bytes(b"")
    code, out, err = sweeper("list", "--home", home.root)
    assert code == 2
    assert "damaged" in out
    assert "second" in out
    assert err.startswith("sweeper: the ledger")


def test_home_without_sweeps_says_how_to_start_one(sweeper, tmp_path):
    code, out, err = sweeper("list", "--home", tmp_path / "none")
    assert (code, err) == (0, "")
    assert "no sweeps in" in out
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("count", [0, 999, 1000, 123_456, 5 * 10**9])
def test_size_is_said_in_at_most_three_digits(count):
    from sweeper.cli.status_tables import size

    number, unit = size(count).split()
    factor = {"bytes": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}[unit]
    assert abs(float(number) * factor - count) <= 0.05 * count
    assert len(number.replace(".", "")) <= 3


def test_home_that_is_empty_lists_nothing_as_json(sweeper, tmp_path):
    assert listed(sweeper, "--home", tmp_path) == (0, {})
    assert Home(tmp_path).sweeps() == []
