"""How a claim is decided once its numbers are there: one rule for all of them, as `docs/findings-method.md` says it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sweeper.analysis.findings.statistics import Estimate, holm

#: A corrected p-value below this is small.
SIGNIFICANT = 0.05

#: Seeds that every claim needs.
LEAST_SEEDS = 5


class Verdict(StrEnum):
    """What a sweep says about a claim."""

    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    REFUTED = "refuted"
    TOO_LITTLE = "too little data"


@dataclass(frozen=True)
class Control:
    """Something else that would look the same, and what it says.

    Attributes:
        name: What is controlled for.
        is_passed: Whether the claim stands beside it; None where it decides nothing.
        says: What was found, in a sentence's words.
        qualifier: What is added to `shown` where it is not passed; empty where the claim is not shown then.
        is_blind: Whether a control that is not passed means that the data could not have shown the claim.
        is_void: Whether it means that there was nothing to be shown or refuted.
    """

    name: str
    is_passed: bool | None
    says: str
    qualifier: str = ""
    is_blind: bool = False
    is_void: bool = False


@dataclass(frozen=True)
class Part:
    """One effect that a claim stands on, under one halting rule on one task.

    Attributes:
        claim: F1 to F5.
        name: What the effect is of, such as `breadth for depth`.
        rule: How the networks decide when to answer.
        task: Label of the task, or of the ladder.
        effect: Signed so that the claimed direction is positive.
        unit: Of the effect, in words.
        least: The smallest effect that matters.
        p: Of the primary test; NaN where there is none.
        networks, seeds: How many were counted.
        lacks: Why there is too little data; empty where there is enough.
        controls: Beside it.
        numbers: What else is said of it, by name: plain values and lists of mappings, as JSON holds them.
        corrected: p after Holm's correction over all primary tests of the sweep.
    """

    claim: str
    name: str
    rule: str
    task: str
    effect: Estimate
    unit: str
    least: float
    p: float = math.nan
    networks: int = 0
    seeds: int = 0
    lacks: str = ""
    controls: tuple[Control, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    corrected: float = math.nan

    @property
    def verdict(self) -> Verdict:
        """What is said of it."""
        return self._decided[0]

    @property
    def why(self) -> str:
        """Why it is not simply shown; empty where it is."""
        return self._decided[1]

    @property
    def qualifier(self) -> str:
        """What has to be added to `shown`; empty where nothing has to."""
        failed = [c.qualifier for c in self.controls if c.is_passed is False and c.qualifier]
        return "; ".join(failed) if self.verdict is Verdict.SHOWN else ""

    @property
    def _decided(self) -> tuple[Verdict, str]:
        if self.lacks:
            return Verdict.TOO_LITTLE, self.lacks
        if not self.effect.is_known:
            return Verdict.TOO_LITTLE, "the effect has no interval"
        blind = [c for c in self.controls if c.is_passed is False and c.is_blind]
        if blind:
            return Verdict.TOO_LITTLE, f"{blind[0].name}: {blind[0].says}"
        void = [c for c in self.controls if c.is_passed is False and c.is_void]
        if not void and self.effect.high < self.least:
            return Verdict.REFUTED, f"its interval ends at {self.effect.high:.3g}, below {self.least:g}"
        failed = [
            f"{c.name}: {c.says}" for c in self.controls if c.is_passed is False and not (c.qualifier or c.is_blind)
        ]
        if self.effect.low <= self.least:
            failed.insert(0, f"its interval begins at {self.effect.low:.3g}, not above {self.least:g}")
        if not self.corrected < SIGNIFICANT:
            failed.insert(0, f"corrected p is {self.corrected:.3g}, not below {SIGNIFICANT:g}")
        return (Verdict.NOT_SHOWN, "; ".join(failed)) if failed else (Verdict.SHOWN, "")


@dataclass(frozen=True)
class Finding:
    """What a sweep says about one claim.

    Attributes:
        claim: F1 to F5.
        title: The claim in words.
        parts: Its effects, for each task and halting rule; empty where the sweep cannot answer.
        missing: What a sweep needs to answer, and this one lacks, in sentences.
        described: What is said beside, and decides nothing: plain values, with `task` and `rule`.
    """

    claim: str
    title: str
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()
    described: tuple[Mapping[str, Any], ...] = ()

    @property
    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """What is said of it, by task and halting rule."""
        keys = dict.fromkeys((part.task, part.rule) for part in self.parts)
        return {key: _joined([p.verdict for p in self.parts if (p.task, p.rule) == key]) for key in keys}


def _joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return what a claim's parts say together: all of them must be shown, and one that is refuted refutes it."""
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    if all(one is Verdict.SHOWN for one in verdicts):
        return Verdict.SHOWN
    return Verdict.TOO_LITTLE if Verdict.TOO_LITTLE in verdicts else Verdict.NOT_SHOWN


def corrected(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings whose primary p-values are corrected together, over everything that a sweep was asked."""
    listed = list(findings)
    tests = {
        f"{at}/{number}": part.p
        for at, finding in enumerate(listed)
        for number, part in enumerate(finding.parts)
        if math.isfinite(part.p) and not part.lacks
    }
    after = holm(tests)
    return [
        replace(
            finding,
            parts=tuple(
                replace(part, corrected=after.get(f"{at}/{number}", math.nan))
                for number, part in enumerate(finding.parts)
            ),
        )
        for at, finding in enumerate(listed)
    ]
