"""The batch script for Slurm, run by a real bash on a real Ray; only Slurm's own programs have stand-ins."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.recipes import CLUSTER, COMMANDS, assert_understood, commands_in
from tests.faults.rig import HALF, PATIENCE_S, Cli, descendants, eventually
from tests.support import clusters

SCRIPT = CLUSTER / "slurm" / "sweep.sbatch"
TEXT = SCRIPT.read_text(encoding="utf-8")
SCRIPTS = sorted([*CLUSTER.rglob("*.sh"), *CLUSTER.rglob("*.sbatch")])
OPTIONS = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", TEXT, re.M))

#: Stands in for `srun`: it runs a command once for each task, passes SIGTERM on, and ends after all tasks.
SRUN = """#!{python}
import os, signal, subprocess, sys

known = "overlap ntasks-per-node cpus-per-task kill-on-bad-exit nodes ntasks nodelist exclude".split()
words, options = sys.argv[1:], {{}}
while words[0].startswith("--"):
    name, _, value = words.pop(0)[2:].partition("=")
    if name not in known:
        sys.exit(f"srun: unrecognized option --{{name}}")
    options[name] = value
if options["nodes"] != options["ntasks"] or options.get("nodelist", "first") != "first":
    sys.exit("srun: one task on each node, the first of them on the first node")
skipped = int("exclude" in options)
tasks = []
def pass_on(number, _):
    for task in tasks:
        task.send_signal(number)
signal.signal(signal.SIGTERM, pass_on)
for number in range(int(options["ntasks"])):
    own = {{"SLURM_PROCID": str(number), "SLURM_NODEID": str(number + skipped)}}
    tasks.append(subprocess.Popen(words, env=os.environ | own))
sys.exit(max(abs(task.wait()) for task in tasks))
"""

#: Stands in for `scontrol`: it shows the state of the job, and notes a requeue.
SCONTROL = """#!/bin/sh
case "$1 $2" in
"show job") echo "JobId=$3 JobName=sweep JobState=$STATE Reason=None" ;;
"requeue $SLURM_JOB_ID") echo "$2" >>requeued ;;
*) exit 1 ;;
esac
"""


class Job:
    """A Slurm job on this machine, in its own folder.

    Args:
        folder: Folder from which the job is submitted.
        before: Words before the script, such as a command that enters a namespace.
        settings: Further environment variables; `nodes` is the number of nodes.
    """

    def __init__(self, folder, before=(), **settings):
        self.folder, self.cli, self._before = folder, Cli(folder, HALF, home=folder / "home", before=before), before
        programs = folder / "bin"
        programs.mkdir()
        for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        # Each test needs its own number, which decides the port and a folder of this machine.
        self.number = str(os.getpid() * 10 + len(list(folder.parent.glob("*"))) % 10)
        nodes = settings.pop("nodes", 1)
        self.environment = self.cli.environment | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLURM_JOB_ID": self.number,
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "SLURMD_NODENAME": "first",
            "STATE": "RUNNING",
            "SWEEP_ADDRESS": "127.0.0.1",
            "SWEEP_ENV": "",
            "SWEEP_SPACE": "fragile.yaml",
            "SWEEP_NAME": "fragile",
            "SWEEPER_HOME": str(self.cli.home),
            "SWEEPER_LEDGER": "",
            "SWEEPER_STORAGE": str(folder / "storage"),
            "MLFLOW_TRACKING_URI": "",
            **settings,
        }
        if nodes == 1:
            self.environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # makes Ray use only the loopback

    def start(self, restarts=0):
        words = [*self._before, "bash", str(SCRIPT)]
        environment = self.environment | {"SLURM_RESTART_COUNT": str(restarts)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(words, cwd=self.folder, env=environment, start_new_session=True, **pipes)

    def end(self, process):
        """Wait for the end of a job; return its exit code and output."""
        out, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out

    @property
    def requeued(self):
        note = self.folder / "requeued"
        return note.read_text().split() if note.exists() else []

    def assert_nothing_is_left(self):
        assert not Path(f"/tmp/sweep-{self.number}").exists()
        assert list(self.folder.glob(".sweep-*")) == []


@pytest.fixture
def new_job(tmp_path):
    """A function that makes a job; leftover processes are killed by their numbers."""
    started = []

    def make(before=(), **settings):
        job = Job(tmp_path, before, **settings)
        original = job.start

        def start(restarts=0):
            started.append(original(restarts))
            return started[-1]

        job.start = start
        return job

    yield make
    for process in started:
        if process.poll() is None:
            for pid in [*descendants(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_script_is_one_that_shellcheck_accepts(script):
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: pip install 'pareto-sweeper[dev]'")
    done = subprocess.run([shellcheck, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    code = re.sub(r"#.*", "", script.read_text(encoding="utf-8"))
    assert re.findall(r"\bray\s+stop\b|\bp?kill(?:all)?\s+-\S*\s*(?:ray|sweeper|python)", code) == []


def test_job_comes_back_and_is_told_two_minutes_ahead():
    assert {"requeue", "open-mode", "signal"} <= set(OPTIONS)
    assert (OPTIONS["signal"], OPTIONS["open-mode"], OPTIONS["ntasks-per-node"]) == ("B:TERM@120", "append", "1")
    first_command = next(n for n, line in enumerate(TEXT.splitlines()) if re.match(r"[^#\s]", line))
    assert "#SBATCH" not in "\n".join(TEXT.splitlines()[first_command:])  # Slurm ignores options after it


@pytest.mark.parametrize("words", commands_in(TEXT), ids=" ".join)
def test_sweeper_commands_are_understood(words):
    assert_understood(words)


def test_settings_are_those_that_the_command_line_reads():
    read = {str(parameter.envvar) for parameter in COMMANDS["run"].params if parameter.envvar}
    exported = set(re.findall(r"^export ((?:SWEEPER|MLFLOW)_\w+)=\$", TEXT, re.M))
    assert exported <= read
    assert len(exported) == 3


def test_unfilled_settings_are_refused_by_name(new_job):
    for setting in ("SWEEP_ENV", "SWEEPER_STORAGE", "SWEEPER_LEDGER", "MLFLOW_TRACKING_URI"):
        assert re.search(rf"^(?:export )?{setting}=\${{{setting}-\S*CHANGE-ME", TEXT, re.M)
    job = new_job()
    del job.environment["SWEEPER_STORAGE"]
    code, out = job.end(job.start())
    assert (code, out) == (
        2,
        "sweep.sbatch: SWEEPER_STORAGE is still CHANGE-ME-SHARED/sweeps: fill it in at the top of the script\n",
    )


def test_sqlite_home_on_a_file_system_of_a_network_is_refused(new_job, tmp_path):
    job = new_job()
    (tmp_path / "bin/stat").write_text("#!/bin/sh\necho lustre\n")
    (tmp_path / "bin/stat").chmod(0o755)
    code, out = job.end(job.start())
    assert code == 2
    assert f"SWEEPER_HOME={job.cli.home} is on a file system of a network" in out
    assert "SWEEPER_LEDGER" in out


def test_job_without_database_and_home_is_refused(new_job):
    code, out = (job := new_job(SWEEPER_HOME="")).end(job.start())
    assert (code, "name a database with SWEEPER_LEDGER, or a home on a local disk" in out) == (2, True)


@pytest.fixture
def loopback():
    with clusters.loopback() as words:
        yield words


@pytest.mark.slow
@pytest.mark.rare
def test_job_of_two_nodes_that_is_told_to_end_goes_on_when_it_comes_back(new_job, loopback):
    job = new_job(loopback, nodes=2)
    first = job.start()
    job.cli.wait_for_outcome(first)
    token = job.folder / f".sweep-{job.number}" / "token"
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert sum("raylet/raylet" in title for title in descendants(first.pid).values()) == 2
    first.send_signal(signal.SIGTERM)  # only to the script, as --signal=B:TERM does
    code, out = job.end(first)
    assert (code, job.requeued) == (143, [job.number]), out
    assert "start 1: 2 nodes with 1 CPUs each" in out
    done = job.cli.finished()
    assert 0 < len(done) < 4
    job.assert_nothing_is_left()

    code, out = job.end(job.start(restarts=1))
    assert code == 0, out
    assert "start 2: " in out
    assert "non-dominated networks, hypervolume" in out  # the front is printed
    assert {key: job.cli.finished()[key] for key in done} == done  # no finished trial ran again
    assert job.requeued == [job.number]
    job.assert_nothing_is_left()
    job.cli.audit()


@pytest.mark.slow
@pytest.mark.rare
def test_job_that_was_cancelled_is_not_put_back_into_the_queue(new_job):
    job = new_job(STATE="CANCELLED")
    process = job.start()
    eventually(lambda: (job.cli.home / "fragile").exists(), process)
    process.send_signal(signal.SIGTERM)
    code, out = job.end(process)
    assert (code, job.requeued) == (143, []), out
    job.assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.rare
def test_job_whose_ray_is_ended_goes_back_into_the_queue(new_job):
    job = new_job()
    process = job.start()
    job.cli.wait_for_training(process)
    [head] = [pid for pid, title in descendants(process.pid).items() if "ray start" in title and "srun" not in title]
    os.kill(head, signal.SIGTERM)  # as Slurm ends a step
    code, out = job.end(process)
    assert (code != 0, job.requeued) == (True, [job.number]), out
    job.assert_nothing_is_left()
    code, out = job.end(job.start(restarts=1))
    assert (code, "4 trials: 4 complete" in out) == (0, True), out
    job.cli.audit()


@pytest.mark.slow
@pytest.mark.rare
def test_job_with_a_database_goes_on_in_an_empty_home(new_job, postgres, tmp_path):
    url = postgres.new_database()
    job = new_job(SWEEPER_LEDGER=url, SWEEPER_HOME="", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    first = job.start()
    checkpoints = tmp_path / "storage"
    eventually(lambda: list(checkpoints.rglob("*.pt")), first)
    first.send_signal(signal.SIGTERM)
    code, out = job.end(first)
    assert (code, job.requeued) == (143, [job.number]), out
    job.assert_nothing_is_left()
    code, out = job.end(job.start(restarts=1))
    assert (code, "non-dominated networks, hypervolume" in out) == (0, True), out
