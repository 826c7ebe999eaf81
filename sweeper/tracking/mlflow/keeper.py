"""Runs an MLflow server until the standard input of this process ends; then ends the server and all its processes.

This file runs as a program. It uses the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

#: Longest time for the server to end in order before it is killed, in seconds.
ENDING_S = 10.0


def keep(host: str, port: str) -> None:
    """Run the server, and return when it has ended, by itself or because the input ended."""
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # it leads a process group

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
    while _end(server.pid, 0) and time.monotonic() < until:  # its child processes may take a moment longer
        time.sleep(0.02)
    _end(server.pid, signal.SIGKILL)


def _end(group: int, number: int) -> bool:
    """Send a signal to a process group; return whether any process is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The parent ends this process by closing its input. A handler, not SIG_IGN, which the server would inherit.
        signal.signal(number, lambda *_: None)
    keep(*sys.argv[1:])
