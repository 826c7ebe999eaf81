"""A small file system, mounted on a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest


@contextmanager
def small_disk(folder, size):
    """Mount a file system of a given size, such as `24m`, on a folder; skip the test if that is impossible."""
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk of its own needs a mount: root")
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk of its own cannot be mounted here: {done.stderr.strip()}")
    yield folder
    while os.path.ismount(folder):  # a test may have mounted something over it
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=60)
