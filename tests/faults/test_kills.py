"""A seeded schedule of kills over four sweeps: whatever dies, they end as the undisturbed ones did.

`tests/faults/schedule.py` draws targets and moments, `ordeal.py` strikes and resumes, `own_sql.py` compares. The
results go to the file that `--kills-record` names, `docs/faults/kills.json`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from tests.faults import own_sql
from tests.faults.ordeal import Ordeal
from tests.faults.record import COUNTED, Record
from tests.faults.rig import ROOT, Cli
from tests.faults.schedule import BACKEND, DRIVER, MLFLOW, PLANS, POSTGRES, RAY, SEED, WORKER, Tale, schedule
from tests.support.servers import tracking

#: Most sweeps of a kind until its strikes are used up: on a fast machine a sweep may end before all strikes.
MOST_SWEEPS = 6


# --- the schedule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [SEED, 1, 2])
def test_schedule_kills_everything_there_is_fifty_times_and_more_whatever_the_seed(seed):
    strikes = [strike for its in schedule(seed).values() for strike in its]
    killed = Counter(strike.target for strike in strikes if strike.is_kill)
    assert killed.total() >= 50
    assert killed.keys() == {DRIVER, WORKER, MLFLOW, POSTGRES, BACKEND, *RAY}
    assert {strike.signal for strike in strikes} >= {"SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGSTOP"}


def test_schedule_follows_from_its_seed_and_changes_with_it():
    assert schedule() == schedule(SEED) != schedule(SEED + 1)


def test_record_in_the_documentation_is_of_this_schedule_and_found_nothing():
    """A changed schedule must be run again: `pytest tests/faults/test_kills.py --kills-record FILE`."""
    kept = json.loads((ROOT / "docs" / "faults" / "kills.json").read_text())
    assert kept["sweeps"].keys() == PLANS.keys()
    for name, strikes in schedule(kept["seed"]).items():
        sweep = kept["sweeps"][name]
        assert sweep["strikes"] == [asdict(strike) for strike in strikes]
        assert [sweep[kind] for kind in COUNTED] == [0] * len(COUNTED)
        assert {"what": sweep["what"], "ledger": sweep["ledger"]} == {
            "what": PLANS[name].what,
            "ledger": PLANS[name].ledger,
        }


# --- the sweeps -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record(pytestconfig):
    """The record of all sweeps; it is written to the named file, if any, once it has all of them."""
    made = Record(pytestconfig.getoption("kills_seed"))
    yield made
    file = pytestconfig.getoption("kills_record")
    if file and made.is_whole:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(made.text(), encoding="utf-8")


@pytest.fixture
def ray_folder():
    """An unused folder with a short path, because sockets lie below it."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def stored_in(cli, ledger, tracker=None):
    """Read a sweep by SQL, with MLflow's part from the server if there is one, otherwise from the home."""
    folder = tracker.folder if tracker else cli.home
    asks = ledger, own_sql.ask_sqlite(folder / "mlflow.db")
    return own_sql.stored(*asks, folder / "artifacts", cli.home / "fragile" / "networks")


@pytest.mark.slow
@pytest.mark.rare
@pytest.mark.timeout(5400)  # the longest of all tests: the machine may be busy, and the test waits for a hanging driver
@pytest.mark.parametrize("name", PLANS)
def test_sweep_that_is_struck_again_and_again_ends_as_an_undisturbed_one(
    name, record, ray_folder, tmp_path, empty_database, request
):
    plan, tale, began_s = PLANS[name], Tale(), time.monotonic()
    seed = request.config.getoption("kills_seed")
    strikes = schedule(seed)[name]
    postgres = request.getfixturevalue("postgres") if plan.ledger == "PostgreSQL" else None

    def cli(folder, **more):
        made = tmp_path / folder
        made.mkdir()
        (made / "sweeps").mkdir()
        shutil.copy(empty_database, made / "sweeps" / "mlflow.db")
        return Cli(made, plan.spec, RAY_TMPDIR=str(ray_folder), **more)

    calm = cli("calm")
    words = ["run", "fragile.yaml", "--workers", str(plan.workers)]
    calm.end(calm.start(*words))
    expected = stored_in(calm, own_sql.ask_sqlite(calm.home / "fragile" / "ledger.db"))
    while strikes:
        assert tale.sweeps < MOST_SWEEPS, f"{MOST_SWEEPS} sweeps were complete before {strikes} met anything"
        tale.sweeps += 1
        with ExitStack() as stack:
            folder, server, more, start = f"struck-{tale.sweeps}", None, {}, words
            if plan.tracker == "server":
                served = tmp_path / f"{folder}-served"
                served.mkdir()
                shutil.copy(empty_database, served / "mlflow.db")
                server = stack.enter_context(tracking(served))
                start = [*words, "--tracking-uri", server.uri]
            if postgres:
                more["SWEEPER_LEDGER"] = postgres.new_database()
            struck = cli(folder, **more)
            file = struck.home / "fragile" / "ledger.db"
            ask = own_sql.ask_postgres(more["SWEEPER_LEDGER"]) if postgres else own_sql.ask_sqlite(file)
            Ordeal(struck, start, ask, len(expected.rows), strikes, tale, server, postgres).go()
            tale.trials += len(expected.rows)
            held = stored_in(struck, ask, server)
            spec = yaml.safe_load(plan.spec)
            for kind, its in own_sql.compared(held, expected, spec, is_ordered=plan.is_ordered).items():
                getattr(tale, kind).extend(its)
            code, out, err = struck.run("audit", "fragile")
            if code != 0:
                tale.wrong.append(f"audit ends with {code}: {out}{err}")
    record.add(name, tale, time.monotonic() - began_s)
    assert tale.found == {}, f"of seed {seed}: {json.dumps(tale.found, indent=1)}\nstrikes: {tale.strikes}"
    assert tale.strikes == schedule(seed)[name]
    assert list(ray_folder.iterdir()) == []
