"""What the schedule of kills came to, as a file that the documentation's figures are made of."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sweeper.limits import read_limits
from tests.faults.schedule import PLANS, SEED, Tale

#: What is counted, beside what was tried.
COUNTED = ("lost", "repeated", "stuck", "tracebacks", "wrong")

#: Whose versions matter to what a fault does.
_PACKAGES = ("pareto-sweeper", "ray", "optuna", "mlflow", "torch", "sqlalchemy", "psycopg")


class Record:
    """Collects the tales of all sweeps of one seed."""

    def __init__(self, seed: int = SEED) -> None:
        self.seed, self._tales = seed, dict[str, dict[str, Any]]()

    def add(self, name: str, tale: Tale, seconds: float) -> None:
        """Note what came of one sweep's strikes."""
        plan = PLANS[name]
        self._tales[name] = {
            "what": plan.what,
            "ledger": plan.ledger,
            "tracker": plan.tracker,
            "workers": plan.workers,
            "sweeps": tale.sweeps,
            "trials": tale.trials,
            "strikes": [asdict(strike) for strike in tale.strikes],
            "ends": dict(sorted(tale.ends.items())),
            **{kind: len(getattr(tale, kind)) for kind in COUNTED},
            "minutes": round(seconds / 60, 1),
        }

    @property
    def is_whole(self) -> bool:
        """Whether every sweep of the schedule is in it."""
        return self._tales.keys() == PLANS.keys()

    def text(self) -> str:
        """Return it as JSON."""
        found = {
            "seed": self.seed,
            "date": datetime.now(UTC).date().isoformat(),
            "processor": processor(),
            "processors": read_limits().workers,
            "python": platform.python_version(),
            "versions": {name: version(name) for name in _PACKAGES},
            "sweeps": self._tales,
        }
        # A strike a line: who compares two runs sees which one came to what.
        text = json.dumps(found, indent=1, ensure_ascii=False)
        return re.sub(r"\{\n +\"target\".*?\}", lambda one: re.sub(r"\s*\n\s*", " ", one[0]), text, flags=re.S) + "\n"


def processor() -> str:
    """Return the name of the processor, with what tells apart those of one name."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    its = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = its.get("flags", "").split()
    widest = next((name for name in ("avx512f", "avx2", "avx") if name in flags), platform.machine())
    return f"{its.get('model name', platform.machine())} (family {its.get('cpu family', '?')}, {widest})"
