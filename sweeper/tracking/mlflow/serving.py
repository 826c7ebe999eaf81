"""MLflow's own page for a database, while somebody looks at it: a server on the loopback that outlives nobody.

The server runs below a keeper, a process that waits for the end of its input. Whoever started both holds the other end
of it, so that the server ends in whichever way they end: in order, or killed.
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

#: Seconds that it may take to answer: 6 on an idle machine, and trainings may have the processors.
PATIENCE_S = 180.0

#: Variables of MLflow's that lead to what is stored; all others could open it to others, or send it elsewhere.
_KEPT = ("MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_DISABLE_TELEMETRY")


class MlflowServer:
    """A server of MLflow that was started here.

    Attributes:
        address: Of its page.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process, self._port, self._log = process, port, log
        self._late = ""
        self.address = f"http://{HOST}:{port}"

    def wait_until_it_answers(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait until it answers; tells whether it does, in place of having ended or being too late."""
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
    """Start a server of MLflow for a database, and end it with all its processes; it need not answer yet.

    Args:
        tracking_uri: The database.
        port: On the loopback.
    """
    if (file := sqlite_uri.file_of(tracking_uri)) is not None and file.is_file():
        with suppress(Exception):  # a home that may only be read: its page lacks pictures where it was moved
            bring_along(file)
    # In a folder of its own: MLflow puts files into the current one, and would import what lies there.
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
                start_new_session=True,  # Ctrl-C in the terminal is not for it: its input tells it when to end
            )
        try:
            yield MlflowServer(process, port, log)
        finally:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            process.wait()


def free_port(wanted: int | None = None) -> int:
    """Return a port of the loopback that nobody listens on now.

    Args:
        wanted: This one; None for any.

    Raises:
        QueryError: If it cannot be had.
    """
    try:
        with socket.create_server((HOST, wanted or 0)) as free:
            return int(free.getsockname()[1])
    except OSError as error:
        raise QueryError(port_problem(HOST, wanted or 0, error)) from error


def _environment(tracking_uri: str) -> Mapping[str, str]:
    """Return what the server is told: an address with a password stands in no list of processes."""
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
