"""A driver that gets as far as its first epoch, and then waits to be killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager

STUCK = """
import sys, time
from sweeper.execution.executors import InlineExecutor
from sweeper.tracking.memory import MemoryRecorder
from sweeper.spec import load_spec
from sweeper.driver.sweep import Sweep

def wait(job, report):
    print("training", flush=True)
    time.sleep(600)

home, name = sys.argv[1:]
Sweep(name, home).run(load_spec("smoke", name=name), executor=InlineExecutor(), recorder=MemoryRecorder(), work=wait)
"""


@contextmanager
def killed(program, says, *words):
    """Start a Python program with words, wait until it says a line, yield its process id, and kill it."""
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == f"{says}\n"
            yield process.pid
        finally:
            process.send_signal(signal.SIGKILL)


def a_stuck_driver(home, name):
    """Let a real process drive a sweep up to the middle of its first population, then kill it."""
    return killed(STUCK, "training", home, name)
