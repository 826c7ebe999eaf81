"""Checks of services: a Ray cluster, a tracking server or database. Each gets its subject as arguments."""

from __future__ import annotations

import base64
import platform
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from sweeper import sqlite_uri
from sweeper.checks.finding import Finding, Verdict, fine, problem, problem_of, warning
from sweeper.checks.software import newer, version_of
from sweeper.driver.jobs.server import JobServer
from sweeper.errors import ClusterError, TrackingError
from sweeper.execution.executors import joined
from sweeper.execution.ray_folder import ray_folder, socket_problem
from sweeper.isolated import ask

_CLUSTER_TIMEOUT_S, _VERSION_TIMEOUT_S = 15, 5
_MODES = ("disabled", "token", "k8s")


# --- Ray ------------------------------------------------------------------------------------------


def authentication(mode: str | None) -> Finding:
    """Report what RAY_AUTH_MODE means for a Ray that is started here."""
    if mode is None:
        return fine("ray auth", "RAY_AUTH_MODE is not set: a Ray started for a run asks for a token of its own")
    if mode.lower() not in _MODES:
        return warning(
            "ray auth",
            f"RAY_AUTH_MODE is {mode!r}, which Ray takes for 'disabled' without a word",
            "Set it to disabled or token.",
        )
    return fine("ray auth", f"RAY_AUTH_MODE is {mode}")


def sockets(environment: Mapping[str, str]) -> Finding:
    """Check that the socket paths of a Ray that is started here are not too long for its temporary folder."""
    if found := socket_problem(environment):
        return problem("ray sockets", *found)
    return fine("ray sockets", f"they fit below {ray_folder(environment)}")


def cluster(address: str, mode: str | None) -> Iterator[Finding]:
    """Ask a Ray cluster for its versions, first without a token, to find out whether it wants one.

    Args:
        address: `HOST:PORT` or `auto`; or the address of its job server, `http://HOST:PORT`.
        mode: RAY_AUTH_MODE here; None if it is not set.
    """
    if address.startswith(("http://", "https://")):
        yield _job_server(address)
        return
    try:
        head = joined(address)
    except ClusterError as error:
        yield problem_of("ray cluster", error)
        return
    answer = _asked(head, "disabled")
    wants_token = isinstance(answer, dict) and "refused" in answer
    if wants_token:
        is_local = head.startswith(("127.", "localhost:"))
        # Without RAY_AUTH_MODE, sweeper switches authentication off on the loopback; elsewhere Ray looks for a token.
        here = (mode or ("disabled" if is_local else "token")).lower()
        answer = _asked(head, "token")
        yield _token(head, mode, here, answer)
        if not isinstance(answer, dict) or "refused" in answer:
            return
    elif isinstance(answer, dict) and "ray" in answer:
        yield _no_token(head, mode)
    yield _versions(head, answer)


def _job_server(address: str) -> Finding:
    try:
        names = sorted({job.sweep for job in JobServer(address).jobs()})
    except ClusterError as error:
        return problem_of("ray jobs", error)
    return fine("ray jobs", f"{address} answers; sweeps there: {', '.join(names) or 'none'}")


def _asked(head: str, mode: str) -> dict[str, str] | str:
    answers = ask(["cluster", head], _CLUSTER_TIMEOUT_S, {"RAY_AUTH_MODE": mode})
    return answers[0] if answers else "it said nothing"


def _token(head: str, mode: str | None, here: str, answer: dict[str, str] | str) -> Finding:
    """Judge this machine's token for a cluster that wants one."""
    same = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token."
    if here != "token":
        said = "is not set, which means disabled on the loopback" if mode is None else f"is {mode}"
        return problem("ray auth", f"the cluster at {head} asks for a token, but RAY_AUTH_MODE {said} here", same)
    if isinstance(answer, str):
        is_missing = "couldn't find an authentication token" in answer
        found = "none is known here" if is_missing else answer
        return problem("ray auth", f"the cluster at {head} asks for a token, but {found}", same)
    if "refused" in answer:
        return problem("ray auth", f"the cluster at {head} asks for a token, and refuses the one known here", same)
    return fine("ray auth", f"the cluster at {head} asks for a token, and takes the one known here")


def _no_token(head: str, mode: str | None) -> Finding:
    if mode is not None and mode.lower() == "token":
        return warning(
            "ray auth",
            f"RAY_AUTH_MODE is token, but the cluster at {head} asks for none: whoever reaches it may run code on it",
            "Start its nodes with RAY_AUTH_MODE=token too, or set RAY_AUTH_MODE=disabled here.",
        )
    return fine("ray auth", f"the cluster at {head} asks for no token")


def _versions(head: str, answer: dict[str, str] | str) -> Finding:
    """Compare a cluster's versions of Ray and Python with those here; both must be equal to join."""
    if isinstance(answer, dict) and "unasked" in answer:
        why, _, way_out = answer["unasked"].partition(". ")
        return warning("ray cluster", f"something listens at {head}, but {why}", way_out)
    if isinstance(answer, str) or "ray" not in answer:
        reason = answer if isinstance(answer, str) else answer.get("error", "")
        return problem(
            "ray cluster",
            f"something listens at {head}, but no Ray head answers: {' '.join(reason.split())[:300]}",
            "Name the port of `ray start --head`, 6379 by default.",
        )
    there = {"Ray": answer["ray"], "Python": answer["python"]}
    here = {"Ray": version_of("ray") or "none", "Python": platform.python_version()}
    other = [f"{name} {there[name]} there and {here[name]} here" for name in there if there[name] != here[name]]
    if other:
        return problem(
            "ray cluster",
            f"the cluster at {head} answers, with {' and '.join(other)}",
            "Install the same versions on every node and here.",
        )
    return fine("ray cluster", f"{head} answers: Ray {there['Ray']}, Python {there['Python']}")


# --- MLflow ---------------------------------------------------------------------------------------


def run_variable(run_id: str | None) -> Finding | None:
    """Warn about MLFLOW_RUN_ID, with which other programs would write into one run."""
    if not run_id:
        return None
    return warning(
        "mlflow run",
        f"MLFLOW_RUN_ID is set ({run_id}): sweeper does not use it, but your own code in this shell would write there",
        "Unset it: unset MLFLOW_RUN_ID.",
    )


def tracking(uri: str, versions: SpecifierSet) -> Iterator[Finding]:
    """Check a tracking server or database without changing it.

    Args:
        uri: Address of MLflow.
        versions: Versions of MLflow that a server may have.
    """
    from sweeper.credentials import redacted
    from sweeper.tracking.mlflow.client import connect, schema_problem

    scheme = urlsplit(uri).scheme
    file = sqlite_file(uri)
    if scheme in ("http", "https"):
        found = server(uri, versions)
        yield found
        if found.verdict is Verdict.PROBLEM:
            return
    elif file is not None and not file.exists():
        yield fine("tracking", f"{file} is not there yet: the first run makes it")
        return
    try:
        # The first check, because MLflow would upgrade some old databases when it opens them.
        if scheme not in ("http", "https") and (outdated := schema_problem(uri)):
            yield problem("tracking", outdated, f"Make a copy of it, then run: mlflow db upgrade {redacted(uri)}")
            return
        connect(uri, is_reading=True)
    except TrackingError as error:
        yield problem_of("tracking", error)
    else:
        yield fine("tracking", f"MLflow answers at {redacted(uri)}")


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite tracking URI; None for other URIs."""
    file = sqlite_uri.file_of(uri)
    return file.absolute() if file else None


def server(uri: str, versions: SpecifierSet) -> Finding:
    """Ask a tracking server for its version."""
    from sweeper.credentials import redacted

    shown, check = redacted(uri), "tracking server"
    try:
        text = _version_said(uri)
    except HTTPError as error:
        return _http_problem(shown, error)
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        text = "no answer within seconds" if isinstance(reason, socket.timeout) else redacted(str(reason), uri)
        return problem(
            check,
            f"{shown} cannot be reached: {text}",
            "Start it (cluster/tracking/start-server.sh does), or name another one with --tracking-uri.",
        )
    try:
        Version(text)
    except InvalidVersion:
        return problem(
            check,
            f"something other than MLflow answers at {shown}: its version is {text[:60]!r}",
            "Name the address of `mlflow server` with --tracking-uri.",
        )
    is_newer = newer(text, versions)
    if is_newer is None:
        return fine(check, f"MLflow {text} answers at {shown}")
    found = f"MLflow {text} answers at {shown}, but this version of sweeper was made for mlflow{versions}"
    if is_newer:
        return warning(check, found, "Update sweeper, or try it on a server with those versions first.")
    return problem(check, found, "Upgrade the server (a copy of its database first, then `mlflow db upgrade`).")


def _version_said(uri: str) -> str:
    """Return a server's answer to a question for its version; if it wants a login, send MLflow's own."""
    from sweeper.tracking.mlflow.client import login

    known = None
    while True:
        try:
            with urlopen(_version_request(uri, known), timeout=_VERSION_TIMEOUT_S) as answer:
                return str(answer.read(200).decode("utf-8", "replace").strip())
        except HTTPError as error:
            if error.code != 401 or known is not None or (known := login()) is None:
                raise


def _version_request(uri: str, known: tuple[str, str] | None = None) -> Request:
    """Return the request for a server's version, with a login in the address moved into a header."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    request = Request(urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/version", "", "")))
    if parts.username is not None:
        known = unquote(parts.username), unquote(parts.password or "")
    if known is not None:
        request.add_header("Authorization", f"Basic {base64.b64encode(':'.join(known).encode()).decode()}")
    return request


def _http_problem(shown: str, error: HTTPError) -> Finding:
    check = "tracking server"
    if error.code == 401:  # the next check uses the login and reports a wrong one
        return fine(check, f"{shown} asks for a login before it tells its version")
    body = error.read(200).decode("utf-8", "replace").strip()
    if error.code == 403:
        return problem(
            check,
            f"{shown} refuses this machine: {body or error.reason}",
            "If it names the host, start the server with --allowed-hosts; if a login, set MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD.",
        )
    return problem(
        check,
        f"{shown} does not know its version (HTTP {error.code}): it is no MLflow server, or one that is too old",
        "Name the address of `mlflow server` with --tracking-uri, or upgrade the server.",
    )
