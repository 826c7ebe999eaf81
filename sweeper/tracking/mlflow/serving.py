"""Serves MLflow's own page for a database while a user looks at it, on the loopback interface.

The server runs below a keeper, a process that waits for the end of its input. The starting process holds the other end
of that pipe, so the server ends with that process, even if it is killed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from sweeper import sqlite_uri
from sweeper.credentials import redacted
from sweeper.errors import QueryError
from sweeper.ports import port_problem
from sweeper.tracking.mlflow import keeper
from sweeper.tracking.mlflow.tables import bring_along

HOST = "127.0.0.1"

#: Longest time for the server to answer, in seconds: 6 on an idle machine, but trainings may occupy the processors.
PATIENCE_S = 180.0

#: MLflow's variables that the server gets, to reach its storage. Others could open it to strangers or redirect it.
_KEPT = ("MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_DISABLE_TELEMETRY")


class MlflowServer:
    """An MLflow server that this process started.

    Attributes:
        address: Address of its page.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log
        self._late = ""
        self.address = f"http://{HOST}:{port}"

    def wait_until_it_answers(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait until it answers; return False if it ended or took too long."""
        until = time.monotonic() + patience_s
        while not self._answers():
            if self._process.poll() is not None:
                return False
            if time.monotonic() > until:
                self._late = f"MLflow did not answer at {self.address} within {patience_s:g} s"
                return False
            time.sleep(0.2)
        return True

    def trouble(self) -> str:
        """Return why it does not answer; empty while it does."""
        if self._process.poll() is None:
            return self._late
        with suppress(OSError):
            lines = [line.strip() for line in self._log.read_text("utf-8", "replace").splitlines()]
            told = next((line for line in reversed(lines) if line), "")
            return f"MLflow has ended: {redacted(told)[:300].rstrip('.') or 'it did not say why'}"
        return "MLflow has ended and did not say why"

    def _answers(self) -> bool:
        connection = HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def serving(tracking_uri: str, port: int) -> Iterator[MlflowServer]:
    """Start an MLflow server for a database, which may not answer yet; end it with all its processes on exit.

    Args:
        tracking_uri: The database.
        port: Port on the loopback interface.
    """
    if (file := sqlite_uri.file_of(tracking_uri)) is not None and file.is_file():
        with suppress(Exception):  # in a read-only home that was moved, the page lacks pictures
            bring_along(file)
    # In a folder of its own, because MLflow writes files into the current folder and would import modules from it.
    with tempfile.TemporaryDirectory(prefix="sweeper-mlflow-") as folder:
        log = Path(folder) / "mlflow.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", keeper.__file__, HOST, str(port)],
                cwd=folder,
                env=_environment(tracking_uri),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the end of its input ends it, not Ctrl-C in the terminal
            )
        try:
            yield MlflowServer(process, port, log)
        finally:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            process.wait()


def free_port(wanted: int | None = None) -> int:
    """Return a free port of the loopback interface.

    Args:
        wanted: The wanted port; None for any.

    Raises:
        QueryError: If the port is taken or not permitted.
    """
    try:
        with socket.create_server((HOST, wanted or 0)) as free:
            return int(free.getsockname()[1])
    except OSError as error:
        raise QueryError(port_problem(HOST, wanted or 0, error)) from error


def _environment(tracking_uri: str) -> Mapping[str, str]:
    """Return the server's environment; it holds the address, whose password a list of processes would show."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "_MLFLOW_")) or name.startswith(_KEPT)
    }
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **kept,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONUNBUFFERED": "1",
    }
