"""Keeps the folder in which sweeper is started off the workers' import path.

Ray puts the driver's current folder and the folder of its script first on the path of every worker, and offers no
setting for it. A file there that is named as a package (`yaml.py`) would be imported in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ray.job_config import JobConfig

import sweeper

#: Where a job's configuration keeps the folders; private: where Ray names it otherwise, it does as it is used to, and
#: workers say what they import wrongly.
_FOLDERS = "_py_driver_sys_path"


class _Fixed(list[str]):
    """A list of folders that nothing is added to."""

    def extend(self, more: Iterable[str]) -> None:
        """Add nothing."""


def own_folders_alone() -> JobConfig:
    """Return the configuration of a job whose workers get no folder of the driver, unless sweeper itself is there."""
    config = JobConfig()
    if isinstance(getattr(config, _FOLDERS, None), list):
        root = str(Path(sweeper.__file__).resolve().parent.parent)
        # A checkout that is not installed is found by the folder alone in which it is started.
        setattr(config, _FOLDERS, _Fixed([root] if root == os.path.realpath(os.curdir) else []))
    return config
