"""Records the results of the schedule of kills in a file, from which the documentation's figures are made."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from tests.faults.measured import measured_on
from tests.faults.schedule import PLANS, SEED, Tale

#: Kinds of findings that are counted.
COUNTED = ("lost", "repeated", "stuck", "tracebacks", "wrong")

#: Packages whose versions matter to the effect of a fault.
_PACKAGES = ("pareto-sweeper", "ray", "optuna", "mlflow", "torch", "sqlalchemy", "psycopg")


class Record:
    """Collects the results of all sweeps of one seed."""

    def __init__(self, seed: int = SEED) -> None:
        self.seed, self._tales = seed, dict[str, dict[str, Any]]()

    def add(self, name: str, tale: Tale, seconds: float) -> None:
        """Note the results of one sweep's strikes."""
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
        """Whether the record has every sweep of the schedule."""
        return self._tales.keys() == PLANS.keys()

    def text(self) -> str:
        """Return the record as JSON."""
        found = {
            "seed": self.seed,
            **measured_on(_PACKAGES),
            "sweeps": self._tales,
        }
        # One strike per line, so that two records are easy to compare.
        text = json.dumps(found, indent=1, ensure_ascii=False)
        return re.sub(r"\{\n +\"target\".*?\}", lambda one: re.sub(r"\s*\n\s*", " ", one[0]), text, flags=re.S) + "\n"
