"""Keeps the folder in which sweeper is started off the workers' import path.

Ray puts the driver's current folder and the folder of its script first on the path of every worker, and offers no
setting for it. A file there that is named as a package (`yaml.py`) would be imported in its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from ray.job_config import JobConfig

from sweeper.provenance import PACKAGE

#: Where a job's configuration keeps the folders; private: where Ray names it otherwise, it does as it is used to, and
#: workers say what they import wrongly.
_FOLDERS = "_py_driver_sys_path"


class _Ours(list[str]):
    """A list of folders that takes no other than the one in which sweeper itself is."""

    def extend(self, more: Iterable[str]) -> None:
        """Add that folder, if it is among these: a checkout that is not installed is found by nothing else."""
        root = str(PACKAGE.resolve().parent)
        super().extend(folder for folder in more if os.path.realpath(folder) == root)


def own_folders_alone() -> JobConfig:
    """Return the configuration of a job whose workers get no folder of the driver, unless sweeper itself is there."""
    config = JobConfig()
    if isinstance(getattr(config, _FOLDERS, None), list):
        setattr(config, _FOLDERS, _Ours())
    return config
