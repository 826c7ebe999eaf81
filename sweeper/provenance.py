"""Records the versions, revision and data that a sweep was run with, so that a result can be traced and repeated."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

#: File with version and revision beside a copy of this package that is sent with a job.
_NOTE = "shipped.json"

#: The folder of this package, in a checkout or an installation.
PACKAGE = Path(__file__).parent

#: Pip's name of this project; on the package index `sweeper` is another project's package.
DISTRIBUTION = "pareto-sweeper"

#: Beginning of the summary of this project's earlier versions, which were installed under the name `sweeper`.
_FORMER_SUMMARY = "Maps how a neural network trades breadth, depth and time"

#: Name of this project among the noted versions.
_OWN = "sweeper"

_PACKAGES = (_OWN, "torch", "ray", "optuna", "mlflow", "pyarrow", "numpy", "moocore")


def software() -> dict[str, str]:
    """Return the versions of the software that networks are trained with, by name."""
    return {package: _version(package) for package in _PACKAGES} | {"python": platform.python_version()}


def _version(package: str) -> str:
    try:
        return version(DISTRIBUTION if package == _OWN else package)
    except PackageNotFoundError:  # this project itself, if it was sent with a job
        return _note().get("version", "unknown")


def extra(name: str) -> str:
    """Return pip's name of an extra of this project, such as `pareto-sweeper[postgres]`."""
    return f"{DISTRIBUTION}[{name}]"


def namesake() -> str | None:
    """Return a description of a package installed as `sweeper`; None if there is none.

    Its files lie in the same folder as ours, so each installation overwrites the other.
    """
    try:
        found = metadata("sweeper")
    except PackageNotFoundError:
        return None
    if str(found["Summary"] or "").startswith(_FORMER_SUMMARY):
        return f"sweeper {found['Version']}, an earlier version of this project under its former name"
    return f"sweeper {found['Version']}, a stranger's package that deletes duplicate files"


def own_version() -> str:
    """Return the version of this project, `unknown` if it is not installed."""
    return _version(_OWN)


def sweep_facts(own: Mapping[str, str]) -> dict[str, str]:
    """Return the facts of a sweep: short texts by name.

    Args:
        own: Hashes of the sweep's data or code, by name.
    """
    facts = {f"version.{name}": number for name, number in software().items()}
    facts["platform"] = platform.platform()
    facts |= own
    revision = revision_of_code()
    return facts | ({"git.revision": revision} if revision else {})


def revision_of_code() -> str | None:
    """Return the git revision of this code, or of the checkout that it was sent to a cluster from; None if unknown."""
    return _note().get("revision") or _git_revision(Path(__file__).parent)


def write_note(package: Path) -> None:
    """Write version and revision of this code beside a copy of it, which cannot find them out itself."""
    note = {"version": own_version(), "revision": revision_of_code() or ""}
    (package / _NOTE).write_text(json.dumps(note), encoding="utf-8")


def _note() -> dict[str, str]:
    try:
        found = json.loads(Path(__file__).with_name(_NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _git_revision(folder: Path) -> str | None:
    """Return the revision of the checkout that holds this code, marked if it has changes; None outside of one."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
