"""Decides claims from their numbers, by the one rule for all claims in `docs/findings-method.md`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sweeper.analysis.findings.statistics import Estimate, holm

#: A corrected p-value below this level is significant.
SIGNIFICANT = 0.05

#: Least number of seeds for every claim.
LEAST_SEEDS = 5


class Verdict(StrEnum):
    """The verdict on a claim."""

    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    REFUTED = "refuted"
    TOO_LITTLE = "too little data"


@dataclass(frozen=True)
class Control:
    """A check of another explanation of an effect, with its result.

    Attributes:
        name: Name of the other explanation.
        is_passed: Whether the claim stands despite it; None if the control only describes.
        says: The result in words.
        qualifier: Words added to `shown` if the control is not passed; if empty, the claim is then not shown.
        is_blind: Whether failing means that the data could not have shown the claim.
        is_void: Whether failing means that there was nothing to show or refute.
    """

    name: str
    is_passed: bool | None
    says: str
    qualifier: str = ""
    is_blind: bool = False
    is_void: bool = False


@dataclass(frozen=True)
class Part:
    """One effect behind a claim, under one halting rule on one task.

    Attributes:
        claim: F1 to F5.
        name: Name of the effect, such as `breadth for depth`.
        rule: Halting rule: how the networks decide when to answer.
        task: Label of the task, or of the ladder.
        effect: The effect, signed so that the claimed direction is positive.
        unit: Unit of the effect, in words.
        least: The smallest effect that matters.
        p: p-value of the primary test; NaN if there is none.
        networks, seeds: Numbers of networks and seeds behind the effect.
        lacks: Why there is too little data; empty if there is enough.
        controls: Its controls.
        numbers: Further numbers by name: plain values and lists of mappings, as JSON holds them.
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
        """The verdict on the effect."""
        return self._decided[0]

    @property
    def why(self) -> str:
        """Why the verdict is not `shown`; empty if it is."""
        return self._decided[1]

    @property
    def qualifier(self) -> str:
        """Words to add to `shown`; empty if there are none."""
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
    """The finding of a sweep about one claim.

    Attributes:
        claim: F1 to F5.
        title: The claim in words.
        parts: Its effects, for each task and halting rule; empty if the sweep cannot answer.
        missing: What this sweep lacks to answer, in sentences.
        described: Further descriptions, which decide nothing: plain values, with `task` and `rule`.
    """

    claim: str
    title: str
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()
    described: tuple[Mapping[str, Any], ...] = ()

    @property
    def verdicts(self) -> dict[tuple[str, str], Verdict]:
        """The verdict on the claim, by task and halting rule."""
        keys = dict.fromkeys((part.task, part.rule) for part in self.parts)
        return {key: _joined([p.verdict for p in self.parts if (p.task, p.rule) == key]) for key in keys}


def _joined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the joint verdict of a claim's parts: shown if all are shown, and refuted if one is refuted."""
    if Verdict.REFUTED in verdicts:
        return Verdict.REFUTED
    if all(one is Verdict.SHOWN for one in verdicts):
        return Verdict.SHOWN
    return Verdict.TOO_LITTLE if Verdict.TOO_LITTLE in verdicts else Verdict.NOT_SHOWN


def corrected(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings whose primary p-values are corrected together, over all claims that were asked."""
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
