"""Decides the five claims for a stored sweep, from its tracker alone; gives findings as plain values and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from sweeper.analysis.points import own_units_in
from sweeper.errors import DamagedError, QueryError
from sweeper.results.sweep_tables import SweepTables
from sweeper.spelling import did_you_mean

if TYPE_CHECKING:  # these modules load scipy, so only functions that need it import them
    from sweeper.analysis.findings.verdicts import Finding, Part

#: Side of the images of `digits`, in pixels; assumed if no stored network says the size of its images.
_DIGITS_SIDE = 8


@dataclass(frozen=True)
class Findings:
    """The findings of a sweep.

    Attributes:
        sweep: Its name.
        findings: One for each claim that the user asked about.
        unfinished: Number of trials that have not ended; their results may change the verdicts.
    """

    sweep: str
    findings: tuple[Finding, ...]
    unfinished: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON holds them; numbers that are not finite are still NaN."""
        claims = [claim_values(one) for one in self.findings]
        return {"sweep": self.sweep, "unfinished": self.unfinished, "claims": claims}

    def to_table(self) -> pa.Table:
        """Return one row for each effect: claim, task, halting rule, effect with interval, p, verdict."""
        rows = [row_of(part) for finding in self.findings for part in finding.parts]
        return pa.Table.from_pylist(rows, SCHEMA)


#: Columns of the table of effects, which has a row for each effect.
SCHEMA = pa.schema([
    ("claim", pa.string()),
    ("task", pa.string()),
    ("rule", pa.string()),
    ("effect_of", pa.string()),
    ("effect", pa.float64()),
    ("low", pa.float64()),
    ("high", pa.float64()),
    ("unit", pa.string()),
    ("least", pa.float64()),
    ("p", pa.float64()),
    ("p_corrected", pa.float64()),
    ("networks", pa.int64()),
    ("seeds", pa.int64()),
    ("verdict", pa.string()),
    ("qualifier", pa.string()),
    ("why", pa.string()),
])


def row_of(part: Part) -> dict[str, Any]:
    """Return an effect as a row of `SCHEMA`; unknown numbers are null."""
    row = {
        "claim": part.claim,
        "task": part.task,
        "rule": part.rule,
        "effect_of": part.name,
        "effect": part.effect.value,
        "low": part.effect.low,
        "high": part.effect.high,
        "unit": part.unit,
        "least": part.least,
        "p": part.p,
        "p_corrected": part.corrected,
        "networks": part.networks,
        "seeds": part.seeds,
        "verdict": str(part.verdict),
        "qualifier": part.qualifier,
        "why": part.why,
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def claim_values(finding: Finding) -> dict[str, Any]:
    """Return the finding about one claim as plain values."""
    from sweeper.analysis.findings.decide import SHIPPED

    return {
        "claim": finding.claim,
        "title": finding.title,
        "verdicts": [
            {"task": task, "rule": rule, "verdict": str(verdict)} for (task, rule), verdict in finding.verdicts.items()
        ],
        "missing": list(finding.missing),
        "shipped": SHIPPED[finding.claim],
        "parts": [
            {
                **row_of(part),
                "controls": [
                    {"name": one.name, "passed": one.is_passed, "says": one.says, "qualifier": one.qualifier}
                    for one in part.controls
                ],
                "numbers": dict(part.numbers),
            }
            for part in finding.parts
        ],
        "described": [dict(one) for one in finding.described],
    }


def said_of_unfinished(trials: int) -> str:
    """Return a sentence that says how many trials have not ended; empty if all have."""
    if not trials:
        return ""
    number = "1 trial has" if trials == 1 else f"{trials} trials have"
    return f"{number} not ended yet: with all of them verdicts may be others"


def lacks(finding: Finding) -> str:
    """Return in words what a sweep lacks to decide a claim, and which shipped sweep has it."""
    from sweeper.analysis.findings.decide import SHIPPED

    return (
        f"this sweep cannot answer: {'; '.join(finding.missing)}. "
        f"The shipped sweep {SHIPPED[finding.claim]} has what it takes."
    )


def effect_text(part: Part) -> str:
    """Return an effect in words: value, interval, unit, smallest effect that matters, p, networks and seeds."""
    if not math.isfinite(part.effect.value):
        return "not known"
    interval = f" ({part.effect.low:.3g} to {part.effect.high:.3g})" if part.effect.is_known else ""
    p = f"; p {part.p:.2g}, corrected {part.corrected:.2g}" if math.isfinite(part.corrected) else ""
    counted = f"; {part.networks} networks of {part.seeds} seeds" if part.networks else ""
    return f"{part.effect.value:.3g}{interval} {part.unit}, {part.least:g} matters{p}{counted}"


def findings_of(
    sweep: SweepTables,
    claims: Sequence[str] = (),
    human: Sequence[str | Path] = (),
    *,
    are_alone: bool = False,
) -> Findings:
    """Decide claims for a stored sweep.

    Args:
        sweep: The sweep.
        claims: Which of F1 to F5; none for all.
        human: Files of human data, with the columns of docs/reference/human-data.md.
        are_alone: Whether to skip the other claims. This takes less time, but then p-values are corrected over these
            claims alone, so the verdicts do not count.

    Raises:
        QueryError: If there is no such claim, a file cannot be read, or it is about other images.
    """
    from sweeper.analysis.findings.decide import CLAIMS, Evidence, decide
    from sweeper.analysis.findings.looks import looks_of
    from sweeper.analysis.findings.networks import networks_of

    if own_units_in(sweep.records) is not None:
        raise QueryError(
            f"sweep {sweep.name!r} trains a user's own function, and findings are about lattices: their breadth, depth "
            "and time. Ask a sweep of lattices."
        )
    wanted = [_known(claim, CLAIMS) for claim in claims] or list(CLAIMS)
    # Unreadable files are refused before the tracker is asked.
    read = [(Path(file).name, _read(Path(file))) for file in human]
    networks = networks_of(sweep.trials(), sweep.spec)
    try:
        looks = looks_of(sweep.probes())
    except DamagedError:
        raise
    except QueryError:  # the sweep has no probes; each claim says what it lacks
        looks = {}
    people = _joined(read, sweep)
    found = decide(Evidence(sweep.spec, networks, looks, people), wanted if are_alone else CLAIMS)
    kept = tuple(finding for finding in found if finding.claim in wanted)
    return Findings(sweep.name, kept, sweep.unfinished)


def _known(claim: str, claims: Mapping[str, str]) -> str:
    if claim.upper() in claims:
        return claim.upper()
    hint = did_you_mean(claim, claims, "Name one of these.")
    raise QueryError(f"there is no claim {claim!r} (there are: {', '.join(claims)}). {hint}")


def _read(file: Path) -> pa.Table:
    """Return a table of human data, from Parquet or CSV."""
    try:
        if file.suffix.lower() == ".csv":
            return pyarrow.csv.read_csv(file)
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise QueryError(f"the human data in {file} cannot be read: {reason}. Name a Parquet or CSV file.") from error


def _joined(read: Sequence[tuple[str, pa.Table]], sweep: SweepTables) -> Any:
    """Return the human data of all files together; None for no file."""
    from sweeper.analysis.findings.human import Human, human_of

    if not read:
        return None
    said = [human_of(table, name, _side_of(sweep)) for name, table in read]
    by_image = [one.difficulty for one in said if one.difficulty is not None]
    if len(by_image) > 1:
        raise QueryError(
            f"{len(by_image)} of the files say how hard people found each image. Name one of them at a time."
        )
    conditions = tuple(condition for one in said for condition in one.conditions)
    return Human(by_image[0] if by_image else None, conditions)


def _side_of(sweep: SweepTables) -> int:
    """Return the shorter side of a sweep's images, in pixels, from one of its stored networks."""
    from sweeper.training.network_file import describe_bytes

    for key in sweep.network_keys:
        if (data := sweep.network(key)) is not None:
            return min(describe_bytes(data, key).graph.image[1:])
    return _DIGITS_SIDE
