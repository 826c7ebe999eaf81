"""Ledgers in a real PostgreSQL: the same contract as in SQLite, several homes on one database, one driver a sweep."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow.fs import FileSelector, FileSystem

from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.errors import HomeError, SweepBusyError, UnknownSweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.database import driver_of, open_database, shared_url, without_password
from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.ledger.open import read_ledger
from sweeper.spec import load_spec
from sweeper.tracking.memory import MemoryRecorder
from sweeper.trial import State
from tests.driver.test_sweep import good

# The tests of the ledger's contract run again here, on the `url` of this file.
from tests.ledger.test_again import ACTIONS as AGAIN
from tests.ledger.test_again import (  # noqa: F401
    test_lost_trial_waits_again_in_its_population_and_its_former_row_stays_as_it_was,
    test_request_that_a_crash_cut_short_is_completed_when_it_is_asked_for_again,
    try_again_through,
)
from tests.ledger.test_ledger import (  # noqa: F401
    ACTIONS,
    FACTS,
    ledger,
    live_through,
    loaded,
    test_claimed_population_is_running_with_its_owner_and_told_once,
    test_optuna_sees_axes_seeds_and_values,
    test_other_spec_under_the_same_name_is_refused_with_the_difference,
    test_planning_again_changes_nothing_even_with_another_population_size,
    test_population_left_running_comes_first_and_is_taken_over_whole,
    test_sweep_that_was_never_planned_is_said_so,
)
from tests.results.test_find_network import Idle
from tests.support.stuck import killed

#: Code of a driver that waits in the middle of its first population until it is killed.
STUCK = """
import sys, time
from sweeper.execution.executors import InlineExecutor
from sweeper.tracking.memory import MemoryRecorder
from sweeper.spec import load_spec
from sweeper.driver.sweep import Sweep

def wait(job, report):
    print("training", flush=True)
    time.sleep(600)

sweep = Sweep("smoke", sys.argv[1], ledger=sys.argv[2])
sweep.run(load_spec("smoke"), executor=InlineExecutor(), recorder=MemoryRecorder(), work=wait, workers=4)
"""


@pytest.fixture
def database(postgres, monkeypatch):
    """The URL of an empty database, as a user types it: without the password, which is in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    return postgres.new_database()


@pytest.fixture
def url(database):
    return shared_url(database)


def run(home, database=None, name="smoke", work=good, executor=None, **options):
    spec = options.pop("loaded", load_spec("smoke", name=name))
    sweep = Sweep(name, home, ledger=database)
    return sweep.run(spec, executor=executor or InlineExecutor(), recorder=MemoryRecorder(), work=work, **options)


def a_stuck_driver(home, database):
    """Let a real process drive a sweep up to the middle of its first population; then kill it."""
    return killed(STUCK, "training", home, database)


# --- the ledger -------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_no_history_of_crashes_loses_repeats_or_strands_a_trial(postgres, actions):
    with tempfile.TemporaryDirectory() as folder:
        live_through(actions, Path(folder), shared_url(postgres.new_database()))


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(AGAIN)
def test_no_history_of_requests_to_try_again_loses_a_trial_or_repeats_a_complete_one(postgres, actions):
    with tempfile.TemporaryDirectory() as folder:
        try_again_through(actions, Path(folder), shared_url(postgres.new_database()))


def test_tables_made_by_many_at_once_are_made_once(url):
    start, failed = threading.Barrier(4), []

    def make(name):
        start.wait()
        try:
            open_database(url, name, f"driver of {name}").engine.dispose()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=make, args=(f"sweep{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert Ledger(url, "sweep0").records() == []


# --- homes ------------------------------------------------------------------------------------------


def test_sweep_runs_with_no_ledger_in_its_home_and_is_known_there(database, tmp_path, capsys, monkeypatch):
    summary = run(tmp_path, database)
    assert (summary.counts.complete, summary.is_finished) == (8, True)
    home = Home(tmp_path)
    assert home.sweeps() == ["smoke"]
    assert {path.name for path in (tmp_path / "smoke").iterdir()} == {
        "driver.json",
        "leases",
        "ledger.json",
        "tracking.txt",
    }
    assert Sweep("smoke", tmp_path).counts().complete == 8
    assert {record.state for record in read_ledger(home.known("smoke")).records()} == {State.COMPLETE}
    assert said(monkeypatch, capsys, "status", "--home", tmp_path)[0] == 0
    assert run(tmp_path, loaded=None).counts.complete == 8, "resumed without naming the database"


def test_password_of_a_ledger_is_never_kept(database, postgres, tmp_path):
    run(tmp_path, database, executor=Idle())
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert postgres.password.encode() not in kept
    assert postgres.encoded.encode() not in kept
    assert Home(tmp_path).sweep("smoke").ledger_url == without_password(shared_url(database))


def test_homes_share_a_database_and_refuse_each_others_names(database, tmp_path):
    run(tmp_path / "one", database)
    run(tmp_path / "two", database, name="other")
    assert Home(tmp_path / "two").sweeps() == ["other"]
    with pytest.raises(HomeError, match=rf"a sweep 'smoke' in .* planned from {tmp_path}/one.*--name.*sweeper resume"):
        run(tmp_path / "two", database)
    assert Home(tmp_path / "two").sweeps() == ["other"]
    assert not (tmp_path / "two" / "smoke").exists()


def test_home_that_is_told_to_resume_a_sweep_of_another_one_takes_it_on_with_its_storage(database, tmp_path):
    sweep = Sweep("smoke", tmp_path / "one", storage=str(tmp_path / "storage"), ledger=database)
    sweep.run(load_spec("smoke"), executor=Idle(), recorder=MemoryRecorder())
    places = []

    def note(job, report):
        places.append(job.checkpoint)
        return good(job, report)

    assert run(tmp_path / "two", database, loaded=None, work=note).counts.complete == 8
    assert all(place.startswith(f"{tmp_path}/storage/smoke/checkpoints/") for place in places)
    for home in ("one", "two"):
        assert Sweep("smoke", tmp_path / home).counts().complete == 8


def test_unknown_sweep_of_a_database_is_refused_by_its_name(database, tmp_path):
    for use in (lambda: run(tmp_path, database, loaded=None), Sweep("smoke", tmp_path, ledger=database).counts):
        with pytest.raises(UnknownSweepError, match="'smoke'"):
            use()
    assert not tmp_path.exists() or list(tmp_path.iterdir()) == []


def test_database_that_holds_another_sweep_of_that_name_is_refused(postgres, database, tmp_path):
    run(tmp_path / "one", database, executor=Idle())
    other = postgres.new_database()
    run(tmp_path / "two", other, executor=Idle())
    for use in (lambda: run(tmp_path / "one", other), Sweep("smoke", tmp_path / "one", ledger=other).counts):
        with pytest.raises(HomeError, match=rf"is another one, planned from {tmp_path}/two, than the one in .*/one"):
            use()


def test_ledger_in_the_home_stays_there(database, tmp_path):
    run(tmp_path, executor=Idle())
    with pytest.raises(HomeError, match=rf"'smoke' is {tmp_path}/smoke/ledger.db and stays there.*--ledger.*--name"):
        run(tmp_path, database)
    assert Sweep("smoke", tmp_path, ledger=database).counts().planned == 8


# --- one driver -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_driver_in_another_home_is_refused_naming_the_first_until_it_is_killed(database, tmp_path):
    with a_stuck_driver(tmp_path / "one", database) as pid:
        with pytest.raises(SweepBusyError, match=rf"'smoke' is being driven by process {pid} .*sweeper status smoke"):
            run(tmp_path / "two", database, loaded=None)
        with pytest.raises(SweepBusyError, match=rf"process {pid} "):
            run(tmp_path / "one", database)
        watching = Sweep("smoke", tmp_path / "two", ledger=database)
        assert watching.driver.startswith(f"process {pid} ")
        assert watching.counts().running > 0
    summary = run(tmp_path / "two", database, loaded=None)
    assert (summary.counts.complete, watching.driver) == (8, None)
    attempts = {record.attempt for record in Ledger(shared_url(database), "smoke").records()}
    assert attempts == {1, 2}, "what the dead driver left running was taken over"


def test_driver_that_ended_lets_go_and_other_sweeps_are_driven_beside(url):
    first = Ledger(url, "one", "process 1")
    with pytest.raises(SweepBusyError, match="process 1"):
        Ledger(url, "one", "process 2")
    other = Ledger(url, "two", "process 2")
    assert (other.driver, first.driver) == ("process 2", "process 1")
    first.close()
    again = Ledger(url, "one", "process 3")
    assert again.driver == "process 3"
    again.close()
    other.close()


def test_driver_whose_connection_was_lost_goes_on_only_if_nobody_took_over(postgres, url, loaded):  # noqa: F811
    first = Ledger(url, "tiny", "process 1")
    first.plan(loaded, 4, FACTS)
    one, two, *_ = first.open_populations()

    def cut():
        postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ 'process 1'")

    cut()
    first.claim(one, "me", 0)
    assert first.driver == "process 1", "a new connection took the lock again"
    cut()
    second = Ledger(url, "tiny", "process 2")
    with pytest.raises(SweepBusyError, match="process 2"):
        first.claim(two, "me", 0)
    second.close()


def test_driver_is_named_to_other_users_of_the_database_too(postgres, url):
    name = url.rsplit("/", 1)[1]
    postgres.execute(f"create role peer{name} login password 'peer'")
    postgres.execute(
        f"grant all on all tables in schema public to peer{name}; grant all on schema public to peer{name}"
    )
    first = Ledger(url, "one", "process 1")
    postgres.execute(f"grant all on all tables in schema public to peer{name}", name)
    postgres.execute(f"grant all on schema public to peer{name}", name)
    storage = open_database(url.replace("//sweeper:", f"//peer{name}:").replace(postgres.encoded, "peer"), "one")
    assert driver_of(storage, "one") == "process 1"
    first.close()


# --- databases that cannot be used ------------------------------------------------------------------


def said(monkeypatch, capsys, *words):
    """Return exit code and messages of a command."""
    monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda url, server: url.replace(f":{server.port}", ":1"), "Connection refused.*server runs"),
        (lambda url, server: url.replace("127.0.0.1", "nowhere.invalid"), "nowhere.invalid.*server runs"),
        (lambda url, server: url.replace(server.encoded, "wr0ngw0rd"), "password authentication failed.*--ledger"),
        (lambda url, server: url.replace("sweeper:", "nobody:"), "password authentication failed.*--ledger"),
        (lambda url, server: url.rsplit("/", 1)[0] + "/nowhere", '"nowhere" does not exist.*createdb'),
        (lambda url, server: "mysql" + url.removeprefix("postgresql"), "PostgreSQL database, postgresql://.*mysql"),
        (lambda url, server: url.replace(f":{server.port}", ":port"), "PostgreSQL database.*no URL"),
        (lambda url, server: url.replace("%40", "@"), "written %40"),
        (lambda url, server: "sqlite:///ledger.db", "PostgreSQL database.*Leave it out"),
        (lambda url, server: "ledger.db", "PostgreSQL database.*Leave it out"),
    ],
)
def test_database_that_cannot_be_used_is_one_sentence_and_leaves_nothing(
    postgres, database, tmp_path, monkeypatch, capsys, change, told
):
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("SWEEPER_LEDGER", change(database, postgres))  # a command line refuses passwords
    code, message = said(monkeypatch, capsys, "run", "smoke", "--home", tmp_path / "home")
    assert code == 2
    assert re.search(told, message), message
    assert message.count("\n") == 1
    for secret in (postgres.password, postgres.encoded, "wr0ngw0rd", "p@ss"):
        assert secret not in message
    assert not any((tmp_path / "home").rglob("*"))


def test_missing_password_says_where_to_put_it(database, tmp_path, monkeypatch, capsys):
    run(tmp_path, database, executor=Idle())
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    for words in (["resume", "smoke"], ["status"]):
        code, message = said(monkeypatch, capsys, *words, "--home", tmp_path)
        assert code == 2
        assert re.search(r"no password supplied.*--ledger.*pgpass.*SWEEPER_LEDGER", message), message
    monkeypatch.setenv("SWEEPER_LEDGER", database)
    code, _ = said(monkeypatch, capsys, "status", "--home", tmp_path)
    assert code == 0


def test_missing_driver_says_how_to_install_it(database, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(HomeError, match=r"driver is not installed.*pip install 'pareto-sweeper\[postgres\]'"):
        run(tmp_path, database)


def test_database_of_an_older_optuna_says_how_to_upgrade_it(postgres, url, tmp_path):
    Ledger(url, "tiny").close()
    postgres.execute("update alembic_version set version_num = 'v1.3.0.a'", url.rsplit("/", 1)[1])
    with pytest.raises(HomeError, match=r"no longer compatible.*optuna storage upgrade"):
        run(tmp_path, url)


@pytest.mark.slow
def test_server_that_goes_down_in_the_middle_is_one_message_and_the_sweep_is_resumed(postgres, database, tmp_path):
    left = iter(range(2))

    def stopping(job, report):
        if next(left, None) is None:
            postgres.stop()
        return good(job, report)

    try:
        with pytest.raises(HomeError, match=r"'smoke' cannot be written.*start its server.*sweeper resume smoke"):
            run(tmp_path, database, work=stopping, workers=4)
        with pytest.raises(HomeError, match=r"'smoke' cannot be opened: .*Connection refused.*server runs"):
            run(tmp_path, loaded=None)
    finally:
        postgres.start()
    assert 0 < Sweep("smoke", tmp_path).counts().complete < 8
    assert run(tmp_path, loaded=None).counts.complete == 8


# --- everything shared ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.rare
def test_driver_killed_on_ray_is_followed_from_another_home_that_shares_only_servers(
    database, s3, tmp_path, empty_database
):
    """The ledger is in PostgreSQL and checkpoints are in S3: the second home holds no file of the first."""

    gone = ("MLFLOW_TRACKING_URI",)

    def start(home, *words):
        places = ["--home", tmp_path / home, "--storage", s3, "--workers", "2"]
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", *map(str, (*words, *places))],
            env={name: value for name, value in {**os.environ, "SWEEPER_LEDGER": database}.items() if name not in gone},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    for home in ("one", "two"):
        (tmp_path / home).mkdir()
        shutil.copy(empty_database, tmp_path / home / "mlflow.db")
    (tmp_path / "shared.yaml").write_text(load_spec("smoke").text.replace("epochs: 3", "epochs: 10"))
    system, bucket = FileSystem.from_uri(s3)
    first = start("one", "run", tmp_path / "shared.yaml", "--name", "shared")
    while not system.get_file_info(FileSelector(f"{bucket}/shared/checkpoints", allow_not_found=True)):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.kill()
    first.communicate()
    second = start("two", "resume", "shared")
    out, message = second.communicate(timeout=300)
    assert second.returncode == 0, message
    assert "8 trials: 8 complete" in out
    found = Ledger(shared_url(database), "shared").records()
    assert {record.state for record in found} == {State.COMPLETE}
    assert max(record.attempt for record in found) == 2
    assert len(system.get_file_info(FileSelector(f"{bucket}/shared/networks"))) == 8
