"""Serves the live report of one sweep on the loopback interface: a page, its script, and the sweep's state.

Everyone who can open a connection on this machine can read them. A foreign web page in a local browser cannot, even if
its owner points a domain name at this machine (DNS rebinding): requests by names other than this machine's are refused.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from plotly.offline import get_plotlyjs

from sweeper.errors import QueryError, SweepError
from sweeper.ports import port_problem
from sweeper.results.report.live import LiveReport

HOST = "127.0.0.1"

#: Host names in the requests of a browser on this machine, or at the other end of a tunnel.
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

#: Longest silence of a connection, in seconds.
_SILENCE_S = 30

#: Headers of every answer. They keep other sites from framing the page or reading it.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class ReportServer:
    """A server that is bound to a port of the loopback interface; it answers within `answering`.

    Args:
        port: The port; 0 for any free one.

    Attributes:
        address: Address of the page.
        script: Path of the script that draws; browsers may cache it for ever.

    Raises:
        QueryError: If the port is taken or not permitted.
    """

    def __init__(self, port: int = 0) -> None:
        drawing = get_plotlyjs().encode()
        self.script = f"/plotly-{hashlib.sha256(drawing).hexdigest()[:16]}.js"
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise QueryError(port_problem(HOST, port, error)) from error
        self._server.drawing, self._server.script_path = drawing, self.script
        self.address = f"http://{HOST}:{self._server.server_port}/"

    def close(self) -> None:
        """Release the port."""
        self._server.server_close()

    @contextmanager
    def answering(self, live: LiveReport) -> Iterator[None]:
        """Answer requests in background threads while this context is open."""
        self._server.live = live
        thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="report-server", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    live: LiveReport
    drawing: bytes
    script_path: str

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore broken connections: closing a page breaks one."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE_S

    def version_string(self) -> str:
        """Return the server's name, without any version."""
        return "sweeper"

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""

    def do_HEAD(self) -> None:
        """Answer without content."""
        self._answer()

    def do_GET(self) -> None:
        """Answer with content."""
        self._answer()

    def _answer(self) -> None:
        if not _is_own(self.headers.get_all("Host") or []):
            return self._send(HTTPStatus.MISDIRECTED_REQUEST, b"Ask this server by 127.0.0.1 or localhost.\n")
        path = urlsplit(self.path).path
        if path == self.server.script_path:
            kept = {"Cache-Control": "private, max-age=31536000, immutable"}
            return self._send(HTTPStatus.OK, self.server.drawing, "text/javascript", kept)
        if path == "/state":
            return self._send(HTTPStatus.OK, json.dumps(self.server.live.state()).encode(), "application/json")
        if path != "/":
            return self._send(HTTPStatus.NOT_FOUND, b"There is nothing here; the page is at /.\n")
        try:
            self._send(HTTPStatus.OK, self.server.live.page().content, "text/html")
        except SweepError as error:
            self._send(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode())

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str = "text/plain", more: Mapping[str, str] | None = None
    ) -> None:
        with suppress(ConnectionError, TimeoutError):
            self.send_response(status)
            headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(content))}
            for name, value in {**headers, "Cache-Control": "no-store", **_HEADERS, **(more or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)


def _is_own(hosts: list[str]) -> bool:
    """Return whether a request names this machine as its host, with any port, since a tunnel may change the port."""
    if len(hosts) != 1:
        return False
    try:
        named = urlsplit(f"//{hosts[0]}")
        return named.hostname in _OWN_NAMES and named.username is None
    except ValueError:
        return False
