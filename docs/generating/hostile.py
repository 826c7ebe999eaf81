"""Tables of the answers to a damaged home and to hostile input, from the records that the fault tests wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.generating.markdown import table

FOLDER = Path(__file__).parents[1] / "faults"

#: Names in the tests of allowed and of forbidden answers.
_GOOD, _BAD = ("right", "accepted", "refused"), ("wrong", "traceback", "no sentence", "not audited")


def damage() -> str:
    """Return how often a damaged home was answered from, refused or misread, by the damaged part."""
    record = _read("damage.json")
    if record is None:
        return "No whole run has been recorded yet."
    tried: dict[str, dict[str, int]] = dict(record["tried"])
    mended = {name: tried.pop(name) for name in list(tried) if name.startswith("mending")}
    rows = [[name, str(counts["kinds"]), *_counted(counts)] for name, counts in tried.items()]
    kinds = sum(counts["kinds"] for counts in tried.values())
    total = [sum(int(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    rows.append(["in all", *map(str, total)])
    lines = [
        f"{kinds} kinds of damage, met by {record['questions']} questions to {record['commands']} commands:",
        table(["damaged", "kinds", "right", "refused in words", "wrong or silent", "tracebacks"], rows),
        *(_of_mending(counts) for counts in mended.values()),
        _measured(record),
    ]
    return "\n\n".join(lines)


def hostile_input() -> str:
    """Return how hostile specs, network files and conditions were handled."""
    record = _read("input.json")
    if record is None:
        return "No whole run has been recorded yet."
    rows = [[name, str(sum(counts.values())), *_counted(counts)] for name, counts in record["tried"].items()]
    head = ["given", "tried", "right or accepted", "refused in words", "wrong", "tracebacks"]
    return "\n\n".join([table(head, rows), _measured(record)])


def _counted(counts: dict[str, int]) -> list[str]:
    right = counts.get("right", 0) + counts.get("accepted", 0)
    bad = sum(number for name, number in counts.items() if name not in (*_GOOD, "kinds", "traceback"))
    return [str(number) for number in (right, counts.get("refused", 0), bad, counts.get("traceback", 0))]


def _of_mending(counts: dict[str, int]) -> str:
    return (
        f"`sweeper mirror` was then tried on {sum(counts.values())} of these homes whose ledger is whole: in "
        f"{counts.get('right', 0)} everything was answered as before the damage, in {counts.get('refused', 0)} it said "
        "why it cannot."
    )


def _measured(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    return (
        f"Tried on {record['date']}, on {record['processors']} processors of {record['processor']}; Python "
        f"{record['python']}, {versions}."
    )


def _read(name: str) -> dict[str, Any] | None:
    file = FOLDER / name
    found: dict[str, Any] | None = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found
