"""Checks of installed software: Python, packages, imports, torch. Each gets its subject as arguments."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from sweeper.checks.finding import Finding, fine, problem, warning
from sweeper.isolated import PENDING, ask
from sweeper.provenance import DISTRIBUTION

#: Modules to import of packages whose import name differs from the installed name, or that need more than one.
_MODULES = {
    "pyyaml": ["yaml"],
    "scikit-learn": ["sklearn"],
    "pillow": ["PIL"],
    "ray": ["ray", "ray.tune"],
}
_IMPORT_TIMEOUT_S = 180  # long enough for a first import from a slow disk

#: Packages whose versions are reported even if everything fits.
_NAMED = ("torch", "ray", "optuna", "mlflow", "pyarrow", "numpy")

#: Files that exist if a driver of NVIDIA's or AMD's devices is loaded.
GPU_FILES = (Path("/dev/nvidiactl"), Path("/proc/driver/nvidia/version"), Path("/dev/kfd"))


def requirements_of(distribution: str) -> list[Requirement]:
    """Return the requirements of an installed distribution; none if it is not installed."""
    try:
        return [Requirement(text) for text in importlib.metadata.requires(distribution) or ()]
    except (importlib.metadata.PackageNotFoundError, InvalidRequirement):
        return []


def version_of(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def asked(requirements: Sequence[Requirement], extra: str = "") -> list[Requirement]:
    """Return the requirements that apply on this machine: those of an extra alone, or without one those of no extra."""
    found = []
    for one in requirements:
        always = one.marker is None or one.marker.evaluate({"extra": ""})
        if (not always and one.marker is not None and one.marker.evaluate({"extra": extra})) if extra else always:
            found.append(one)
    return found


def unmet(requirements: Sequence[Requirement]) -> list[str]:
    """Return a text for each requirement that the installed packages do not meet, extras included."""
    found = []
    for one in requirements:
        version = version_of(one.name)
        if version is None:
            found.append(f"{one.name}{one.specifier} is not installed")
        elif not one.specifier.contains(version, prereleases=True):
            found.append(f"{one.name} is {version}, but {one.name}{one.specifier} is needed")
        for extra in sorted(one.extras):
            missing = unmet(asked(requirements_of(one.name), extra)) if version else []
            found += [f"{one.name}[{extra}] is not complete: {text}" for text in missing]
    return found


def python(version: str, requires: str) -> Finding:
    """Compare the version of Python with the required one, such as `>=3.11`."""
    if SpecifierSet(requires).contains(version, prereleases=True):
        return fine("python", version)
    return problem(
        "python",
        f"Python is {version}, but sweeper needs {requires}",
        "Make an environment with another one: make PYTHON=python3.12 quickstart.",
    )


def names(namesake: str | None) -> Iterator[Finding]:
    """Report another installed package of the same import name, whose files lie among ours."""
    if namesake:
        yield problem(
            "name",
            f"{namesake}, is installed in this environment: its files and ours share the folder `sweeper`",
            f"Remove it, and install this project again: pip uninstall sweeper; pip install --force-reinstall "
            f"--no-deps {DISTRIBUTION}.",
        )


def packages(requirements: Sequence[Requirement]) -> Iterator[Finding]:
    """Compare installed versions with the required ones."""
    if not requirements:
        yield problem(
            "packages",
            "sweeper is not installed in this environment, so what it needs is not known",
            "Install it: pip install .",
        )
        return
    found = unmet(requirements)
    for text in found:
        yield problem("packages", text, "Bring the environment up to date: pip install --upgrade .")
    if not found:
        versions = ", ".join(f"{name} {version_of(name)}" for name in _NAMED if version_of(name))
        count = len({one.name for one in requirements})
        yield fine("packages", f"{count} packages have the versions asked for ({versions})")


def job_submission(requirements: Sequence[Requirement]) -> Finding:
    """Check Ray's extra for submitting jobs; `requirements` are those of its extra `default`."""
    missing = unmet(requirements)
    if not missing:
        return fine("ray jobs", "ray[default] is complete: sweeps can be submitted as jobs")
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return warning(
        "ray jobs",
        f"sweeps cannot be submitted as Ray jobs from here: {'; '.join(missing[:3])}{more}",
        "Needed only for that: pip install 'ray[default]'.",
    )


def modules_of(requirements: Sequence[Requirement]) -> list[str]:
    """Return the modules to import of the required packages."""
    names = dict.fromkeys(one.name.lower() for one in requirements)  # a package may be required twice
    return [module for name in names for module in _MODULES.get(name, [name.replace("-", "_")])]


def imports(modules: Sequence[str]) -> Iterator[Finding]:
    """Import each module in another process, and report the true error of each one that fails."""
    errors: dict[str, str] = {}
    left = list(modules)
    while left:
        ended = ""
        for answer in ask(["imports", *left], _IMPORT_TIMEOUT_S):
            if isinstance(answer, str):
                ended = answer
            else:
                errors[answer["package"]] = answer["error"]
        stuck = [name for name in left if errors.get(name) == PENDING]  # this import ended the process
        if not stuck:
            break
        errors[stuck[0]] = ended or "the process ended"
        left = left[left.index(stuck[0]) + 1 :]
    broken = {name: errors.get(name, ended) for name in modules if errors.get(name, ended)}
    for name, error in broken.items():
        if name.split(".")[0] in broken.keys() - {name}:
            continue  # its package is reported already
        yield problem(
            "imports",
            f"`import {name}` fails: {' '.join(error.split())[:600]}",
            f"Mend what it names, or install it again: pip install --force-reinstall {name.split('.')[0]}.",
        )
    if not broken:
        yield fine("imports", f"{', '.join(modules)}")


def torch_build(facts: Mapping[str, Any] | str, gpu_files: Sequence[Path] = GPU_FILES) -> Finding:
    """Report what torch was built for, and warn about a GPU that it cannot use.

    Args:
        facts: The facts of `model.compute.torch_facts`; a text with the reason if torch could not be asked.
        gpu_files: Files that exist if a GPU's driver is loaded.
    """
    if isinstance(facts, str):
        return problem("torch", f"torch could not be asked for its devices: {facts}", "Mend what it names.")
    devices = ", ".join(facts["devices"]) or "no GPU"
    found = f"{facts['version']}, built for {facts['built_for']}, {devices}; training uses one CPU thread a worker"
    drivers = [str(path) for path in gpu_files if path.exists()]
    if drivers and not facts["devices"]:
        return warning(
            "torch",
            f"{found}. A GPU's driver is here ({drivers[0]}) that this torch cannot use",
            "Nothing is lost: this version trains on CPUs. For other uses, install a build of torch for it.",
        )
    return fine("torch", found)


def recurrence(facts: Mapping[str, Any] | str) -> Finding:
    """Report which code runs networks on CPUs, and how fast it is here.

    Args:
        facts: The answer of `training.probe` about torch; a text with the reason if torch could not be asked.
    """
    if isinstance(facts, str):
        return warning("recurrence", "not known, since torch could not be asked", "Mend what is said of torch.")
    fastest, took = facts["recurrences"][0], facts["step_ms"]
    step = f"a training step of eight networks of 3 × 8 channels takes {took[fastest]:.1f} ms"
    if fastest != "torch":
        gain = took["torch"] / took[fastest]
        return fine(
            "recurrence", f"networks run in code compiled for {fastest}: {step}, {gain:.1f} times faster than in torch"
        )
    return warning(
        "recurrence",
        f"networks run in torch, since no compiled code is here that fits this processor: {step}",
        "Nothing is lost but speed, about half of it: install a C compiler (cc), and install this project again.",
    )


def browser(facts: Mapping[str, Any] | str) -> Finding:
    """Report whether there is a browser to draw pictures as SVG, PNG and PDF.

    Args:
        facts: The answer of `sweeper.checks.probe.browser`; a text with the reason if it could not be asked.
    """
    way_out = (
        "Needed only for pictures as .svg, .png and .pdf: install Chrome or Chromium, or set BROWSER_PATH to the "
        "program of one."
    )
    if isinstance(facts, str):
        return warning("browser", f"what draws pictures could not be asked for its browser: {facts}", way_out)
    if facts["browser"]:
        return fine("browser", "there is a Chrome or Chromium for pictures as SVG, PNG and PDF")
    named = f" at BROWSER_PATH={facts['named']}" if facts["named"] else ""
    return warning("browser", f"there is no Chrome or Chromium{named}", way_out)


def newer(version: str, specifier: SpecifierSet) -> bool | None:
    """Return True if a version is above the allowed ones, False if below, None if it fits or is not a version."""
    try:
        found = Version(version)
    except InvalidVersion:
        return None
    if specifier.contains(found, prereleases=True):
        return None
    lowest = [Version(one.version) for one in specifier if one.operator in (">=", ">", "==", "~=")]
    return not lowest or found >= max(lowest)
