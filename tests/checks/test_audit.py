"""Each promise is really broken, one at a time, in a small sweep on SQLite and MLflow: each "no" names what broke."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sweeper.checks.audit import audit
from sweeper.checks.finding import Verdict
from sweeper.checks.guarantee import MOST_NAMED
from sweeper.checks.outside import outside
from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.errors import QueryError
from sweeper.execution.executors import InlineExecutor
from sweeper.exit_codes import ExitCode
from sweeper.ledger.home import Home, SweepFolder
from sweeper.ledger.ledger import Ledger
from sweeper.results.loaded_sweep import LoadedSweep
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.client import connect, upload
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.training.checkpoints import beside
from sweeper.trial import Ended, Outcome

PLANNED, DRIVEN, OUTCOMES, ONCE, MIRRORED, FRONTS, NETWORKS, CHECKPOINTS, POPULATIONS = range(9)

#: Code of a driver that is killed in the middle of its second population; networks and checkpoints are real.
KILLED = """
import os, signal, sys, time
from contextlib import suppress
import sweeper
from sweeper.errors import SweepError
from sweeper.execution.executors import InlineExecutor
from sweeper.training.train import train_population
from sweeper.spec import load_spec
from sweeper.driver.sweep import Sweep
from sweeper.exit_codes import ExitCode

jobs = []

def work(job, report):
    jobs.append(job)
    def counted(progress):
        report(progress)
        if len(jobs) == 2 and progress.epoch == 2:
            while not is_mirrored():
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)
    return train_population(job, counted)

def is_mirrored():
    # The first population with its front: that is a thread's affair, which a short training does not wait for.
    with suppress(SweepError):
        return bool(sweeper.load_sweep("smoke", home=sys.argv[1]).fronts())

Sweep("smoke", sys.argv[1]).run(load_spec("smoke"), executor=InlineExecutor(), work=work)
"""


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, and access to its parts."""

    home: Path

    @property
    def folder(self) -> SweepFolder:
        return Home(self.home).sweep("smoke")

    @property
    def uri(self):
        return Home(self.home).tracking_uri

    @property
    def ledger(self):
        return Ledger(self.folder.ledger_url, "smoke")

    @property
    def client(self):
        return connect(self.uri)

    def key(self, number=0):
        return self.ledger.records()[number].key

    def runs(self, key=None):
        experiment = self.client.get_experiment_by_name("smoke").experiment_id
        wanted = f"tags.`sweeper.trial_key` = '{key}'" if key else "tags.`sweeper.kind` = 'sweep'"
        return self.client.search_runs([experiment], wanted)

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.folder.path / "ledger.db")) as database, database:
            assert database.execute(statement, values).rowcount > 0

    def row_id(self, key):
        with closing(sqlite3.connect(self.folder.path / "ledger.db")) as database:
            found = database.execute("SELECT trial_id, value_json FROM trial_user_attributes WHERE key = 'plan'")
            return next(row for row, text in found if json.loads(text)["key"] == key)

    def audit(self):
        return audit(self.folder, self.uri)

    def broken(self):
        """Return the findings about each promise that does not hold, by the promise's place."""
        return {place: promise.said for place, promise in enumerate(self.audit()) if promise.holds is not True}


@pytest.fixture(scope="module")
def swept_once(tmp_path_factory, empty_database):
    home = tmp_path_factory.mktemp("swept")
    shutil.copy(empty_database, home / "mlflow.db")
    Sweep("smoke", home).run(load_spec("smoke"), executor=InlineExecutor())
    return Swept(home)


@pytest.fixture
def swept(swept_once, tmp_path):
    """A copy of the sweep, for a test to break."""
    shutil.copytree(swept_once.home, tmp_path / "home")
    return Swept(tmp_path / "home")


def test_sweep_that_ended_well_keeps_every_promise_and_is_not_written_to(swept):
    def files():
        return {path: path.read_bytes() for path in swept.home.rglob("*") if path.is_file()}

    before = files()
    promises = swept.audit()
    assert [promise.holds for promise in promises] == [True] * 9
    assert [promise.said for promise in promises] == [[]] * 9
    assert files() == before


# --- files ------------------------------------------------------------------------------------------


def test_deleted_network_is_named(swept):
    Path(swept.folder.network(swept.key(3))).unlink()
    assert swept.broken() == {NETWORKS: [f"1 × without a network: {swept.key(3)}"]}


def test_more_broken_trials_than_are_named_are_counted(swept):
    shutil.rmtree(swept.folder.path / "networks")
    assert swept.broken()[NETWORKS][0].startswith("8 × without a network: ")
    assert swept.broken()[NETWORKS][0].endswith(f" and {8 - MOST_NAMED} more")


def test_flipped_byte_in_a_network_is_found(swept):
    path = Path(swept.folder.network(swept.key()))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    (said,) = swept.broken()[NETWORKS]
    assert said.startswith(f"1 × a network that cannot be used: {swept.key()} (")
    assert list(swept.broken()) == [NETWORKS]


@pytest.mark.slow
def test_files_of_images_that_are_gone_or_changed_are_named(asked):
    folder = Home(Path(asked.removeprefix("sqlite:///")).parent).sweep("asked")
    record = next(iter(LoadedSweep(MlflowReader(asked, "asked")).records))
    path = Path(folder.probes(record.key))
    content = path.read_bytes()
    try:
        path.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
        (said,) = audit(folder, asked)[NETWORKS].said
        assert said.startswith(f"1 × what it does under probes cannot be used: {record.key} (")
        path.unlink()
        assert audit(folder, asked)[NETWORKS].said == [f"1 × without what it does under probes: {record.key}"]
    finally:
        path.write_bytes(content)
    assert audit(folder, asked)[NETWORKS].holds is True


@pytest.mark.parametrize("name", ["spec.yaml", "spec_resolved.json"])
def test_changed_spec_in_mlflow_is_named_and_not_answered_from(swept, name):
    Sweep("smoke", swept.home).mirror()  # writes into the copy
    (file,) = (swept.home / "artifacts").rglob(name)
    content = file.read_bytes()
    file.write_bytes(content.replace(b"smoke", b"smoky", 1))
    with pytest.raises(QueryError, match=f"{name} of sweep 'smoke' is not as it was written.*sweeper mirror smoke"):
        MlflowReader(swept.uri, "smoke").artifact(name)
    assert any(name in line for said in swept.broken().values() for line in said)
    Sweep("smoke", swept.home).mirror()
    assert MlflowReader(swept.uri, "smoke").artifact(name) == content
    assert swept.broken() == {}


def test_network_of_another_trial_is_found(swept):
    shutil.copy(swept.folder.network(swept.key(1)), swept.folder.network(swept.key(0)))
    assert swept.broken() == {NETWORKS: [f"1 × the network of another trial: {swept.key()}"]}


@pytest.mark.parametrize("name", ["networks/a.safetensors.7.tmp", "checkpoints/a.pt.7.tmp", "ledger.7.tmp"])
def test_torn_file_is_named_and_the_next_driver_removes_it(swept, name):
    torn = swept.folder.path / name
    torn.write_text("half")
    assert swept.broken() == {NETWORKS: [f"1 × a torn file that was left behind: {torn.name}"]}
    with swept.folder.drive():
        pass
    assert swept.broken() == {}


# --- MLflow -----------------------------------------------------------------------------------------


def off_front(swept):
    """Return the key of a trial that is on no front."""
    members = {key for front in MlflowReader(swept.uri, "smoke").fronts() for key in front.table["key"].to_pylist()}
    return next(record.key for record in swept.ledger.records() if record.key not in members)


def test_deleted_run_is_named(swept):
    key = off_front(swept)
    swept.client.delete_run(swept.runs(key)[0].info.run_id)
    assert swept.broken() == {MIRRORED: [f"1 × without a run (`sweeper mirror smoke`): {key}"]}


def test_run_that_was_not_written_to_its_end_is_named(swept):
    key = swept.key()
    swept.client.update_run(swept.runs(key)[0].info.run_id, status="RUNNING")
    (said,) = swept.broken()[MIRRORED]
    assert said == f"1 × with a run that was not written to its end (`sweeper mirror smoke`): {key}"


def test_second_run_of_a_trial_is_named(swept):
    run = swept.runs(swept.key())[0]
    tags = {name: value for name, value in run.data.tags.items() if name.startswith("sweeper.")}
    swept.client.create_run(run.info.experiment_id, tags=tags)
    assert swept.broken() == {ONCE: [f"1 × several runs of one trial: {swept.key()}"]}


def test_run_of_an_unknown_trial_is_named(swept):
    tags = {"sweeper.kind": "trial", "sweeper.trial_key": "feedfeedfeedfeed"}
    swept.client.create_run(swept.runs()[0].info.experiment_id, tags=tags)
    assert swept.broken() == {ONCE: ["1 × a run of a trial that the ledger does not know: feedfeedfeedfeed"]}


def test_changed_metric_is_named(swept):
    run = swept.runs(swept.key())[0]
    swept.client.log_metric(run.info.run_id, "accuracy", 0.123, timestamp=run.info.end_time + 1, step=0)
    assert swept.broken() == {ONCE: [f"1 × a run that differs from the ledger: {swept.key()} (metric accuracy)"]}


@pytest.mark.parametrize(("name", "value"), [("sweeper.outcome", "lost"), ("sweeper.attempt", "7")])
def test_changed_tag_is_named(swept, name, value):
    swept.client.set_tag(swept.runs(swept.key())[0].info.run_id, name, value)
    assert swept.broken() == {ONCE: [f"1 × a run that differs from the ledger: {swept.key()} (tag {name})"]}


def test_changed_end_of_a_run_is_named(swept):
    swept.client.set_terminated(swept.runs(swept.key())[0].info.run_id, "FAILED", end_time=5)
    assert swept.broken()[ONCE] == [f"1 × a run that differs from the ledger: {swept.key()} (end time, status)"]


def test_status_of_the_sweeps_run_is_compared_with_the_ledger(swept):
    swept.client.set_terminated(swept.runs()[0].info.run_id, "KILLED")
    said = "1 × the sweep's run is KILLED, but should be FINISHED (`sweeper mirror smoke`): smoke"
    assert swept.broken() == {MIRRORED: [said]}


def test_another_sweep_of_the_same_name_is_told_apart(swept):
    swept.client.set_tag(swept.runs()[0].info.run_id, "sweeper.identity", "another")
    (said,) = swept.broken()[MIRRORED]
    assert said.startswith("1 × another sweep of this name, from the home ")


def test_mlflow_that_cannot_be_reached_makes_promises_unknown_with_the_reason(swept, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    promises = audit(swept.folder, "http://127.0.0.1:9")
    assert [p.holds for p in promises] == [True, True, True, None, None, None, True, True, True]
    assert "could not reach MLflow at http://127.0.0.1:9" in promises[ONCE].reason


def test_empty_mlflow_holds_nothing_of_what_it_should(swept, empty_database):
    shutil.copy(empty_database, swept.home / "mlflow.db")
    broken = swept.broken()
    assert broken.keys() == {MIRRORED, FRONTS}
    assert broken[MIRRORED][0] == "1 × 0 runs of the sweep itself, not one: smoke"
    assert broken[MIRRORED][1].startswith("8 × without a run (`sweeper mirror smoke`): ")
    assert broken[FRONTS][0].startswith("2 × no front is stored: digits-3")


# --- fronts -----------------------------------------------------------------------------------------


def store_front(swept, content, mark=None):
    """Replace a stored front by other bytes, under another path with a right digest; return the task."""
    parent = swept.runs()[0]
    front = MlflowReader(swept.uri, "smoke").fronts()[0]
    data = content(front)
    upload(swept.client, parent.info.run_id, "fronts/other.parquet", data)
    name = f"sweeper.front.{front.task}"
    known = json.loads(parent.data.tags[name]) | {"path": "fronts/other.parquet"}
    known["sha256"] = hashlib.sha256(data).hexdigest()
    swept.client.set_tag(parent.info.run_id, name, json.dumps(known | (mark or {})))
    return front.task


def test_front_that_lost_a_point_is_named(swept):
    points = MlflowReader(swept.uri, "smoke").fronts()[0].table.num_rows - 1
    fewer = {"points": points}
    task = store_front(swept, lambda front: replace(front, table=front.table.slice(1)).to_parquet_bytes(), fewer)
    assert f"1 × a stored front with other points than the ledger's: {task}" in swept.broken()[FRONTS]
    assert list(swept.broken()) == [FRONTS]


def test_other_hypervolume_is_named(swept):
    task = store_front(swept, lambda front: replace(front, hypervolume=front.hypervolume + 0.1).to_parquet_bytes())
    assert swept.broken() == {FRONTS: [f"1 × a stored hypervolume other than the ledger's: {task}"]}
    task = store_front(swept, lambda front: front.to_parquet_bytes(), {"hypervolume": 0.0})
    assert swept.broken() == {FRONTS: [f"1 × a stored hypervolume other than the ledger's: {task}"]}


def test_damaged_front_is_named(swept):
    task = store_front(swept, lambda _: b"no parquet")
    (said,) = swept.broken()[FRONTS]
    assert said.startswith(f"1 × a stored front that cannot be read: {task} (fronts/other.parquet of sweep 'smoke'")
    assert "10 bytes are no front" in said


def test_lost_tag_of_a_run_on_the_front_is_named(swept):
    front = MlflowReader(swept.uri, "smoke").fronts()[0]
    swept.client.delete_tag(swept.runs(front.table["key"][0].as_py())[0].info.run_id, "sweeper.front")
    said = f"1 × runs tagged as being on the front are others than those on it: {front.task}"
    assert swept.broken() == {FRONTS: [said]}


# --- the ledger -------------------------------------------------------------------------------------


def test_removed_row_is_missed_by_the_plan_by_mlflow_and_by_its_population(swept):
    key = off_front(swept)
    population = next(record.population for record in swept.ledger.records() if record.key == key)
    row = swept.row_id(key)
    for table in ("trial_values", "trial_user_attributes", "trials"):
        swept.sql(f"DELETE FROM {table} WHERE trial_id = ?", row)
    assert swept.broken()[PLANNED] == [f"1 × planned, but not in the ledger: {key}"]
    assert swept.broken()[ONCE] == [f"1 × a run of a trial that the ledger does not know: {key}"]
    assert swept.broken()[POPULATIONS] == [f"1 × a population with other members than it was formed of: {population}"]


def test_row_that_is_there_twice_is_named(swept):
    ledger, key = swept.ledger, swept.key()
    study = ledger._studies._studies[ledger.records()[0].task]
    study.add_trial(study.get_trials()[0])
    broken = swept.broken()
    assert broken[PLANNED] == [f"1 × in the ledger more than once: {key}"]
    assert POPULATIONS in broken


def test_row_left_running_is_named_with_the_command_that_goes_on(swept):
    key = swept.key()
    swept.sql("UPDATE trials SET state = 'RUNNING' WHERE trial_id = ?", swept.row_id(key))
    broken = swept.broken()
    assert broken[DRIVEN] == [f"1 × running, but nobody drives the sweep (`sweeper resume smoke`): {key}"]
    assert broken[ONCE] == [f"1 × a run that has ended, of a trial that has not: {key}"]


def test_row_that_waits_in_a_sweep_that_has_ended_is_named(swept):
    swept.sql("UPDATE trials SET state = 'WAITING' WHERE trial_id = ?", swept.row_id(swept.key()))
    broken = swept.broken()
    assert broken[DRIVEN] == [f"1 × waiting, though MLflow says that the sweep has ended: {swept.key()}"]
    assert broken[OUTCOMES] == [f"1 × waiting, though it has an outcome: {swept.key()}"]


def test_objective_value_changed_in_the_ledger_is_named(swept):
    key = swept.key()
    swept.sql("UPDATE trial_values SET value = 0.5 WHERE trial_id = ? AND objective = 0", swept.row_id(key))
    assert swept.broken() == {OUTCOMES: [f"1 × objective values other than those measured: {key}"]}


def test_lost_outcome_is_named(swept):
    key = swept.key()
    swept.sql("DELETE FROM trial_user_attributes WHERE key = 'ended' AND trial_id = ?", swept.row_id(key))
    assert swept.broken()[OUTCOMES] == [f"1 × finished without an outcome: {key}"]


def test_outcome_of_another_kind_than_the_state_is_named(swept):
    key = swept.key()
    swept.sql("UPDATE trials SET state = 'FAIL' WHERE trial_id = ?", swept.row_id(key))
    assert swept.broken()[OUTCOMES] == [f"1 × an outcome of another kind than its state: {key}"]


def test_row_without_its_plan_is_named_by_its_place(swept):
    record = swept.ledger.records()[0]
    swept.sql("DELETE FROM trial_user_attributes WHERE key = 'plan' AND trial_id = ?", swept.row_id(record.key))
    said = swept.broken()[PLANNED]
    assert said == [
        f"1 × planned, but not in the ledger: {record.key}",
        f"1 × a row that cannot be read: row {record.number} of {record.task}",
    ]


def test_trial_that_names_another_population_is_found(swept):
    row = swept.row_id(swept.key())
    of_row = "FROM trial_user_attributes WHERE key = 'plan' AND trial_id = ?"
    with closing(sqlite3.connect(swept.folder.path / "ledger.db")) as database:
        (text,) = database.execute(f"SELECT value_json {of_row}", [row]).fetchone()
    plan = json.dumps(json.loads(text) | {"population": "elsewhere"})
    swept.sql("UPDATE trial_user_attributes SET value_json = ? WHERE key = 'plan' AND trial_id = ?", plan, row)
    (said,) = swept.broken()[POPULATIONS]
    assert said.startswith("2 × a population with other members than it was formed of: ")
    assert "elsewhere" in said


# --- unfinished and failed sweeps -------------------------------------------------------------------


def test_living_driver_is_no_breach_and_its_front_is_not_judged(swept):
    swept.sql("UPDATE trials SET state = 'RUNNING' WHERE trial_id = ?", swept.row_id(off_front(swept)))
    (swept.folder.path / "networks" / "a.17.tmp").write_text("being written")
    with swept.folder.drive():
        (swept.folder.path / "networks" / "b.17.tmp").write_text("being written")
        promises = swept.audit()
    assert [promise.holds for promise in promises][DRIVEN] is True
    assert [promise.holds for promise in promises][NETWORKS] is True
    assert promises[FRONTS].holds is None
    assert promises[FRONTS].reason.startswith("the sweep is being driven by process ")


def test_sweep_of_failed_trials_keeps_its_promises(tmp_path, empty_database):
    """A failure is an outcome; only a failure without a reason breaks a promise."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")

    def fail(job, report):
        return [Ended(Outcome.FAILED, "Traceback:\nValueError: no")] * len(job.wanted_keys)

    Sweep("smoke", tmp_path).run(load_spec("smoke"), executor=InlineExecutor(), work=fail)
    assert Swept(tmp_path).broken() == {}


def test_sweep_that_was_stopped_keeps_its_promises(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    jobs = []

    def work(job, report):
        jobs.append(job)
        return [Ended(Outcome.FAILED, "ValueError: no")] * len(job.wanted_keys)

    Sweep("smoke", tmp_path).run(
        load_spec("smoke"), executor=InlineExecutor(), work=work, should_stop=lambda: bool(jobs)
    )
    assert Swept(tmp_path).broken() == {}


@pytest.mark.slow
def test_sweep_that_was_killed_says_so_and_keeps_every_promise_once_resumed(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    swept = Swept(tmp_path)
    broken = swept.broken()
    assert broken[DRIVEN][0].startswith("4 × running, but nobody drives the sweep (`sweeper resume smoke`): ")
    # A thread tags a front's members after storing the front; the kill may come before the tags.
    assert broken.keys() - {FRONTS} == {DRIVEN, MIRRORED}
    assert broken[MIRRORED] == [
        "1 × the sweep's run is RUNNING, but should be KILLED (`sweeper mirror smoke`): smoke",
    ]
    (checkpoint,) = [
        Path(swept.folder.checkpoint(row.population)) for row in swept.ledger.records() if not row.state.is_finished
    ][:1]
    other = Path(beside(str(checkpoint)))
    whole = {path: path.read_bytes() for path in (checkpoint, other)}
    other.write_bytes(b"torn")
    assert CHECKPOINTS not in swept.broken(), "one of the two is enough to go on from"
    checkpoint.write_bytes(whole[checkpoint][: len(whole[checkpoint]) // 2])
    assert swept.broken()[CHECKPOINTS] == [f"1 × a torn checkpoint: the population would start anew: {checkpoint.stem}"]
    for path, data in whole.items():
        path.write_bytes(data)
    assert Sweep("smoke", tmp_path).resume(executor=InlineExecutor()).is_finished
    assert swept.broken() == {}


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture
def sweeper(monkeypatch, capsys):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


def test_command_says_yes_or_no_and_ends_with_0_or_5(sweeper, swept):
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home)
    assert code == 0
    assert out.count("yes      ") == 9
    assert out.endswith("8 trials: 8 complete; 9 of 9 promises hold\n")
    Path(swept.folder.network(swept.key())).unlink()
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home)
    assert code == ExitCode.FOUND_WRONG == 5
    assert (
        f"no       every complete trial has its network, readable and its own\n         1 × without a network: {swept.key()}\n"
        in out
    )
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home, "--json")
    found = json.loads(out)
    assert (code, found["name"], found["holds"]) == (5, "smoke", False)
    assert found["promises"][NETWORKS]["breaches"] == [
        {"what": "without a network", "count": 1, "named": [swept.key()]}
    ]


def test_command_on_a_healthy_sweep_that_runs_says_not_yet(sweeper, swept):
    with swept.folder.drive():
        code, out, _ = sweeper("audit", "smoke", "--home", swept.home)
        assert code == ExitCode.NOT_YET == 4
        assert "8 of 9 promises hold\nnothing is wrong so far; the sweep still runs" in out
        code, out, _ = sweeper("audit", "smoke", "--home", swept.home, "--json")
        assert (code, json.loads(out)["holds"]) == (4, None)
        Path(swept.folder.network(swept.key())).unlink()
        assert sweeper("audit", "smoke", "--home", swept.home)[0] == 5, "what is wrong is wrong already"


def test_command_without_mlflow_says_unknown_and_ends_with_2(sweeper, swept, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home, "--tracking-uri", "http://127.0.0.1:9")
    assert code == ExitCode.MISTAKE == 2
    assert out.count("unknown  ") == 3
    assert "6 of 9 promises hold" in out


def test_command_says_what_lies_outside_of_the_home_and_only_that(sweeper, swept, tmp_path, empty_database):
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home, "--json")
    assert (code, json.loads(out)["outside"]) == (0, [])
    elsewhere = tmp_path / "elsewhere" / "mlflow.db"
    elsewhere.parent.mkdir()
    shutil.copy(empty_database, elsewhere)
    Sweep("smoke", swept.home, f"sqlite:///{elsewhere}").mirror()
    (swept.folder.path / "storage.txt").write_text(f"{tmp_path}/files\n")
    shutil.copytree(swept.folder.path / "networks", tmp_path / "files" / "smoke" / "networks")
    code, out, _ = sweeper("audit", "smoke", "--home", swept.home)
    assert code == 0, out
    assert [line for line in out.splitlines() if line.startswith("outside")] == [
        f"outside  of this home is checkpoints and networks, in {tmp_path}/files/smoke",
        f"outside  of this home is what MLflow holds, at sqlite:///{elsewhere}",
    ]
    said = outside(Home(swept.home))
    assert said.verdict is Verdict.OK
    assert f"smoke: checkpoints and networks, in {tmp_path}/files/smoke; what MLflow holds, at" in said.found
    assert outside(Home(tmp_path / "none")).found == "nothing"
