"""Installs this checkout into its environment, with the versions of `constraints.txt`. `make` runs it first.

    python3 install.py [EXTRA ...]

uv needs a tenth of pip's time, and is installed for this. It does not read pip's configuration (another index, a folder
of wheels, a certificate), so the configuration is passed to it. If uv fails for any reason, pip is used.

This script uses only the standard library, because nothing else is installed yet.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"

#: Setting of pip -> uv's environment variable, and the separator of several values in it.
SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", ""),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", ""),
    "proxy": ("ALL_PROXY", ""),
    "timeout": ("UV_HTTP_TIMEOUT", ""),
    "default-timeout": ("UV_HTTP_TIMEOUT", ""),
    "no-cache-dir": ("UV_NO_CACHE", ""),
}

#: Sections of pip's configuration; later ones take precedence.
SECTIONS = ("global", "install", ":env:")


def main(extras: Iterable[str]) -> int:
    """Create the environment if it is missing, and install the project with these extras into it."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    chosen = ",".join(extras)
    wanted = ["-c", "constraints.txt", "-e", f".[{chosen}]" if chosen else "."]
    for command, settings in ways(python):
        print("+", *command, *wanted, flush=True)
        if subprocess.run([*command, *wanted], cwd=ROOT, env=os.environ | settings, check=False).returncode == 0:
            return 0
        print("That did not work.", file=sys.stderr)
    return 1


def ways(python: Path) -> Iterable[tuple[list[str], Mapping[str, str]]]:
    """Yield commands that install into an environment, each with its environment variables; the last one is pip."""
    pip = [str(python), "-m", "pip"]
    configured = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    # uv has no variable for pip's setting `no-index`.
    if ".no-index=" not in configured and (uv := uv_of(python, pip)):
        settings = {name: value for name, value in settings_of(configured).items() if name not in os.environ}
        yield [uv, "pip", "install", "--python", str(python)], settings
    yield [*pip, "install"], {}


def uv_of(python: Path, pip: list[str]) -> str | None:
    """Return the path of the user's uv, or of one installed into the environment now; None if that fails."""
    own = python.with_name("uv")
    if found := shutil.which("uv"):
        return found
    if not own.exists():
        subprocess.run([*pip, "install", "--quiet", "-c", "constraints.txt", "uv"], cwd=ROOT, check=False)
    return str(own) if own.exists() else None


def settings_of(configured: str) -> dict[str, str]:
    """Return pip's configuration as environment variables of uv.

    Args:
        configured: Output of `pip config list`: `section.name='value'` in each line.
    """
    known: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in configured.splitlines():
        key, is_set, text = line.partition("=")
        section, _, name = key.rpartition(".")
        if is_set and section in known:
            known[section][name.replace("_", "-")] = str(ast.literal_eval(text))
    merged = {name: value for section in SECTIONS for name, value in known[section].items()}
    found = {}
    for name, (variable, separator) in SETTINGS.items():
        values = merged.get(name, "").split()
        if values:
            found[variable] = separator.join(values) if separator else values[-1]
    # As pip does, take the best version of all indexes.
    return found | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
