"""Compiles the recurrence for every kind of processor that may load it, with whatever C compiler is there.

It needs nothing but Python, so that an installation can run it before anything else is there. Called by itself it
compiles beside the source: `python -m sweeper.model.native.build`.
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

#: What is compiled, in that folder.
SOURCES = ("recurrence.c", "head.c")

#: By machine, as `platform.machine` calls it, and by name of what is compiled: options of the compiler. Vectors are as
#: long as the registers are. The first is what most of these machines have.
TARGETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "x86_64": {
        "avx2": ("-mavx2", "-mfma", "-DLANES=8"),
        "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-DLANES=16"),
    },
    "aarch64": {"neon": ("-DLANES=4",)},
    "arm64": {"neon": ("-DLANES=4",)},
}

#: Fused multiply-adds, as every fast matrix product has them; no assumption about NaN or infinity.
OPTIONS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno")


def digest() -> str:
    """Return what tells one version of the source, and of how it is compiled, from another."""
    found = hashlib.sha256()
    for file in sorted([*SOURCE.glob("*.c"), *SOURCE.glob("*.h"), SOURCE / "build.py"]):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def file_name(target: str) -> str:
    """Return what the compiled recurrence is called."""
    return f"recurrence-{target}.so"


def compiler() -> str | None:
    """Return the C compiler that the environment names in CC, or the system's; None where there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


def compile_one(folder: Path, target: str, options: tuple[str, ...]) -> Path:
    """Compile the recurrence for one kind of processor.

    Args:
        folder: Where to write; a reader never meets half a file.
        target: What it is called.
        options: Of the compiler, beside `OPTIONS`.

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
    """Compile the recurrence for all kinds of processors of this machine's kind.

    What cannot be compiled is left out: the recurrence then runs in torch, slower and with the same answers.

    Returns:
        The files, and why others are missing, a line each.
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
