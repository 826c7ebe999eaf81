#!/usr/bin/env python3
"""Start an MLflow tracking server for a team, in the foreground, and print who can reach it.

Secrets come from files that only their owner may read, or from the environment. MLflow gets them in its environment:
every user of a machine can see arguments, and MLflow would write them into its log.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

#: Least length of a password, by MLflow's own rule.
SHORTEST_PASSWORD = 12

#: Configuration of the user database and the login. `default_permission` applies to runs of other users. A correct
#: login is cached for a minute, because checking it takes longer than most requests.
AUTH_INI = """\
[mlflow]
default_permission = {permission}
database_uri = {database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""

PERMISSIONS = ("READ", "EDIT", "MANAGE", "NO_PERMISSIONS")


def fail(sentence: str) -> NoReturn:
    """End with one sentence, as a user's mistake."""
    print(f"start-server: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="start-server.sh", description=__doc__)
    add = parser.add_argument
    add("folder", type=Path, help="what the server keeps itself: SQLite files, artifacts, secrets that it makes")
    add("port", type=int, nargs="?", default=5000)
    add("--database", metavar="URL", help="runs in PostgreSQL, postgresql://user@host/database; default: SQLite")
    add("--database-password-file", type=Path, metavar="FILE", help="default: ~/.pgpass, PGPASSFILE or PGPASSWORD")
    add("--artifacts", metavar="PLACE", help="a folder, or s3://bucket/folder; default: FOLDER/artifacts")
    add("--s3-secret-file", type=Path, metavar="FILE", help="default: what AWS's clients find, ~/.aws among it")
    add("--auth", action="store_true", help="ask for user and password")
    add("--admin-password-file", type=Path, metavar="FILE", help="default: FOLDER/admin-password, made if missing")
    add("--others-may", choices=PERMISSIONS, default="READ", help="with what a user has made; default: READ")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen; default: 127.0.0.1")
    add("--allowed-hosts", default="", metavar="NAMES", help="names that clients call this server by, with commas")
    add("--workers", type=int, default=1, metavar="N", help="processes; default: 1")
    add("--everywhere", action="store_true", help="allow an address that is not private, such as 0.0.0.0")
    add("--without-login", action="store_true", help="allow an address beyond this machine without --auth")
    return parser.parse_args(arguments)


# --- secrets --------------------------------------------------------------------------------------


def secret(file: Path) -> str:
    """Return the secret in a file that nobody else may read."""
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, ValueError) as error:
        fail(f"the secret in {file} cannot be read: {getattr(error, 'strerror', None) or error}.")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        fail(f"others may read the secret in {file} (mode {stat.S_IMODE(mode):o}). Run: chmod 600 {file}")
    if not text:
        fail(f"the file {file} is empty. Write the secret into it.")
    return text


def made_secret(file: Path) -> str:
    """Return the secret in a file, which is created with a random secret if it does not exist."""
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(24) + "\n")
    return secret(file)


# --- where things are kept ------------------------------------------------------------------------


def database(asked: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """Return the URL of the database, without a password, and the environment variables of its driver."""
    if asked.database is None:
        if asked.database_password_file:
            fail("--database-password-file needs --database: SQLite asks for no password.")
        return sqlite(asked.folder / "mlflow.db"), {}
    url = urlsplit(asked.database)
    if url.scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        fail(f"--database takes postgresql://user@host/database, but got the scheme {url.scheme!r}.")
    if ":" in url.netloc.rpartition("@")[0] or "password=" in url.query:
        fail(
            "the address in --database holds a password, which every user of this machine would see. Leave it out of "
            "the address, and write it into a file for --database-password-file or into ~/.pgpass."
        )
    if find_spec("psycopg") is None:
        missing("psycopg", "PostgreSQL")
    file = asked.database_password_file
    # The URL names the driver, because versions of SQLAlchemy differ in their default.
    return url._replace(scheme="postgresql+psycopg").geturl(), {"PGPASSWORD": secret(file)} if file else {}


def sqlite(file: Path) -> str:
    """Return the URL of a SQLite file."""
    if any(sign in str(file) for sign in "?#%"):
        fail(f"the folder {file.parent} has one of ?#% in its path, which addresses of SQLite cannot hold.")
    return f"sqlite:///{file}"


def artifacts(asked: argparse.Namespace) -> tuple[str, dict[str, str]]:
    """Return the location of artifacts, and the environment variables of an object store's client."""
    place = asked.artifacts or str(asked.folder / "artifacts")
    if "://" not in place:
        return Path(place).absolute().as_uri(), {}
    url = urlsplit(place)
    if url.scheme not in ("s3", "file") or "@" in url.netloc:
        fail(f"--artifacts takes a folder or s3://bucket/folder without a login, but got {url.scheme}://….")
    if url.scheme == "s3" and find_spec("boto3") is None:
        missing("boto3", "an object store")
    more = {"AWS_SECRET_ACCESS_KEY": secret(asked.s3_secret_file)} if asked.s3_secret_file else {}
    if os.environ.get("MLFLOW_S3_ENDPOINT_URL"):
        # Other stores than Amazon's address buckets as folders, and not all of them support the newest checksums.
        more |= {"MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path", "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
    return place, more


def missing(package: str, purpose: str) -> NoReturn:
    """Exit with the name of a missing package."""
    lines = "'pareto-sweeper[server]', or cluster/tracking/requirements.txt"
    fail(f"{purpose} needs the package {package}, which {sys.executable} does not have. Install it: {lines}.")


# --- who may come in ------------------------------------------------------------------------------


def login(asked: argparse.Namespace, runs: str) -> dict[str, str]:
    """Return the environment variables of MLflow's login; users are stored beside the runs."""
    if find_spec("flask_wtf") is None:
        missing("Flask-WTF", "--auth")
    ini = asked.folder / "auth.ini"
    is_new = not ini.exists()
    users = runs if asked.database else sqlite(asked.folder / "users.db")
    ini.write_text(AUTH_INI.format(permission=asked.others_may, database=users.replace("%", "%%")), encoding="utf-8")
    found = {
        "MLFLOW_AUTH_CONFIG_PATH": str(ini),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": made_secret(asked.folder / "secret-key"),
    }
    file = asked.admin_password_file or asked.folder / "admin-password"
    if "MLFLOW_AUTH_ADMIN_PASSWORD" in os.environ and not asked.admin_password_file:
        return found
    # MLflow reads the password only to create the user, so the file may have been removed since.
    if asked.admin_password_file or is_new or file.exists():
        password = secret(file) if asked.admin_password_file else made_secret(file)
        if len(password) < SHORTEST_PASSWORD:
            fail(f"the password in {file} is too short: MLflow takes {SHORTEST_PASSWORD} characters at least.")
        found["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
    return found


def address(asked: argparse.Namespace) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address to listen on, or refuse it."""
    try:
        found = ipaddress.ip_address("127.0.0.1" if asked.host == "localhost" else asked.host.strip("[]"))
    except ValueError:
        fail(f"--host takes an address of this machine such as 10.0.0.7, but got {asked.host!r}.")
    if not asked.everywhere and (found.is_unspecified or not found.is_private):
        fail(f"--host {found} may be reached from anywhere. Name a private address, or add --everywhere.")
    if found.is_unspecified and not asked.allowed_hosts:
        fail(f"--host {found} says no name. Name what clients call this server with --allowed-hosts.")
    if not found.is_loopback and not asked.auth and not asked.without_login:
        fail(f"--host {found} opens all runs to whoever reaches it. Add --auth, or --without-login to mean it.")
    return found


def allowed(asked: argparse.Namespace, shown: str) -> str:
    """Return the names that the server answers to, each with and without its port."""
    named = [name.strip() for name in asked.allowed_hosts.split(",") if name.strip()]
    if "*" in named:
        fail("--allowed-hosts '*' lets pages of others talk to this server through a browser. Name the hosts.")
    names = ["127.0.0.1", "localhost", shown, *named]
    bare = [name for name in names if not re.search(r":\d+$", name)]
    return ",".join(dict.fromkeys([*names, *(f"{name}:{asked.port}" for name in bare)]))


def said(asked: argparse.Namespace, shown: str, is_local: bool, runs: str, kept: str) -> str:
    """Describe the server and who can reach it, without secrets."""
    reach = "this machine only" if is_local else "WHOEVER REACHES THIS ADDRESS"
    admin = asked.admin_password_file or asked.folder / "admin-password"
    who = f"user and password; that of the user admin is in {admin}" if asked.auth else "none, all may read and write"
    return (
        f"tracking server at http://{shown}:{asked.port}, for {reach}\n"
        f"  runs:      {runs}\n  artifacts: {kept}, through this server\n  login:     {who}"
    )


def main() -> None:
    """Check the options, describe the server, and become it."""
    asked = parsed()
    os.umask(0o077)
    if find_spec("mlflow") is None:
        fail(f"{sys.executable} has no mlflow. Activate the environment that has, or name its Python: PYTHON=….")
    host = address(asked)
    try:
        asked.folder = asked.folder.absolute()
        asked.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"the folder {asked.folder} cannot be made: {error.strerror}.")
    runs, of_database = database(asked)
    kept, of_artifacts = artifacts(asked)
    environment: Mapping[str, str] = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Saves about ten processes and leaves one with 244 MB; sweeps do not use the job runner.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": runs,
        **of_database,
        **of_artifacts,
        **(login(asked, runs) if asked.auth else {}),
    }
    shown = f"[{host}]" if host.version == 6 else str(host)
    command = [sys.executable, "-m", "mlflow", "server", "--host", str(host), "--port", str(asked.port)]
    command += ["--workers", str(asked.workers), "--artifacts-destination", kept]
    command += ["--allowed-hosts", allowed(asked, shown)]
    command += ["--app-name", "basic-auth"] if asked.auth else []
    print(said(asked, shown, host.is_loopback, runs, kept), flush=True)
    os.execve(sys.executable, command, dict(environment))


if __name__ == "__main__":
    main()
