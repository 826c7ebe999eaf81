"""Runs a server of MLflow until the input of this process ends; then the server and all that it has started end too.

Run as a program, and with nothing but the standard library, so that it is there at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

#: Seconds that the server may take to end in order, before it is killed.
ENDING_S = 10.0


def keep(host: str, port: str) -> None:
    """Run the server, and return when it has ended, by itself or because the input has."""
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # it leads a group

    def end_with_the_input() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        _end(server.pid, signal.SIGTERM)
        time.sleep(ENDING_S)
        _end(server.pid, signal.SIGKILL)

    threading.Thread(target=end_with_the_input, daemon=True).start()
    server.wait()
    until = time.monotonic() + ENDING_S
    while _end(server.pid, 0) and time.monotonic() < until:  # what it has started may take a moment longer
        time.sleep(0.02)
    _end(server.pid, signal.SIGKILL)


def _end(group: int, number: int) -> bool:
    """Send a signal to a group of processes; tells whether anybody is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever ends this closes its input. Not ignored: the server would inherit that.
        signal.signal(number, lambda *_: None)
    keep(*sys.argv[1:])
