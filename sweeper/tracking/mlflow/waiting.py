"""A tracking server that is being started: it is waited for, instead of being called away. Loads nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def is_starting(uri: str) -> bool:
    """Return whether nothing listens at a server's address, on a machine that is there.

    Everything else is said better by whoever asks the server for something.
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
        uri: Of a tracking server; databases are not waited for.
        patience_s: How long, at most.
        say: Called once, if there is anything to wait for.
        should_stop: Asked often; once true, no more is waited.

    Returns:
        Whether something listens, or this cannot be told from here.
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
