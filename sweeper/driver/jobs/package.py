"""What is sent to a cluster with a sweep: this project, the spec, and the command that drives the sweep there.

Ray shows commands, metadata and runtime environments to everyone who may see its jobs, so no secrets are sent.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.credentials import SECRET_NAME, secrets_of
from sweeper.errors import ClusterError
from sweeper.own_code import version_of
from sweeper.provenance import PACKAGE, write_note
from sweeper.spec import DIGITS, LatticeSweep, LoadedSpec, read_yaml

#: Default home of sweeps on a head: in the home folder of the user that Ray runs as.
DEFAULT_HOME = "~/sweeps"

#: Largest size of a user's own code that is sent, in bytes; anything larger is data, or should be installed.
_MOST_CODE_BYTES = 20 * 2**20

#: Name of the spec's file in a driver's working directory.
_SPEC = "spec.yaml"


@dataclass(frozen=True)
class Locations:
    """Where a sweep is kept, seen from the head of a cluster; the head decides what is None.

    Attributes:
        home: Folder that holds sweeps: an absolute path, or one that begins with `~/`.
        tracking_uri, storage, ledger: As for `sweeper run`.
        workers: Number of populations trained at a time.
    """

    home: str = DEFAULT_HOME
    tracking_uri: str | None = None
    storage: str | None = None
    ledger: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        path = self.home.removeprefix("file://")
        if "://" in path:
            raise ClusterError(
                f"--home names a folder on the head, but got {self.home}. Where no disk of the cluster outlives it, "
                "keep checkpoints with --storage in an object store, and the ledger with --ledger in PostgreSQL."
            )
        if not path.startswith(("/", "~/")):
            raise ClusterError(
                f"--home must be the whole path of a folder on the head, or begin with ~/, but got {self.home}. "
                f"Name it so, or leave it out for {DEFAULT_HOME}."
            )
        object.__setattr__(self, "home", path)
        _refuse_secret("--tracking-uri", self.tracking_uri, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        _refuse_secret("--storage", self.storage, "what its file system reads, such as AWS_SECRET_ACCESS_KEY")
        _refuse_secret("--ledger", self.ledger, "PGPASSWORD, or in ~/.pgpass there")
        for option, uri in (("--tracking-uri", self.tracking_uri), ("--storage", self.storage)):
            form = re.fullmatch(r"(?:sqlite:///|file://)?(?P<path>[^:]*)", uri or "")
            if uri and form and not form["path"].startswith("/"):
                raise ClusterError(
                    f"{option} must mean the same on every machine of the cluster, but got {uri}. Name an address, "
                    "or a whole path that begins with /."
                )

    @property
    def facts(self) -> dict[str, str]:
        """Metadata of a job that note these locations."""
        values = {"home": self.home, "tracking_uri": self.tracking_uri, "storage": self.storage, "ledger": self.ledger}
        return {f"sweeper.{name}": value for name, value in values.items() if value}


def _refuse_secret(option: str, uri: str | None, instead: str) -> None:
    """Refuse a URI with a password or key in it."""
    if secrets_of(uri or ""):
        raise ClusterError(
            f"{option} carries a password or key, which Ray would show to everyone who sees its jobs. Leave it out of "
            f"the address, and set it in the environment of the cluster's nodes: {instead}."
        )


def spec_digest(loaded: LoadedSpec) -> str:
    """Return a digest of a spec's content, independent of its file's formatting."""
    return hashlib.sha256(loaded.spec.to_json().encode()).hexdigest()[:16]


def code_digest(loaded: LoadedSpec) -> str:
    """Return a digest of the user's own code; empty if there is none, or it is installed."""
    files = {name: hashlib.sha256(Path(place).read_bytes()).hexdigest() for name, place in loaded.code.items()}
    return version_of(files)


def driver_command(
    loaded: LoadedSpec, locations: Locations, again: Sequence[str] = (), *, takes_new_code: bool = False
) -> str:
    """Return the command line that drives a sweep in a job; it finds the cluster by RAY_ADDRESS, which Ray sets.

    The shell on the head expands a home that begins with ~/.

    Args:
        loaded: Spec of the sweep.
        locations: Where the sweep is kept.
        again: Outcomes after which trials are tried again first.
        takes_new_code: Whether to continue under code of the user's that has changed.
    """
    spec = loaded.spec
    has_files = isinstance(spec, LatticeSweep) and any(setting.task.data != DIGITS for setting in spec.corners())
    words = {
        "--name": loaded.spec.name,
        "--relative-to": str(loaded.path.absolute().parent) if has_files else None,
        "--tracking-uri": locations.tracking_uri,
        "--storage": locations.storage,
        "--ledger": locations.ledger,
        "--workers": locations.workers and str(locations.workers),
        "--again": ",".join(again),
    }
    tilde = "~/" if locations.home.startswith("~/") else ""
    home = tilde + shlex.quote(locations.home.removeprefix(tilde))
    options = " ".join(f"{option} {shlex.quote(word)}" for option, word in words.items() if word)
    new_code = " --new-code" if takes_new_code else ""
    return f"python -m sweeper run {_SPEC} {options} --home {home} --take-on{new_code}"


def _take_code(loaded: LoadedSpec, folder: Path) -> None:
    """Copy the Python files of the user's own code beside the spec.

    Raises:
        ClusterError: If they are too large, or a link leads out of their folder.
    """
    size = 0
    for name, place in loaded.code.items():
        path = Path(place)
        root = path.parents[len(Path(name).parts) - 1].resolve()
        if not path.resolve().is_relative_to(root):
            raise ClusterError(f"{path} leads out of its folder, to {path.resolve()}. Put a copy in its place.")
        size += path.stat().st_size
        if size > _MOST_CODE_BYTES:
            raise ClusterError(
                f"the {len(loaded.code)} Python files beside {loaded.path} have more than "
                f"{_MOST_CODE_BYTES // 2**20} MiB, too much to travel "
                "with each job. Leave out what is no code, or install it on the nodes."
            )
        there = folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)


def runtime_environment(file: Path | None) -> Mapping[str, Any]:
    """Return Ray's runtime environment from a YAML file; empty without one.

    Raises:
        SpecError: If the file cannot be read, or holds no mapping.
        ClusterError: If it sets a working directory or a secret, or its `env_vars` are no mapping.
    """
    if file is None:
        return {}
    found = read_yaml(file, f"--runtime-env {file}").data
    variables = found.get("env_vars", {})
    if not isinstance(variables, dict):
        raise ClusterError(f"--runtime-env {file}: env_vars must map names to values. Correct it.")
    if "working_dir" in found:
        raise ClusterError(f"--runtime-env {file} names a working_dir, which is this project's. Take it out.")
    if secrets := sorted(name for name in map(str, variables) if SECRET_NAME.search(name)):
        raise ClusterError(
            f"--runtime-env {file} sets {', '.join(secrets)}, which Ray would show to everyone who sees its jobs. "
            "Set it in the environment of the cluster's nodes instead."
        )
    return {**found, "env_vars": {str(name): str(value) for name, value in variables.items()}} if variables else found


@contextmanager
def packed(loaded: LoadedSpec) -> Iterator[Path]:
    """Yield a temporary folder with this project, the spec and the user's code: the driver's working directory."""
    with tempfile.TemporaryDirectory(prefix="sweeper-job-") as name:
        folder = Path(name)
        # In a checkout `sweeper/model` and `sweeper/search_spaces` are links; `copytree` copies their targets.
        shutil.copytree(PACKAGE, folder / "sweeper", ignore=shutil.ignore_patterns("__pycache__"))
        write_note(folder / "sweeper")
        (folder / _SPEC).write_text(loaded.text, encoding="utf-8")
        _take_code(loaded, folder)
        yield folder
