"""What fault tests tried and found, as a file that the documentation's figures are made of."""

from __future__ import annotations

import json
import platform
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from sweeper.limits import read_limits

#: Whose versions matter to what is read.
_PACKAGES = ("pareto-sweeper", "mlflow", "optuna", "pyarrow", "safetensors", "torch", "hypothesis")


class Tried:
    """Counts answers by what was tried, and keeps those that are wrong in words."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.wrong: list[str] = []

    def note(self, what: str, answer: str, said: str = "") -> None:
        """Count one answer; `said` is what is wrong with it, where something is."""
        self.counts[what][answer] += 1
        if said:
            self.wrong.append(f"{what}: {answer}: {said}")

    def write(self, file: str | Path, **more: object) -> None:
        """Write it as JSON, with when, where and on what it was found."""
        found = {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "processors": read_limits().workers,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in _PACKAGES},
            **more,
            "tried": {what: dict(sorted(counts.items())) for what, counts in self.counts.items()},
        }
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def processor() -> str:
    """Return the name of the processor, with what tells apart those of one name."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    its = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = its.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), platform.machine())
    return f"{its.get('model name', platform.machine())} (family {its.get('cpu family', '?')}, {widest})"
