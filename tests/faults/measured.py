"""The date, processor and versions with which a record of faults was made."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sweeper.limits import read_limits


def measured_on(packages: Iterable[str]) -> dict[str, object]:
    """Return the date, the processors, and the versions of Python and of some packages."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "processors": read_limits().workers,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def _processor() -> str:
    """Return the name of the processor, with its family and widest vector instructions, since names are not unique."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    its = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = its.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), platform.machine())
    return f"{its.get('model name', platform.machine())} (family {its.get('cpu family', '?')}, {widest})"
