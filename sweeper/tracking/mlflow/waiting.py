"""Waits for a tracking server that is still starting, instead of failing at once. Loads nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def is_starting(uri: str) -> bool:
    """Return whether nothing listens at a server's address, on a machine that can be reached.

    Other problems are left to the first real request, which reports them better.
    """
    try:
        address = urlsplit(uri)
        port = address.port or _PORTS.get(address.scheme)
        if address.scheme not in _PORTS or not address.hostname or port is None:
            return False
        socket.create_connection((address.hostname, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False
    return False


def wait_for_server(
    uri: str,
    patience_s: float,
    say: Callable[[], None],
    should_stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until something listens at a server's address.

    Args:
        uri: Address of a tracking server; a database is not waited for.
        patience_s: Longest wait in seconds.
        say: Called once, if there is anything to wait for.
        should_stop: Asked often; True ends the wait.
        clock: Seconds from any start.
        pause: Sleeps for some seconds.

    Returns:
        False if nothing listens yet; True if something does, or if that cannot be told from here.
    """
    until_s, is_said = clock() + patience_s, False
    while is_starting(uri):
        if clock() >= until_s or should_stop():
            return False
        if not is_said:
            say()
            is_said = True
        pause(0.2)
    return True
