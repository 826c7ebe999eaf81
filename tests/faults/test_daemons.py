"""Ray's own processes are killed under a driver, which then ends with a sentence and can be resumed, or goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweeper.exit_codes import ExitCode
from tests.faults.rig import HALF, PATIENCE_S, descendants, eventually

pytestmark = pytest.mark.slow

#: A part of the title of each process of Ray that a driver starts.
DAEMONS = (
    "raylet/raylet",
    "gcs/gcs_server",
    "ray::DashboardAgent",
    "ray::RuntimeEnvAgent",
    "log_monitor.py",
    "monitor.py",
)


def found(process, title):
    return [pid for pid, name in descendants(process.pid).items() if title in name]


@pytest.mark.parametrize(
    "title", ["raylet/raylet", *(pytest.param(one, marks=pytest.mark.rare) for one in DAEMONS[1:])]
)
def test_driver_whose_ray_loses_a_process_ends_in_a_sentence_and_goes_on(new_cli, title, assert_undisturbed):
    cli = new_cli(HALF)
    process = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(process)
    os.kill(found(process, title)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode in (ExitCode.DONE, ExitCode.NOT_YET), (process.returncode, out, err)
    assert "Traceback" not in out + err
    if process.returncode == ExitCode.NOT_YET:
        assert "on this machine has died, so that nothing more can be trained: every outcome so far is safe" in err
        assert "continue with:\n" in out
        assert "  sweeper resume fragile\n" in out
        assert "4 complete" in cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
@pytest.mark.parametrize("title", DAEMONS[:2])
def test_ray_that_loses_a_process_as_it_starts_is_started_again(new_cli, title, assert_undisturbed):
    cli = new_cli(HALF)
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    os.kill(eventually(lambda: found(process, title), process)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err
    assert process.returncode in (ExitCode.DONE, ExitCode.NOT_YET), (process.returncode, out, err)
    if process.returncode == ExitCode.NOT_YET:
        assert "4 complete" in cli.end(cli.start("resume", "fragile", "--workers", "2"))
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
@pytest.mark.parametrize("when", ["raylet/raylet", "ray::IDLE"])
def test_head_that_dies_before_the_first_job_ends_in_a_sentence_and_not_in_rays_own(new_cli, when, assert_undisturbed):
    cli = new_cli(HALF)
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    eventually(lambda: found(process, when), process)
    os.kill(found(process, "gcs/gcs_server")[0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "The program will terminate" not in out + err
    # If the daemon dies while the driver registers with it, Ray's core ends the driver at once.
    if not (process.returncode == 1 and "Failed to register worker to Raylet" in err):
        assert process.returncode in (ExitCode.DONE, ExitCode.NOT_YET), (process.returncode, out, err)
    if process.returncode == ExitCode.NOT_YET:
        assert re.search("Ray's .*on this machine ha(s|ve) died", err), err
        assert "  sweeper resume fragile\n" in out
    command = ["resume", "fragile"] if cli.sweep.is_planned else ["run", "fragile.yaml"]
    assert "4 complete" in cli.end(cli.start(*command, "--workers", "2"))
    assert_undisturbed(cli)
    cli.audit()


@pytest.mark.rare
def test_ray_that_never_starts_is_one_sentence_and_leaves_nothing_behind(new_cli, tmp_path):
    cli = new_cli(HALF, RAY_raylet_start_wait_time_s="1", RAY_TMPDIR="/proc/nowhere")
    process = cli.start("run", "fragile.yaml", "--workers", "2")
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == ExitCode.MISTAKE, (process.returncode, out, err)
    assert (err.count("sweeper: "), "Traceback" in out + err) == (1, False), err


#: Program that asks a head for its version.
ASKS = """
import sys
from sweeper.execution.ray_private import head_facts
print(head_facts(sys.argv[1]).get("ray_version"))
"""


@pytest.mark.rare
def test_ray_of_a_run_lets_nobody_in_and_leaves_no_folder(new_cli):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # a short path, because sockets lie in it
    cli = new_cli(HALF, RAY_TMPDIR=str(folder))
    process = cli.start("run", "fragile.yaml", "--workers", "1")
    cli.wait_for_training(process)
    [own] = folder.iterdir()
    assert own.stat().st_mode & 0o777 == 0o700
    titles = descendants(process.pid).values()
    head = next(found[1] for title in titles if (found := re.search(r"--gcs-address=(\S+)", title)))
    for mode, token in (("disabled", ""), ("token", "f" * 64)):
        environment = cli.environment | {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": token}
        asked = subprocess.run(
            [sys.executable, "-c", ASKS, head],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert asked.returncode != 0, asked.stdout
        assert "token" in asked.stderr.lower() or "unauthenticated" in asked.stderr.lower(), asked.stderr
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143, (process.returncode, out, err)
    folder.rmdir()  # fails unless the folder is empty
