"""Checks of `sweeper doctor`, each on something that is really broken: packages, files, ports, servers, clusters."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sweeper.checks import machine, services, software
from sweeper.checks.doctor import Subject, _guarded, _tracking, examine
from sweeper.checks.finding import Verdict
from sweeper.cli import run as cli
from sweeper.errors import SpecError
from sweeper.isolated import ask
from sweeper.ledger.home import Home
from sweeper.limits import Limits
from sweeper.provenance import DISTRIBUTION, namesake, own_version
from tests.support.local_cluster import local_cluster

ROOT = Path(__file__).parents[2]
VERSIONS = SpecifierSet(">=3.10,<4")
GIB = 2**30


def told(finding):
    """Return verdict, finding and way out; every finding except an ok must have a way out."""
    assert (finding.verdict is Verdict.OK) == (not finding.way_out)
    return str(finding.verdict), finding.found, finding.way_out


# --- software ---------------------------------------------------------------------------------------


def test_python_is_compared_with_what_the_distribution_asks_for():
    assert told(software.python("3.12.1", ">=3.11")) == ("ok", "3.12.1", "")
    verdict, found, way_out = told(software.python("3.10.9", ">=3.11"))
    assert (verdict, found) == ("problem", "Python is 3.10.9, but sweeper needs >=3.11")
    assert "PYTHON=python3.12" in way_out


def test_packages_that_are_missing_too_old_or_not_complete_are_named():
    asked = [Requirement(text) for text in ("numpy>=1", "numpy>=99", "no-such-package>=2", "ray[no-such-extra]")]
    found = software.unmet(asked)
    assert found[0].startswith("numpy is ")
    assert found[0].endswith(", but numpy>=99 is needed")
    assert found[1:] == ["no-such-package>=2 is not installed"]
    assert [finding.verdict for finding in software.packages(asked)] == ["problem", "problem"]
    assert told(next(iter(software.packages([]))))[1].startswith("sweeper is not installed in this environment")


def test_extra_of_a_package_is_looked_into(tmp_path, monkeypatch):
    (tmp_path / "half-1.0.dist-info").mkdir()
    (tmp_path / "half-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: half\nVersion: 1.0\nProvides-Extra: rest\n"
        "Requires-Dist: numpy\nRequires-Dist: not-there; extra == 'rest'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert software.unmet([Requirement("half")]) == []
    assert software.unmet([Requirement("half[rest]")]) == ["half[rest] is not complete: not-there is not installed"]
    jobs = software.job_submission(software.asked(software.requirements_of("half"), "rest"))
    assert told(jobs)[0] == "warning", "only submitting jobs needs it"
    assert "not-there" in jobs.found


def test_what_sweeper_asks_for_is_read_from_its_own_metadata():
    names = {one.name for one in software.asked(software.requirements_of(DISTRIBUTION))}
    assert {"ray", "mlflow", "optuna"} <= names
    assert "pytest" not in names, "what developers need is no need of users"
    twice = [Requirement("pillow>=11"), Requirement("pillow<14")]
    assert software.modules_of([*twice, Requirement("scikit-learn"), Requirement("ray[tune]")]) == [
        "PIL",
        "sklearn",
        "ray",
        "ray.tune",
    ]


@pytest.mark.parametrize(
    ("summary", "named"),
    [
        ("Find and delete duplicate files", "sweeper 9.9, a stranger's package that deletes duplicate files"),
        ("Maps how a neural network trades breadth, depth and time: durable sweeps", "under its former name"),
    ],
)
def test_stranger_of_the_same_name_is_a_problem_with_the_way_out(tmp_path, monkeypatch, summary, named):
    assert list(software.names(None)) == []
    (tmp_path / "sweeper-9.9.dist-info").mkdir()
    (tmp_path / "sweeper-9.9.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: sweeper\nVersion: 9.9\nSummary: {summary}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (found,) = software.names(namesake())
    assert (found.verdict, named in found.found) == ("problem", True)
    assert "pip uninstall sweeper; pip install --force-reinstall --no-deps pareto-sweeper" in found.way_out
    assert software.version_of("sweeper") == "9.9"
    assert own_version() != "9.9"


def test_import_that_fails_is_named_with_its_true_error_and_hides_no_other(tmp_path, monkeypatch):
    """Holds also for a package that ends the process that imports it."""
    (tmp_path / "raises.py").write_text("raise ImportError('libhidden.so.3: cannot open shared object file')")
    (tmp_path / "dies.py").write_text("import os\nos.abort()")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('no licence')")
    (tmp_path / "whole.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    findings = list(software.imports(["raises", "dies", "leaves", "whole"]))
    assert [told(finding)[:2] for finding in findings] == [
        ("problem", "`import raises` fails: ImportError: libhidden.so.3: cannot open shared object file"),
        ("problem", f"`import dies` fails: the process ended by signal {int(signal.SIGABRT)}"),
        ("problem", "`import leaves` fails: SystemExit: no licence"),
    ]
    assert told(next(iter(software.imports(["whole"])))) == ("ok", "whole", "")


def test_gpu_that_this_build_of_torch_cannot_use_is_a_warning(tmp_path):
    facts = {"version": "2.13.0", "built_for": "CPU", "devices": [], "threads": 2, "recurrences": ["avx2", "torch"]}
    (tmp_path / "nvidiactl").touch()
    assert told(software.torch_build(facts, [tmp_path / "none"]))[0] == "ok"
    verdict, found, _ = told(software.torch_build(facts, [tmp_path / "none", tmp_path / "nvidiactl"]))
    assert (verdict, "nvidiactl) that this torch cannot use" in found) == ("warning", True)
    assert told(software.torch_build(facts | {"devices": ["H100"]}, [tmp_path / "nvidiactl"]))[0] == "ok"
    assert "devices: the process ended by signal 11" in software.torch_build("the process ended by signal 11").found


@pytest.mark.slow
def test_what_networks_run_in_is_said_and_torch_is_a_warning_that_names_the_way_out():
    (facts,) = ask(["torch"], 60)
    assert facts["recurrences"][-1] == "torch"
    assert facts["step_ms"].keys() == set(facts["recurrences"])
    assert all(took > 0 for took in facts["step_ms"].values())
    both = facts | {"recurrences": ["avx2", "torch"], "step_ms": {"avx2": 2.04, "torch": 5.1}}
    assert told(software.recurrence(both)) == (
        "ok",
        "networks run in code compiled for avx2: a training step of eight networks of 3 × 8 channels takes 2.0 ms, 2.5 times "
        "faster than in torch",
        "",
    )
    verdict, found, way_out = told(software.recurrence(both | {"recurrences": ["torch"]}))
    assert (verdict, found.split(",")[0]) == ("warning", "networks run in torch")
    assert "install a C compiler" in way_out
    assert told(software.recurrence("the process ended by signal 11"))[0] == "warning"


def test_browser_that_is_missing_is_a_warning_that_names_where_it_was_looked_for(monkeypatch):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    (facts,) = ask(["browser"], 60)
    verdict, found, way_out = told(software.browser(facts))
    assert (verdict, found) == ("warning", "there is no Chrome or Chromium at BROWSER_PATH=/nowhere/chromium")
    assert "BROWSER_PATH" in way_out
    monkeypatch.setenv("BROWSER_PATH", sys.executable)  # `doctor` looks for the file and does not start it
    assert told(software.browser(ask(["browser"], 60)[0]))[0] == "ok"
    assert "asked for its browser: no answer within 1 s" in software.browser("no answer within 1 s").found


# --- the machine ------------------------------------------------------------------------------------


def test_processors_are_said_with_who_leaves_them_and_so_many_workers_there_are():
    whole = Limits(8, 8, 64 * GIB, 60 * GIB)
    assert told(machine.processors(whole)) == ("ok", "8, so that many workers by default", "")
    assert told(machine.memory(whole))[:2] == ("ok", "60.0 GiB free of 64.0 GiB")
    part = Limits(8, 1.5, 4 * GIB, 3 * GIB, "Slurm", "Slurm")
    assert told(machine.processors(part)) == (
        "ok",
        "this process may use 1.5 of this machine's 8, as Slurm says: by default there is 1 worker",
        "",
    )
    assert told(machine.memory(part))[1] == "3.0 GiB free of 4.0 GiB, as Slurm says"


def test_home_is_written_locked_and_left_as_it_was(tmp_path):
    assert told(machine.home(tmp_path)) == ("ok", f"{tmp_path} can be written and locked", "")
    assert told(machine.home(tmp_path / "a" / "b"))[:2] == (
        "ok",
        f"{tmp_path} can be written and locked; {tmp_path}/a/b will be made there",
    )
    assert list(tmp_path.iterdir()) == []


def test_home_that_cannot_be_one_is_a_problem_with_its_reason(tmp_path):
    (tmp_path / "plain").touch()
    assert told(machine.home(tmp_path / "plain"))[1] == f"the home must be a folder, but got the file {tmp_path}/plain"
    assert told(machine.home(tmp_path / "plain" / "home"))[0] == "problem"
    assert "in its path, which database addresses cannot hold" in told(machine.home(tmp_path / "a\udcffb"))[1]
    verdict, found, way_out = told(machine.home(Path("/proc/home")))
    assert (verdict, "/proc cannot be written: " in found, "--home" in way_out) == ("problem", True, True)


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /net rw - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /net/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /with\\040blank rw - fuse.sshfs me@host: rw
33 22 0:42 / /memory rw - tmpfs tmpfs rw
34 22 0:43 / /joined rw - fuse.fuse-overlayfs fuse-overlayfs rw
35 22 0:44 / /twice rw - ext4 /dev/sdc1 rw
36 22 0:45 / /twice rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "verdict", "kind"),
    [
        ("/home/me", "ok", "ext4, mounted at /"),
        ("/net", "problem", "nfs4"),
        ("/net/me/sweeps", "problem", "nfs4"),
        ("/network", "ok", "ext4"),
        ("/net/local/sweeps", "ok", "xfs"),
        ("/with blank/sweeps", "problem", "fuse.sshfs"),
        ("/memory/sweeps", "warning", "tmpfs"),
        ("/joined/sweeps", "ok", "fuse.fuse-overlayfs"),
        ("/twice", "problem", "cifs"),
    ],
)
def test_file_system_of_a_network_is_a_problem(path, verdict, kind):
    finding = machine.file_system(Path(path), MOUNTS)
    assert told(finding)[0] == verdict
    assert f"{path} is on {kind}" in finding.found


def test_file_system_of_this_machine_is_known(tmp_path):
    finding = machine.file_system(tmp_path, Path("/proc/self/mountinfo").read_text())
    assert "mounted at /" in finding.found


def test_what_a_sweep_needs_is_compared_with_what_there_is():
    here = Limits(8, 8, 16 * GIB, 8 * GIB)

    def verdicts(memory, disk):
        return [told(finding)[0] for finding in machine.needs(memory, disk, here, 10 * GIB)]

    assert verdicts(2 * GIB, GIB) == ["ok", "ok"]
    assert verdicts(10 * GIB, 6 * GIB) == ["warning", "warning"]
    assert verdicts(16 * GIB, 11 * GIB) == ["problem", "problem"]
    assert [told(machine.disk(free))[0] for free in (5 * GIB, GIB // 2, 2**20)] == ["ok", "warning", "problem"]


# --- Ray --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "verdict"), [(None, "ok"), ("disabled", "ok"), ("token", "ok"), ("on", "warning")])
def test_authentication_mode_that_ray_does_not_know_is_a_warning(mode, verdict):
    assert told(services.authentication(mode))[0] == verdict


@contextmanager
def a_silent_port():
    """A port where something listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_folder_that_is_too_deep_for_a_socket_is_a_problem_that_names_the_variable(name):
    deep = "/tmp/a_rather_long_folder_for_temporary_files/of_a_user_on_a_cluster/job.1234567/tmp"
    verdict, found, way_out = told(services.sockets({name: deep}))
    assert verdict == "problem"
    assert f"below {deep}, the folder that {name} names" in found
    assert "export RAY_TMPDIR=/tmp" in way_out
    assert told(services.sockets({name: deep, "RAY_TMPDIR": "/short"}))[0] == "ok"
    assert told(services.sockets({}))[:2] == ("ok", "they fit below /tmp")


def test_cluster_that_does_not_answer_is_named_with_the_reason():
    (finding,) = services.cluster("127.0.0.1:9", None)
    verdict, found, way_out = told(finding)
    assert (verdict, way_out.startswith("Check the address")) == ("problem", True)
    assert "the Ray cluster at 127.0.0.1:9 cannot be reached: [Errno 111] Connection refused" in found
    (finding,) = services.cluster("http://127.0.0.1:9", None)
    assert "no job server can be reached at http://127.0.0.1:9: [Errno 111] Connection refused" in told(finding)[1]


@pytest.mark.slow
def test_port_where_no_ray_head_listens_is_named(monkeypatch):
    monkeypatch.setattr(services, "_CLUSTER_TIMEOUT_S", 3)  # the real limit allows for a slow head
    with a_silent_port() as port:
        (finding,) = services.cluster(f"127.0.0.1:{port}", None)
    assert told(finding)[0] == "problem"
    assert f"something listens at 127.0.0.1:{port}, but no Ray head answers: no answer within 3 s" in finding.found


@pytest.fixture
def no_token(monkeypatch, tmp_path):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.rare
@pytest.mark.slow
def test_authentication_of_a_real_cluster_is_compared_with_the_one_here(no_token, monkeypatch):
    def judged(address, mode):
        return [told(finding)[:2] for finding in services.cluster(address, mode)]

    with local_cluster(0, "token", "a" * 64) as cluster:
        address = cluster.address
        asks = f"the cluster at {address} asks for a token"
        unset = f"{asks}, but RAY_AUTH_MODE is not set, which means disabled on the loopback here"
        assert judged(address, None) == [("problem", unset)]
        assert judged(address, "disabled") == [("problem", f"{asks}, but RAY_AUTH_MODE is disabled here")]
        assert judged(address, "token") == [("problem", f"{asks}, but none is known here")]
        monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
        assert judged(address, "token") == [("problem", f"{asks}, and refuses the one known here")]
        monkeypatch.setenv("RAY_AUTH_TOKEN", "a" * 64)
        assert judged(address, "token")[0] == ("ok", f"{asks}, and takes the one known here")
        assert judged(address, "token")[1][1].startswith(f"{address} answers: Ray ")
        # In another process, because Ray keeps the mode and the token that a process began with.
        code, out, err = cluster.sweeper("doctor", "--address", cluster.jobs, "--json", "--home", "sweeps")
        assert f"{cluster.jobs} answers; sweeps there: none" in [f["found"] for f in json.loads(out)["findings"]], err
        refused = {**cluster.environment, "RAY_AUTH_TOKEN": "b" * 64}
        code, out, err = cluster.sweeper("doctor", "--address", cluster.jobs, "--json", environment=refused)
        assert (code, "refuses the token that is known here" in out) == (5, True), err
    with local_cluster(0, "disabled") as cluster:
        assert [verdict for verdict, _ in judged(cluster.address, None)] == ["ok", "ok"]
        assert judged(cluster.address, "token")[0][0] == "warning"


def test_other_versions_on_a_cluster_are_a_problem():
    verdict, found, _ = told(services._versions("head:6379", {"ray": "1.0", "python": "3.7.0"}))
    assert (verdict, "Ray 1.0 there and " in found, "Python 3.7.0 there" in found) == ("problem", True, True)


# --- MLflow -----------------------------------------------------------------------------------------


@contextmanager
def a_server(code, text):
    """A server that gives the same answer to every request."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_):
            pass

    asked = []
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("code", "text", "verdict", "said"),
    [
        (200, "3.17.2", "ok", "MLflow 3.17.2 answers at"),
        (200, "3.18.0.dev0", "ok", "MLflow 3.18.0.dev0 answers"),
        (200, "2.9.2", "problem", "MLflow 2.9.2 answers at http://127.0.0.1:"),
        (200, "3.2.0", "problem", "was made for mlflow<4,>=3.10"),
        (200, "4.0.0", "warning", "was made for mlflow<4,>=3.10"),
        (200, "<!doctype html>", "problem", "something other than MLflow answers"),
        (404, "no", "problem", "does not know its version (HTTP 404)"),
        (500, "no", "problem", "(HTTP 500)"),
        (401, "who?", "ok", "asks for a login"),
        (403, "Invalid Host header", "problem", "refuses this machine: Invalid Host header"),
    ],
)
def test_version_of_a_tracking_server_is_judged(code, text, verdict, said):
    with a_server(code, text) as (place, _):
        finding = services.server(f"http://{place}/", VERSIONS)
    assert told(finding)[0] == verdict
    assert said in finding.found


def test_password_of_a_tracking_server_is_sent_and_never_shown():
    with a_server(200, "2.0.0") as (place, asked):
        finding = services.server(f"http://me:hunter%402@{place}/prefix", VERSIONS)
    assert asked == [("/prefix/version", "Basic bWU6aHVudGVyQDI=")]
    assert "hunter" not in f"{finding}"
    assert f"http://***@{place}/prefix" in finding.found


def test_login_that_mlflow_would_send_is_tried_where_a_tracking_server_asks_for_one(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter@2")
    with a_server(401, "who?") as (place, asked):
        finding = services.server(f"http://{place}", VERSIONS)
    assert asked == [("/version", None), ("/version", "Basic bWU6aHVudGVyQDI=")]
    assert (told(finding)[0], "asks for a login" in finding.found) == ("ok", True)
    assert "hunter" not in f"{finding}"


def test_tracking_server_that_cannot_be_reached_is_a_problem_with_the_reason():
    finding, *more = services.tracking("http://127.0.0.1:9", VERSIONS)
    assert not more
    verdict, found, way_out = told(finding)
    assert (verdict, found) == ("problem", "http://127.0.0.1:9 cannot be reached: [Errno 111] Connection refused")
    assert "cluster/tracking/start-server.sh" in way_out


def test_tracking_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(services, "_VERSION_TIMEOUT_S", 0.5)
    with a_silent_port() as port:
        finding = services.server(f"http://127.0.0.1:{port}", VERSIONS)
    assert told(finding)[1] == f"http://127.0.0.1:{port} cannot be reached: no answer within seconds"


def test_tracking_database_that_is_gone_is_told_from_one_that_was_never_made(tmp_path):
    home = Home(tmp_path)
    folder = home.sweep("first")
    folder.path.mkdir()
    (folder.path / "ledger.db").touch()
    assert [told(one)[0] for one in _tracking(Subject(tmp_path), VERSIONS)] == ["ok"]
    folder.keep_tracking_uri(home.tracking_uri)
    verdict, found, way_out = told(*_tracking(Subject(tmp_path), VERSIONS))
    assert (verdict, found) == (
        "warning",
        f"{tmp_path}/mlflow.db is gone, and 1 sweeps of this home were mirrored there",
    )
    assert way_out.endswith("sweeper mirror first")


def test_tracking_database_that_is_not_there_yet_is_no_problem(tmp_path):
    (finding,) = services.tracking(f"sqlite:///{tmp_path}/mlflow.db", VERSIONS)
    assert told(finding) == ("ok", f"{tmp_path}/mlflow.db is not there yet: the first run makes it", "")
    assert list(tmp_path.iterdir()) == []


def test_tracking_database_is_reached_or_named(tmp_path, empty_database):
    (finding,) = services.tracking(f"sqlite:///{empty_database}", VERSIONS)
    assert told(finding) == ("ok", f"MLflow answers at sqlite:///{empty_database}", "")
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    (finding,) = services.tracking(f"sqlite:///{tmp_path}/mlflow.db", VERSIONS)
    assert told(finding)[0] == "problem"
    (finding,) = services.tracking("mlruns", VERSIONS)
    assert "'mlruns' names a folder" in told(finding)[1]


def test_tracking_database_of_another_version_is_named_and_not_upgraded(tmp_path, empty_database):
    """MLflow itself upgrades a database that lacks a table as soon as it opens the database."""
    file = tmp_path / "mlflow.db"
    shutil.copy(empty_database, file)
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
        database.execute("DROP TABLE IF EXISTS logged_model_tags")
    before = file.read_bytes()
    (finding,) = services.tracking(f"sqlite:///{file}", VERSIONS)
    verdict, found, way_out = told(finding)
    assert (verdict, "(451aebb31d03, but " in found) == ("problem", True)
    assert way_out.endswith(f"mlflow db upgrade sqlite:///{file}")
    assert file.read_bytes() == before


def test_variable_that_names_a_run_is_a_warning():
    assert services.run_variable(None) is None
    assert told(services.run_variable("abc"))[0] == "warning"


# --- all checks -------------------------------------------------------------------------------------


def test_check_that_breaks_is_a_finding_and_not_the_end():
    def broken():
        raise AttributeError("module 'x' has no attribute 'y'")

    (finding,) = _guarded("one", broken)
    assert told(finding)[1] == "could not be checked: AttributeError: module 'x' has no attribute 'y'"


def test_spec_that_is_wrong_is_a_mistake_and_no_finding(tmp_path):
    with pytest.raises(SpecError, match="quickstrat"):
        next(examine(Subject(tmp_path, space="quickstrat")))


@pytest.fixture
def sweeper(monkeypatch, capsys, tmp_path):
    for name in ("SWEEPER_HOME", "MLFLOW_TRACKING_URI", "RAY_ADDRESS", "RAY_AUTH_MODE", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.slow
def test_command_finds_what_is_wrong_and_leaves_nothing(sweeper, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    code, out, _ = sweeper("doctor", "smoke", "--workers", "1", "--tracking-uri", "http://127.0.0.1:9", "--json")
    answer = json.loads(out)
    found = {one["check"]: one for one in answer["findings"]}
    assert (code, answer["problems"]) == (5, 1), answer
    assert found["tracking server"]["verdict"] == "problem"
    assert found["mlflow run"]["verdict"] == "warning"
    ok = ("python", "packages", "imports", "torch", "home", "ray auth", "memory of the sweep", "disk of the sweep")
    assert [found[check]["verdict"] for check in ok] == ["ok"] * len(ok)
    assert list(tmp_path.iterdir()) == []


def test_command_says_one_line_a_check_and_the_way_out_below(sweeper, monkeypatch):
    from sweeper.checks import doctor
    from sweeper.checks.finding import fine, problem

    findings = [fine("python", "3.11 [odd]"), problem("home", "/x cannot be written", "Name another one.")]
    monkeypatch.setattr(doctor, "examine", lambda place: iter(findings))
    code, out, _ = sweeper("doctor")
    assert code == 5
    assert out == (
        "ok       python: 3.11 [odd]\nproblem  home: /x cannot be written\n         -> Name another one.\n1 problem\n"
    )


def test_command_with_a_wrong_spec_ends_with_2(sweeper):
    code, out, err = sweeper("doctor", "quickstrat")
    assert (code, out) == (2, "")
    assert "'quickstrat'" in err
