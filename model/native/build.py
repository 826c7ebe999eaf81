"""Compiles the recurrence with the system's C compiler, once for every instruction set of this machine's architecture.

This file needs only Python, so that an installation can run it first. Run as a program, it writes the compiled files
beside the source: `python -m sweeper.model.native.build`.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).parent

#: The compiled files, in that folder.
SOURCES = ("recurrence.c", "head.c")

#: Architecture, as `platform.machine` names it -> instruction set -> options of the compiler. `LANES` is the number of
#: floats in a register. The first instruction set is the most common one.
TARGETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx2": ("-mavx2", "-mfma", "-DLANES=8"),
        "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-DLANES=16"),
    },
    "aarch64": {"neon": ("-DLANES=4",)},
    "arm64": {"neon": ("-DLANES=4",)},
}

#: Options that allow fused multiply-adds, as fast matrix products do, and assume nothing about NaN or infinity.
OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno")


def digest() -> str:
    """Return a hash of the source and of this file, which changes with the way of compiling."""
    found = hashlib.sha256()
    for file in sorted([*SOURCE.glob("*.c"), *SOURCE.glob("*.h"), SOURCE / "build.py"]):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def file_name(target: str) -> str:
    """Return the file name of the compiled recurrence."""
    return f"recurrence-{target}.so"


def compiler() -> str | None:
    """Return the C compiler that the environment variable CC names, or the system's; None if there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


def compile_one(folder: Path, target: str, options: tuple[str, ...]) -> Path:
    """Compile the recurrence for one instruction set.

    Args:
        folder: Where to write; a reader never meets half a file.
        target: Name of the instruction set.
        options: Options of the compiler, in addition to `OPTIONS`.

    Raises:
        OSError: If there is no compiler, or nothing can be written.
        subprocess.CalledProcessError: If the compiler refuses; its `stderr` says why.
    """
    found = compiler()
    if found is None:
        raise FileNotFoundError("there is no C compiler: install one, or name it in the variable CC")
    file = folder / file_name(target)
    aside = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        version = f'-DSOURCE_DIGEST="{digest()}"'
        words = [found, *OPTIONS, *options, version, "-o", str(aside), *(str(SOURCE / name) for name in SOURCES), "-lm"]
        subprocess.run(words, check=True, capture_output=True, text=True)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return file


def compile_all(folder: Path = SOURCE) -> tuple[list[Path], list[str]]:
    """Compile the recurrence for all instruction sets of this machine's architecture.

    Files that cannot be compiled are left out: the recurrence then runs in torch, slower and with the same answers.

    Returns:
        The files, and for each missing file one line that says why.
    """
    files, problems = [], []
    targets = TARGETS.get(platform.machine(), {})
    if sys.platform not in ("linux", "darwin") or not targets:
        return [], [f"nothing is compiled for {platform.machine()} under {sys.platform}"]
    for target, options in targets.items():
        try:
            files.append(compile_one(folder, target, options))
        except OSError as error:
            problems.append(f"{target}: {error.strerror or error}")
        except subprocess.CalledProcessError as error:
            problems.append(f"{target}: {compiler()} says: {' '.join(str(error.stderr).split())[:500]}")
    return files, problems


if __name__ == "__main__":
    compiled, missing = compile_all()
    print(*(f"compiled {file}" for file in compiled), *missing, sep="\n")
    sys.exit(0 if compiled else 1)
