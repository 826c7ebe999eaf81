"""The recipe's tracking server, really started with PostgreSQL, an object store and a login, and sweeps that use it."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sweeper.checks.services import tracking as examined
from sweeper.cli import run as cli
from sweeper.driver.sweep import Sweep
from sweeper.errors import TrackingError
from sweeper.execution.executors import InlineExecutor
from sweeper.ledger.home import NOT_KEPT, Home
from sweeper.spec import load_spec
from sweeper.tracking.mlflow.client import connect
from sweeper.tracking.mlflow.reader import MlflowReader
from sweeper.tracking.mlflow.recorder import MlflowRecorder
from tests.checks.test_doctor import VERSIONS
from tests.driver.test_sweep import good
from tests.faults.rig import ROOT, descendants
from tests.support import servers

pytestmark = pytest.mark.slow

BUCKET_SECRET = "bucket-s3cr3t-0f-the-server"
DATABASE_SECRET = servers.Postgres.password

#: Passwords by user. Their permissions differ: the sweep is alice's.
USERS = {"alice": "alice's w0rd/for@it", "bob": "bob is 12 long%", "carol": "carol-has-nothing"}


@dataclass(frozen=True)
class Team:
    """A server with users, its database and its bucket."""

    server: servers.Tracking
    postgres: servers.Postgres
    database: str
    bucket: str

    @property
    def uri(self):
        return self.server.uri

    def users(self, *words, password="", check=True, **more):
        """Run the script that makes users, as the administrator, with a password on its standard input."""
        environment = login("admin", (self.server.folder / "admin-password").read_text().strip()) | more
        return subprocess.run(
            [sys.executable, servers.RECIPE / "users.py", *words],
            env={**os.environ, "MLFLOW_TRACKING_URI": self.uri, **environment},
            input=password,
            check=check,
            capture_output=True,
            text=True,
        )


def login(user, password):
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}


def written(file, text):
    """Write a secret into a file that only its owner may read, as users must."""
    file.write_text(text)
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def team(postgres, tmp_path_factory):
    """A complete server, as a team would run it; alice has mirrored a sweep to it."""
    for package in ("moto", "flask_wtf", "boto3"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'pareto-sweeper[dev]'")
    folder = tmp_path_factory.mktemp("team")
    database = postgres.new_database()
    with (
        pytest.MonkeyPatch.context() as patch,
        servers.object_stores() as how,
        servers.empty_bucket(how, patch.setenv) as uri,
    ):
        host = re.search(r"endpoint_override=([\w.:]+)", uri).group(1)
        bucket = uri.split("?")[0]
        options = ["--database", re.sub(r":[^:@/]*@", "@", database)]
        options += ["--database-password-file", str(written(folder / "database", DATABASE_SECRET))]
        options += [
            "--artifacts",
            f"{bucket}/mlflow",
            "--s3-secret-file",
            str(written(folder / "bucket", BUCKET_SECRET)),
        ]
        of_bucket = {"MLFLOW_S3_ENDPOINT_URL": f"http://{host}", "AWS_ACCESS_KEY_ID": "mlflow"}
        with servers.tracking(folder / "served", "--auth", *options, **of_bucket) as server:
            found = Team(server, postgres, database, uri)
            for user, password in USERS.items():
                found.users("add", user, password=password)
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.delenv(name)  # clients need no key of the bucket
            patch.setenv("MLFLOW_TRACKING_USERNAME", "alice")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", USERS["alice"])
            run(folder / "home", server.uri)
            found.users("grant", "carol", "smoke", "READ")
            found.users("grant", "carol", "smoke", "DENY")
            yield found
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                patch.setenv(name, "test")  # needed to empty the bucket


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder of a user without any settings."""
    for name in [*os.environ]:
        if name.startswith(("SWEEPER_", "MLFLOW_", "RAY_", "AWS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def become(monkeypatch):
    """A function that logs a user in through the environment."""

    def call(user, password=None):
        for name, value in login(user, USERS[user] if password is None else password).items():
            monkeypatch.setenv(name, value)

    return call


@pytest.fixture
def sweeper(monkeypatch, capsys):
    """The command line in this process; returns exit code, output and errors."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["sweeper", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, *capsys.readouterr()

    return call


def run(home, uri, name="smoke", **options):
    """Run a sweep without Ray and training, and mirror it to a server."""
    options = {"executor": InlineExecutor(), "work": good, "workers": 4} | options
    return Sweep(name, home, uri).run(load_spec("smoke", name=name), **options)


# --- a sweep on a server with a login ----------------------------------------------------------------


def test_client_that_knows_address_and_login_alone_reads_everything(team, sweeper, become, place, monkeypatch, caplog):
    caplog.set_level("INFO", "werkzeug")  # the object store's own log
    become("bob")  # bob may read sweeps of others
    monkeypatch.setenv("MLFLOW_TRACKING_URI", team.uri)
    code, out, err = sweeper("pareto", "smoke", "--json")
    assert (code, err) == (0, "")
    assert '"accuracy": 0.5' in out
    code, out, err = sweeper("trials", "smoke", "--format", "csv")
    assert (code, len(out.splitlines())) == (0, 9), err
    code, out, err = sweeper("watch", "smoke", "--once", "--json")
    assert (code, '"stage": "finished"' in out) == (0, True), out + err
    code, out, err = sweeper("report", "smoke", "--no-log")
    assert (code, (place / "smoke.html").stat().st_size > 1_000_000) == (0, True), err
    assert {path.name for path in place.iterdir()} == {"smoke.html"}, "nothing else is left where it was asked"
    asked = [record.getMessage() for record in caplog.records if "GET /bucket/" in record.getMessage()]
    assert asked, "artifacts were read from the bucket"
    assert not [line for line in asked if "X-Amz-Signature" in line], "by the server alone, which needs no such address"


def test_command_in_a_process_of_its_own_reads_a_front_with_the_login_of_its_environment(team, place):
    environment = {**os.environ, **login("bob", USERS["bob"]), "MLFLOW_TRACKING_URI": team.uri, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "pareto", "smoke"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "accuracy" in done.stdout) == (0, True), done.stderr
    assert USERS["bob"] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("user", "password", "status", "said"),
    [
        ("", "", 401, "asks for a user and a password that it knows"),
        ("alice", "not her w0rd at all", 401, "asks for a user and a password that it knows"),
        ("mallory", "nobody knows her", 401, "asks for a user and a password that it knows"),
        ("carol", USERS["carol"], 403, "does not let this user do that"),
    ],
)
@pytest.mark.parametrize(
    "words",
    [("pareto", "smoke"), ("trials", "smoke"), ("watch", "smoke", "--once"), ("report", "smoke"), ("run", "smoke")],
    ids=lambda words: words[0],
)
def test_login_that_does_not_do_is_one_error_that_names_address_and_variables(
    team, sweeper, become, place, words, user, password, status, said
):
    become(user, password)
    code, out, err = sweeper(*words, "--tracking-uri", team.uri)
    assert (code, out) == (2, ""), err
    assert err.count("sweeper: ") == 1
    assert f"MLflow at {team.uri} {said} (HTTP {status})" in err
    assert "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in err
    assert "Traceback" not in err
    assert not password or password not in err


@pytest.mark.rare
def test_user_who_may_only_read_a_sweep_cannot_go_on_with_it(team, become, tmp_path):
    become("alice")
    run(tmp_path / "home", team.uri, name="mine")
    become("bob")
    with pytest.raises(TrackingError, match=r"open sweep 'mine'.*not let this user do that \(HTTP 403\)"):
        Sweep("mine", tmp_path / "home").mirror()
    team.users("grant", "bob", "mine", "EDIT")
    assert Sweep("mine", tmp_path / "home").mirror().is_mirrored


def test_login_in_the_address_works_and_is_kept_nowhere(team, sweeper, tmp_path, become, monkeypatch):
    become("alice")
    in_address = team.uri.replace("://", "://alice:alice's%20w0rd%2Ffor%40it@")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        os.environ.pop(name)  # the fixture `become` restores the former values
    assert run(tmp_path / "home", in_address, name="addressed").is_mirrored
    assert Home(tmp_path / "home").sweep("addressed").tracking_uri == NOT_KEPT
    monkeypatch.setenv("MLFLOW_TRACKING_URI", in_address)  # a command line would show it to everybody
    code, out, err = sweeper("pareto", "addressed")
    assert (code, "accuracy" in out) == (0, True), err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", in_address.replace("w0rd", "word"))
    code, out, err = sweeper("pareto", "addressed")
    assert (code, out) == (2, "")
    assert f"MLflow at {team.uri.replace('://', '://***@')} asks for a user and a password" in err
    assert "mend the login in the address" in err
    assert "w0rd" not in err
    assert "alice" not in err
    kept = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert [form for form in forms("alice's w0rd/for@it", "alice") if form in kept] == []


def forms(secret, user=""):
    """Return a secret as bytes, in every encoding in which it may be written."""
    from urllib.parse import quote

    texts = {secret, quote(secret), quote(secret, safe=""), quote(secret, safe="'")}
    texts |= {base64.b64encode(f"{user}:{secret}".encode()).decode()} if user else set()
    return sorted(text.encode() for text in texts)


def rows(team):
    """Return the whole content of the server's database as text."""
    name = team.database.rpartition("/")[2]
    tables = team.postgres.execute("select tablename from pg_tables where schemaname = 'public'", name)
    assert {"runs", "users"} <= {table for (table,) in tables}, "runs and users are in one database"
    return "\n".join(
        str(row) for (table,) in tables for row in team.postgres.execute(f'select t::text from "{table}" t', name)
    )


def objects(team, monkeypatch):
    """Return the content of every object in the bucket, by name."""
    from pyarrow.fs import FileSelector, FileSystem

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    system, bucket = FileSystem.from_uri(team.bucket)
    files = [file for file in system.get_file_info(FileSelector(bucket, recursive=True)) if file.is_file]
    return {file.path: system.open_input_stream(file.path).read() for file in files}


def test_no_secret_is_left_in_homes_databases_artifacts_logs_or_arguments(team, become, tmp_path, monkeypatch, capfd):
    become("alice")
    lines = [title.encode() for title in descendants(os.getpid()).values()]
    run(tmp_path / "home", team.uri, name="quiet")
    lines += [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _is_there(path)]
    assert any(b"mlflow" in line for line in lines), "the server's own arguments are among them"
    stored = objects(team, monkeypatch)
    assert any(path.endswith("spec.yaml") for path in stored), "artifacts are in the bucket, through the server"
    own = {"admin-password", "secret-key"}
    places = {
        "home": [path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()],
        "server": [
            path.read_bytes() for path in team.server.folder.rglob("*") if path.is_file() and path.name not in own
        ],
        "log": [team.server.log.read_bytes()],
        "database": [rows(team).encode()],
        "artifacts": [*stored.values(), *(path.encode() for path in stored)],
        "arguments": lines,
        "printed": [text.encode() for text in capfd.readouterr()],
    }
    assert b"alice" in places["database"][0], "what is sought would be found"
    secrets = [*forms(USERS["alice"], "alice"), *forms(USERS["bob"], "bob"), *forms(DATABASE_SECRET, "sweeper")]
    secrets += [BUCKET_SECRET.encode()]
    secrets += [(team.server.folder / name).read_text().strip().encode() for name in own]
    assert [
        (name, one) for name, found in places.items() for one in secrets if any(one in text for text in found)
    ] == []
    assert {path.name: path.stat().st_mode & 0o077 for path in team.server.folder.iterdir() if path.name in own} == {
        "admin-password": 0,
        "secret-key": 0,
    }


def _is_there(path):
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


@pytest.mark.rare
def test_sweep_at_the_command_line_leaves_its_login_with_no_worker_and_no_file(team, place, become):
    environment = {
        **os.environ,
        **login("alice", USERS["alice"]),
        "MLFLOW_TRACKING_URI": team.uri,
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "sweeper", "run", "smoke", "--name", "typed", "--workers", "1"]
    with (place / "out").open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
        seen = set()
        while process.poll() is None:
            seen |= set(descendants(process.pid).values())
            time.sleep(0.2)
    said = (place / "out").read_text()
    assert (process.returncode, "8 complete" in said) == (0, True), said
    assert any("ray::" in title for title in seen), "workers were seen"
    kept = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file()) + "".join(seen).encode()
    assert team.uri.encode() in kept, "what is sought would be found"
    assert [one for one in forms(USERS["alice"], "alice") if one in kept] == []
    become("alice")
    assert MlflowReader(team.uri, "typed").trials().table.num_rows == 8


@pytest.mark.rare
def test_driver_goes_on_when_the_server_was_away(team, become, tmp_path):
    become("alice")
    begun, go_on = threading.Event(), threading.Event()

    def work(job, report):
        if begun.is_set():
            go_on.wait(servers.PATIENCE_S)
        begun.set()
        return good(job, report)

    def drive():
        summaries.append(run(tmp_path / "home", team.uri, name="patient", work=work))

    summaries = []
    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    assert begun.wait(servers.PATIENCE_S)
    team.server.stop()
    team.server.start()
    go_on.set()
    driver.join(servers.PATIENCE_S)
    (summary,) = summaries
    assert (summary.counts.complete, summary.unmirrored) == (8, "")
    assert MlflowReader(team.uri, "patient").trials().table.num_rows == 8


def test_doctor_names_a_login_that_does_not_do(team, become):
    version, reached = examined(team.uri, VERSIONS)
    assert (version.verdict, "asks for a login" in version.found) == ("ok", True)
    assert (reached.verdict, "asks for a user and a password that it knows (HTTP 401)" in reached.found) == (
        "problem",
        True,
    )
    assert reached.way_out == "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
    become("bob", "not his w0rd at all")
    assert [finding.verdict for finding in examined(team.uri, VERSIONS)] == ["ok", "problem"]
    become("bob")
    version, reached = examined(team.uri, VERSIONS)
    assert re.search(r"^MLflow 3\.\d+\.\d+ answers at", version.found)
    assert (version.verdict, reached.verdict) == ("ok", "ok")


def test_name_that_the_server_does_not_answer_to_is_told_from_a_login(team, become):
    become("alice")
    by_name = team.uri.replace("127.0.0.1", "127.1")  # the same address in a spelling that is not allowed
    with pytest.raises(TrackingError, match=r"does not answer to this name \(HTTP 403\).*--allowed-hosts"):
        connect(by_name)


# --- users ----------------------------------------------------------------------------------------


def test_users_are_listed_changed_and_removed_by_an_administrator_alone(team, become):
    assert "admin (administrator)" in team.users("list").stdout.splitlines()
    team.users("add", "dave", password="dave has 12 letters")
    team.users("password", "dave", password="and other ones now")
    become("dave", "and other ones now")
    connect(team.uri)
    other = team.users(
        "add", "erin", password="erin has 12 letters", check=False, **login("dave", "and other ones now")
    )
    assert (other.returncode, "only an administrator" in other.stderr) == (2, True)
    team.users("remove", "dave")
    with pytest.raises(TrackingError, match="HTTP 401"):
        connect(team.uri)


@pytest.mark.parametrize(
    ("words", "password", "said"),
    [
        (("add", "frank"), "short", "at least 12 characters"),
        (("remove", "nobody"), "", "nobody"),
        (("grant", "bob", "no-such-sweep", "EDIT"), "", "no-such-sweep"),
    ],
)
def test_mistake_about_a_user_is_one_sentence(team, words, password, said):
    done = team.users(*words, password=password, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert team.uri in done.stderr


@pytest.mark.rare
def test_tables_are_upgraded_with_the_password_in_no_argument(team, become):
    url = re.sub(r"^postgresql://(\w+):[^@]*@", r"postgresql+psycopg://\1@", team.database)
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", url]
    done = subprocess.run(command, env={**os.environ, "PGPASSWORD": DATABASE_SECRET}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert DATABASE_SECRET.encode() not in done.stdout + done.stderr
    become("bob")
    assert len(MlflowReader(team.uri, "smoke").trials().table) == 8


# --- from SQLite to PostgreSQL, and the smaller servers ------------------------------------------------


@pytest.mark.rare
def test_sweep_moves_from_a_sqlite_file_to_the_server_by_its_ledger(team, become, place, empty_database, sweeper):
    home = place / "home"
    home.mkdir()
    (home / "mlflow.db").write_bytes(empty_database.read_bytes())
    before = Home(home).tracking_uri
    run(home, None, name="moved")
    become("alice")
    code, out, err = sweeper("mirror", "moved", "--home", home, "--tracking-uri", team.uri)
    assert (code, f"mirrored to {team.uri}" in out) == (0, True), err
    old, new = (MlflowReader(uri, "moved").fronts() for uri in (before, team.uri))
    assert [front.table for front in old] == [front.table for front in new]
    old, new = (MlflowReader(uri, "moved").trials().table.sort_by("key") for uri in (before, team.uri))
    assert old.equals(new)


def test_server_without_options_keeps_all_in_its_folder_and_asks_nobody(tmp_path):
    with servers.tracking(tmp_path / "served") as server:
        assert run(tmp_path / "home", server.uri).is_mirrored
        assert len(MlflowReader(server.uri, "smoke").fronts()) == 2
        assert {path.name for path in server.folder.iterdir()} == {"mlflow.db", "artifacts"}
        assert {path.stat().st_mode & 0o077 for path in server.folder.iterdir()} == {0}
        listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=False).stdout
        places = [line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{server.port}")]
        assert places in ([], [f"127.0.0.1:{server.port}"]), "nothing else listens; not every machine has ss"
    said = server.log.read_text()
    assert f"tracking server at {server.uri}, for this machine only" in said
    assert "login:     none" in said


@pytest.mark.rare
def test_login_with_sqlite_is_made_up_once_and_asked_for(tmp_path, become):
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("Flask-WTF is not installed: pip install 'pareto-sweeper[dev]'")
    with servers.tracking(tmp_path / "served", "--auth") as server:
        password = (server.folder / "admin-password").read_text().strip()
        assert password not in server.log.read_text()
        for guess in ("password1234", "password", "admin"):
            become("admin", guess)
            with pytest.raises(TrackingError, match="HTTP 401"):
                MlflowRecorder(server.uri)
        become("admin", password)
        MlflowRecorder(server.uri)
        server.stop()
        (server.folder / "admin-password").unlink()  # as its reader may
        server.start()
        MlflowRecorder(server.uri)
        assert not (server.folder / "admin-password").exists()
