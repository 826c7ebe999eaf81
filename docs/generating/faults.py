"""Tables of the fault tests and their results, from the records that the tests wrote."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from docs.generating.markdown import table

FOLDER = Path(__file__).parents[1] / "faults"

#: Failures that are counted for each sweep under test.
_COUNTED = ("lost", "repeated", "stuck", "tracebacks", "wrong")


def kills() -> str:
    """Return how often each process was killed, and the failures found."""
    record = json.loads((FOLDER / "kills.json").read_text(encoding="utf-8"))
    sweeps: dict[str, Any] = record["sweeps"]
    strikes = [strike for sweep in sweeps.values() for strike in sweep["strikes"]]
    killed = Counter(strike["target"] for strike in strikes if strike["signal"] == "SIGKILL")
    others = Counter((strike["target"], strike["signal"]) for strike in strikes if strike["signal"] != "SIGKILL")
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    trials, times, minutes = (_sum(sweeps, what) for what in ("trials", "sweeps", "minutes"))
    found = sum(_sum(sweeps, kind) for kind in _COUNTED)
    lines = [
        f"{killed.total()} kills and {others.total()} other signals over {times:.0f} sweeps with {trials:.0f} trials: "
        f"{f'{found:.0f} times something' if found else 'nothing'} was lost, repeated, stuck or wrong.",
        _sweeps(sweeps),
        _targets(killed, others),
        f"Measured on {record['date']} with seed {record['seed']}, in {minutes:.0f} minutes, on {record['processors']} "
        f"processors of {record['processor']}; Python {record['python']}, {versions}.",
    ]
    return "\n\n".join(lines)


def _sum(sweeps: dict[str, Any], what: str) -> float:
    return sum(sweep[what] for sweep in sweeps.values())


def _sweeps(sweeps: dict[str, Any]) -> str:
    head = ["sweep", "ledger", "MLflow", "kills", "other signals", "drivers", "trials", *_COUNTED]
    rows = []
    for name, sweep in sweeps.items():
        kills_ = sum(strike["signal"] == "SIGKILL" for strike in sweep["strikes"])
        struck = [kills_, len(sweep["strikes"]) - kills_, sum(sweep["ends"].values()), sweep["trials"]]
        counted = [*struck, *(sweep[kind] for kind in _COUNTED)]
        places = [sweep["ledger"], "a server" if sweep["tracker"] == "server" else sweep["tracker"]]
        rows.append([f"{name}: {sweep['what']}", *places, *map(str, counted)])
    return table(head, rows)


def _targets(killed: Counter[str], others: Counter[tuple[str, str]]) -> str:
    rows = []
    for target, times in sorted(killed.items(), key=lambda one: (-one[1], one[0])):
        said = ", ".join(f"{number} × {signal}" for (its, signal), number in sorted(others.items()) if its == target)
        rows.append([target, str(times), said or "–"])
    return table(["struck", "kills", "other signals"], rows)
