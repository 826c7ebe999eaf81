"""What a sweep was run with: versions, revision, data. Recorded, so that a result can be traced and repeated."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("sweeper", "torch", "ray", "optuna", "mlflow", "pyarrow", "numpy", "moocore")


def software() -> dict[str, str]:
    """Return the versions of what a network is trained with, by name."""
    return {package: version(package) for package in _PACKAGES} | {"python": platform.python_version()}


def sweep_facts(data_hashes: Mapping[str, str]) -> dict[str, str]:
    """Return short texts by name.

    Args:
        data_hashes: Hash of the images of each task, by label.
    """
    facts = {f"version.{name}": number for name, number in software().items()}
    facts["platform"] = platform.platform()
    facts |= {f"data.{label}": digest for label, digest in data_hashes.items()}
    revision = _git_revision(Path(__file__).parent)
    return facts | ({"git.revision": revision} if revision else {})


def _git_revision(folder: Path) -> str | None:
    """Return the revision of the checkout that holds this code, marked when it has changes; None outside of one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
