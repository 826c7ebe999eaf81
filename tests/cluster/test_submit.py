"""Sweeps that are submitted to a real cluster of several nodes with a token."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from sweeper.ledger.home import Home
from sweeper.ledger.ledger import Ledger
from sweeper.tracking.mlflow.reader import MlflowReader
from tests.faults.rig import GRID, HALF, PATIENCE_S, assert_audited, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def submit(cluster, tmp_path, request, empty_database):
    """A function that submits a spec under the test's own name, given the words after `submit FILE --name NAME`."""
    (tmp_path / "home").mkdir()
    shutil.copy(empty_database, tmp_path / "home" / "mlflow.db")  # saves seconds
    name = f"n{abs(hash(request.node.name)) % 10**8}"

    def call(*words, spec=HALF):
        (tmp_path / "spec.yaml").write_text(spec)
        where = ["--address", cluster.jobs, "--home", tmp_path / "home", "--name", name]
        return cluster.sweeper("submit", tmp_path / "spec.yaml", *where, *words)

    call.name, call.home = name, tmp_path / "home"
    yield call
    cluster.sweeper("stop", name, "--address", cluster.jobs)


def outcomes(home, name):
    """Return how many trials have an outcome, and how many are complete."""
    with closing(Ledger(Home(home).sweep(name).ledger_url, name)) as ledger:
        counts = ledger.counts()
    return sum(counts.outcomes.values()), counts.complete


@pytest.mark.rare
def test_submitted_sweep_survives_its_driver_and_a_node_and_its_token_is_nowhere(cluster, submit):
    code, out, err = submit(spec=GRID)
    assert (code, "submitted sweep" in out) == (0, True), err
    assert f"sweeper watch {submit.name} --address {cluster.jobs}" in out
    code, again, _ = submit(spec=GRID)
    assert (code, f"runs at {cluster.jobs} already, as job sweeper-{submit.name}-1" in again) == (0, True)

    checkpoints = submit.home / submit.name / "checkpoints"
    eventually(lambda: len(list(checkpoints.glob("*.pt"))) >= 2)
    (driver,) = [
        pid for pid, title in everything().items() if f"-m sweeper run spec.yaml --name {submit.name}" in title
    ]
    os.kill(driver, signal.SIGKILL)
    eventually(lambda: cluster.status(submit.name)["status"] == "FAILED")
    code, seen, _ = cluster.sweeper("watch", submit.name, "--address", cluster.jobs, "--once")
    assert (code, "interrupted" in seen) == (4, True), seen

    code, out, err = submit(spec=GRID)
    assert (code, f"as job sweeper-{submit.name}-2" in out) == (0, True), out + err
    before = {path: path.stat().st_mtime_ns for path in checkpoints.glob("*.pt")}
    eventually(lambda: {path: path.stat().st_mtime_ns for path in checkpoints.glob("*.pt")} != before)
    done = cluster.recipe("kill", 1)
    assert (done.returncode, "node 1" in done.stdout) == (0, False), done.stderr
    code, log, err = cluster.sweeper("logs", submit.name, "--address", cluster.jobs, "--follow")
    assert code == 0, log + err
    assert "8 trials: 8 complete" in log
    assert "[state-dump]" not in log
    assert cluster.status(submit.name)["trials"]["complete"] == 8

    code, out, _ = submit(spec=GRID)
    assert (code, "is complete" in out) == (0, True), out
    assert_audited(submit.home, submit.name)
    fronts = MlflowReader(f"sqlite:///{submit.home}/mlflow.db", submit.name).fronts()
    assert [front.hypervolume > 0 for front in fronts] == [True, True]
    assert_token_is_nowhere(cluster, submit.home)
    assert cluster.recipe("add").returncode == 0  # restores the node for later tests


def everything():
    """Return the command line of every process, by its number."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found[int(entry)] = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
    return {pid: title for pid, title in found.items() if not title.startswith("/bin/sh")}


def assert_token_is_nowhere(cluster, home):
    """Check that the token is not in the home, Ray's files, the job server's answers, or any command line."""
    token = cluster.token.encode()
    assert len(token) == 64
    files = [path for folder in (cluster.folder, home) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if token in path.read_bytes()] == [cluster.folder / "token"]
    assert (cluster.folder / "token").stat().st_mode & 0o077 == 0
    assert not [title for title in everything().values() if cluster.token in title]
    told = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "list", "--address", cluster.jobs],
        env=cluster.environment,
        capture_output=True,
        timeout=120,
    ).stdout
    assert b"sweeper.spec" in told
    assert token not in told


@pytest.mark.rare
def test_stopped_sweep_goes_on_where_it_was_when_it_is_submitted_again(cluster, submit):
    assert submit()[0] == 0
    checkpoints = submit.home / submit.name / "checkpoints"
    eventually(lambda: list(checkpoints.glob("*.pt")))
    code, out, err = cluster.sweeper("stop", submit.name, "--address", cluster.jobs)
    assert (code, "STOPPED" in out) == (0, True), err
    assert "interrupted; continue with:" in cluster.sweeper("logs", submit.name, "--address", cluster.jobs)[1]
    done = outcomes(submit.home, submit.name)[0]
    code, out, err = submit("--wait")
    assert (code, "SUCCEEDED, exit code 0" in out) == (0, True), out + err
    assert outcomes(submit.home, submit.name) == (4, 4)
    assert done < 4
    code, out, err = cluster.sweeper("stop", submit.name, "--address", cluster.jobs)
    assert (code, "does not run" in out) == (0, True), err
    assert_audited(submit.home, submit.name)


def test_two_submissions_at_once_are_one_job_and_the_only_one_that_is_known(cluster, submit, tmp_path):
    (tmp_path / "spec.yaml").write_text(HALF)
    words = ["--address", cluster.jobs, "--home", str(submit.home), "--name", submit.name]
    command = [sys.executable, "-m", "sweeper", "submit", str(tmp_path / "spec.yaml"), *words]
    calls = [
        subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True, cwd=cluster.folder)
        for _ in range(2)
    ]
    said = [call.communicate(timeout=PATIENCE_S)[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0]
    assert sum("submitted sweep" in text for text in said) == 1
    assert sum("already, as job" in text for text in said) == 1
    code, _, err = submit(spec=HALF.replace("epochs: 24", "epochs: 25"))
    assert (code, "runs already, as job" in err, "with another spec" in err) == (2, True, True)
    assert cluster.status(submit.name)["job"] == 1
    code, _, err = cluster.sweeper("logs", "nope", "--address", cluster.jobs)
    assert (code, submit.name in err) == (2, True)
    code, _, err = cluster.sweeper("logs", submit.name, "--address", cluster.jobs, "--job", 7)
    assert (code, "Its jobs are: 1" in err) == (2, True)


@pytest.mark.rare
def test_another_spec_is_told_apart_by_the_driver(cluster, submit):
    assert submit()[0] == 0
    other = HALF.replace("epochs: 24", "epochs: 25")
    eventually(lambda: Home(submit.home).sweep(submit.name).is_planned)  # before that, any spec may replace it
    cluster.sweeper("stop", submit.name, "--address", cluster.jobs)
    code, out, _ = submit("--follow", spec=other)
    assert code == 2
    assert "training.epochs: 24 -> 25" in out
    assert submit()[0] == 0


@pytest.mark.rare
def test_home_is_remembered_and_another_one_is_refused(cluster, submit, tmp_path):
    assert submit()[0] == 0
    cluster.sweeper("stop", submit.name, "--address", cluster.jobs)
    words = ["submit", tmp_path / "spec.yaml", "--address", cluster.jobs, "--name", submit.name]
    code, _, err = cluster.sweeper(*words, "--home", "/elsewhere")
    assert (code, f"submitted with --home {submit.home}, and now with --home /elsewhere" in err) == (2, True)
    assert cluster.sweeper(*words)[0] == 0
    eventually(lambda: (submit.home / submit.name / "driver.json").exists())


ASKING = (["status"], ["submit", "quickstart"], ["logs", "quickstart"], ["stop", "quickstart"])


@pytest.mark.parametrize(
    ("change", "commands", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, ASKING, "asks for a token, and RAY_AUTH_MODE is disabled here"),
        ({"RAY_AUTH_TOKEN": "f" * 64}, ASKING[1:2], "refuses the token that is known here"),
    ],
)
def test_client_without_the_token_is_told_so(cluster, change, commands, said):
    environment = {**cluster.environment, **change}
    for words in commands:
        code, _, err = cluster.sweeper(*words, "--address", cluster.jobs, environment=environment)
        assert (code, said in err) == (2, True), err
        assert "f" * 64 not in err


def test_nothing_of_a_cluster_listens_outside_of_the_loopback(cluster):
    ours = {pid for pid, title in everything().items() if str(cluster.folder) in title}
    assert len(ours) > 5
    listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, timeout=60).stdout.splitlines()
    found = [line for line in listening if any(f"pid={pid}," in line for pid in ours)]
    assert len(found) > 5
    assert [line for line in found if "127.0.0.1" not in line.split()[3]] == []


def test_stopping_a_cluster_leaves_other_processes_alone(cluster):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # raylet gcs_server ray::IDLE"])
    try:
        before = {pid for pid, title in everything().items() if str(cluster.folder) in title}
        assert cluster.recipe("stop").returncode == 0
        eventually(lambda: not {pid for pid, title in everything().items() if str(cluster.folder) in title} & before)
        assert bystander.poll() is None
        done = cluster.recipe("status")
        assert (done.returncode, "no cluster runs" in done.stderr) == (1, True)
        code, _, err = cluster.sweeper("status", "--address", cluster.jobs)
        assert (code, "no job server can be reached" in err) == (2, True)
    finally:
        bystander.kill()
        bystander.wait()


OWN = """
train: swept:train
parameters: {width: {values: [1, 2, 4, 8]}}
measures: {accuracy: share, cost: units}
objectives: [{name: accuracy, goal: maximize}, {name: cost, goal: minimize}]
reference_point: {accuracy: 0, cost: 100}
"""

TRAINS = """
import helps

def train(trial, width: int, epochs: int = 2):
    for epoch in trial.epochs(epochs):
        trial.report(state=epoch, accuracy=helps.accuracy(epoch, width), cost=width)
"""


@pytest.mark.rare
def test_code_of_ones_own_travels_with_its_job_and_each_node_has_it(cluster, submit, tmp_path):
    (tmp_path / "swept.py").write_text(TRAINS)
    helps = tmp_path / "helps.py"
    helps.write_text("def accuracy(epoch, width): return {'x': 1}[width]\n")
    code, out, err = submit("--follow", spec=OWN)
    assert (code, "KeyError" in out, "Nothing was planned" in out) == (2, True, True), out + err

    helps.write_text("def accuracy(epoch, width): return width / 10\n")
    code, out, err = submit("--follow", spec=OWN)
    assert (code, "4 trials: 4 complete" in out) == (0, True), out + err
    assert_audited(submit.home, submit.name, promises=8)

    helps.write_text("def accuracy(epoch, width): return width / 16\n")
    grown = OWN.replace("4, 8]", "4, 8, 16]")
    code, out, err = submit("--follow", spec=grown)
    assert (code, "helps.py has changed" in out) == (2, True), out + err
    code, out, err = submit("--new-code", "--follow", spec=grown)
    assert (code, "5 trials: 5 complete" in out) == (0, True), out + err
    assert "the code is not what it was: helps.py has changed" in " ".join(out.split()), out
    assert "trials of 2 versions of the code" in " ".join(out.split()).lower(), out
