"""`sweeper doctor`: runs all checks in order, each guarded, so that one that fails does not hide the others."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from sweeper.checks import machine, services, software
from sweeper.checks.finding import Finding, problem, problem_of, warning
from sweeper.errors import SweepError
from sweeper.isolated import ask
from sweeper.ledger.home import Home
from sweeper.limits import read_limits
from sweeper.provenance import DISTRIBUTION, namesake

if TYPE_CHECKING:  # imported in a function, because it needs packages that may be broken
    from sweeper.spec import LoadedSpec

_TORCH_TIMEOUT_S = 120
_BROWSER_TIMEOUT_S = 60


@dataclass(frozen=True)
class Subject:
    """The subject of an examination.

    Attributes:
        home: Folder that holds sweeps, or will.
        tracking_uri: Address of MLflow; None for the database in the home.
        address: Address of a Ray cluster; None for none.
        space: A search space whose needs to compare with this machine; None for none.
        workers: Populations trained at a time; None for one per usable processor.
        auth_mode: RAY_AUTH_MODE; None if it is not set.
        run_id: MLFLOW_RUN_ID; None if it is not set.
        environment: The environment variables of a Ray that is started here.
    """

    home: Path
    tracking_uri: str | None = None
    address: str | None = None
    space: str | None = None
    workers: int | None = None
    auth_mode: str | None = None
    run_id: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def examine(subject: Subject) -> Iterator[Finding]:
    """Yield the findings of all checks as soon as they are known, and leave nothing behind.

    Raises:
        SpecError: If the search space is wrong, which is the user's mistake and not a finding.
    """
    loaded = _loaded(subject.space) if subject.space else None
    asked = software.asked(software.requirements_of(DISTRIBUTION))
    yield from _guarded("python", lambda: [software.python(platform.python_version(), _requires_python())])
    yield from _guarded("name", lambda: software.names(namesake()))
    yield from _guarded("packages", lambda: software.packages(asked))
    yield from _guarded("imports", lambda: software.imports(software.modules_of(asked)))
    yield from _guarded("torch", _torch)
    jobs = software.asked(software.requirements_of("ray"), "default")
    yield from _guarded("ray jobs", lambda: [software.job_submission(jobs)])
    yield from _guarded("machine", lambda: _machine(subject))
    if subject.address:
        address = subject.address
        yield from _guarded("ray cluster", lambda: services.cluster(address, subject.auth_mode))
    else:
        yield from _guarded("ray auth", lambda: [services.authentication(subject.auth_mode)])
        yield from _guarded("ray sockets", lambda: [services.sockets(subject.environment)])
    yield from _guarded("browser", _browser)
    yield from _guarded("tracking", lambda: _tracking(subject, _versions_of("mlflow")))
    yield from _guarded("outside of the home", lambda: _outside(subject))
    if isinstance(loaded, Finding):
        yield loaded
    elif loaded is not None:
        yield from _guarded("needs of the sweep", lambda: _needs(subject, loaded))


def _guarded(check: str, run: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Turn an exception of a check into a finding."""
    try:
        yield from run()
    except SweepError as error:
        yield problem_of(check, error)
    except Exception as error:  # a broken package may raise anything from anywhere
        yield problem(
            check,
            f"could not be checked: {type(error).__name__}: {error}",
            "Mend what the lines above name first; if there is nothing, this is a mistake in sweeper.",
        )


def _loaded(space: str) -> LoadedSpec | Finding:
    try:
        from sweeper.spec import load_spec
    except ImportError as error:
        return problem("needs of the sweep", f"no spec can be read: {error}", "Mend what the lines above name first.")
    return load_spec(space)


def _requires_python() -> str:
    try:
        return importlib.metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except (importlib.metadata.PackageNotFoundError, KeyError):
        return ""


def _versions_of(name: str) -> SpecifierSet:
    asked = software.requirements_of(DISTRIBUTION)
    return next((one.specifier for one in asked if one.name == name), SpecifierSet())


def _torch() -> Iterator[Finding]:
    answers = ask(["torch"], _TORCH_TIMEOUT_S)
    facts = answers[0] if answers else "it said nothing"
    yield software.torch_build(facts)
    yield software.recurrence(facts)


def _browser() -> Iterator[Finding]:
    answers = ask(["browser"], _BROWSER_TIMEOUT_S)
    yield software.browser(answers[0] if answers else "it said nothing")


def _machine(subject: Subject) -> Iterator[Finding]:
    limits = read_limits()
    yield machine.processors(limits)
    yield machine.memory(limits)
    yield machine.home(subject.home)
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    yield machine.file_system(subject.home.resolve(), mounts)
    yield machine.disk(machine.free_bytes(subject.home))


def _tracking(subject: Subject, versions: SpecifierSet) -> Iterator[Finding]:
    if found := services.run_variable(subject.run_id):
        yield found
    home = Home(subject.home)
    uri = subject.tracking_uri or home.tracking_uri
    file = services.sqlite_file(uri)
    if file is not None and not file.exists():
        mirrored = [name for name in home.sweeps() if home.sweep(name).tracking_uri == uri]
        if mirrored:
            yield warning(
                "tracking",
                f"{file} is gone, and {len(mirrored)} sweeps of this home were mirrored there",
                f"Restore it, or write it again from each ledger: sweeper mirror {mirrored[0]}",
            )
            return
    if file is not None and file.parent != subject.home.absolute():
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        yield machine.file_system(file.parent.resolve(), mounts)
    yield from services.tracking(uri, versions)


def _outside(subject: Subject) -> Iterator[Finding]:
    from sweeper.checks.outside import outside  # loads pyarrow, which may be broken

    yield outside(Home(subject.home))


def _needs(subject: Subject, loaded: LoadedSpec) -> Iterator[Finding]:
    from sweeper.driver.estimate import estimate

    limits = read_limits()
    needed = estimate(loaded, subject.workers or limits.workers)
    yield from machine.needs(needed.memory_bytes, needed.disk_bytes, limits, machine.free_bytes(subject.home))
