"""Builds the files to publish, and tries them out as a user would. `make release` runs it.

    python release.py [FOLDER]

builds the wheel and the source distribution in FOLDER (default: `dist`), checks them with twine, installs the wheel
into a new environment with the versions of `constraints.txt`, runs and audits the sweep `smoke` there, and lists the
remaining manual steps. Nothing is published.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent

#: Prefixes of environment variables that would change the build, the imports of the new environment, or its sweeps.
HIDDEN = ("PYTHON", "SWEEPER_", "MLFLOW_", "RAY_", "VIRTUAL_ENV")


def main(folder: Path) -> None:
    """Build, check and try out; exit with the first problem."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    folder.mkdir(parents=True, exist_ok=True)
    if old := [path.name for path in folder.iterdir()]:
        sys.exit(f"{folder} must be empty, but it holds {', '.join(sorted(old)[:3])}. Remove that first.")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder))
    built = sorted(map(str, folder.iterdir()))
    run(sys.executable, "-m", "twine", "check", "--strict", *built)
    (wheel,) = (path for path in built if path.endswith(".whl"))
    with tempfile.TemporaryDirectory(prefix="sweeper-release-") as scratch:
        environment = Path(scratch, "env")
        run(sys.executable, "-m", "venv", str(environment))
        python = str(environment / "bin" / "python")
        run(python, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), wheel)
        try_out(environment / "bin" / "sweeper", Path(scratch, "work"), version)
    print(f"\n{' and '.join(Path(path).name for path in built)} are in {folder}, and work from a fresh environment.")
    for line in left_to_do(version, built):
        print(f"  - {line}")


def try_out(sweeper: Path, place: Path, version: str) -> None:
    """Run and audit a sweep with an installed command, in an empty folder."""
    place.mkdir()
    said = run(str(sweeper), "--version", cwd=place)
    if said.split() != ["sweeper", version]:
        sys.exit(f"`sweeper --version` must say sweeper {version}, but it says {said.strip()!r}.")
    run(str(sweeper), "run", "smoke", cwd=place)
    run(str(sweeper), "audit", "smoke", cwd=place)


def left_to_do(version: str, built: list[str]) -> list[str]:
    """Return the steps that a person has to decide and do."""
    notes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(rf"^## {re.escape(version)}\b.*$", notes, re.M)
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    todo = []
    if heading is None:
        todo.append(f"write what changed in {version} into CHANGELOG.md")
    elif "unreleased" in heading[0]:
        todo.append(f"put today's date in place of `unreleased` at {version} in CHANGELOG.md")
    if cited is None or cited[1] != version:
        todo.append(f"write version: {version} into CITATION.cff")
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    if changed.strip():
        todo.append("commit, or put away, what git says has changed, and build again")
    return [
        *todo,
        "run `make test`, `make faults` and `make lowest` on this commit",
        f"git tag -s v{version} && git push origin v{version}",
        *upload(built),
        f"publish the notes of {version} with the tag, and the site of `make docs`",
    ]


def upload(built: list[str]) -> list[str]:
    """Return how to publish files: an index refuses a wheel with code compiled for an unspecified Linux."""
    local = [path for path in built if "-linux_" in path]
    taken = [path for path in built if path not in local]
    aside = "a package index does not take it, and whoever installs the source distribution compiles anew"
    return [
        *(f"give {Path(path).name} away as it is, or not at all: {aside}" for path in local),
        f"python -m twine upload {' '.join(taken)}",
    ]


def run(*command: str, cwd: Path = ROOT) -> str:
    """Print and run a command, and return its output; if it fails, exit with its output."""
    print("+", *command, flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\n`{' '.join(command)}` ended with {done.returncode}.")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "dist"))
