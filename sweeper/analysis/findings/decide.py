"""All five claims, for one sweep: what it can answer, what it says, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.analysis.findings import diversity, growth, occlusion, reaction_times, tradeoffs
from sweeper.analysis.findings.human import Human
from sweeper.analysis.findings.looks import WHOLE, Looks
from sweeper.analysis.findings.networks import Networks
from sweeper.analysis.findings.verdicts import Finding, Part, corrected

#: What can be priced, and how it is called in a spec.
PRESSURES = ("breadth_pressure", "depth_pressure", "time_pressure")

#: The sweep of those that are shipped which has what a claim needs.
SHIPPED: Mapping[str, str] = {
    tradeoffs.CLAIM: "tradeoff",
    growth.CLAIM: "growth",
    occlusion.CLAIM: "occlusion",
    reaction_times.CLAIM: "reaction-time",
    diversity.CLAIM: "tradeoff",
}

CLAIMS: Mapping[str, str] = {one.CLAIM: one.TITLE for one in (tradeoffs, growth, occlusion, reaction_times, diversity)}

#: Halting rules whose steps depend on the image.
ADAPTIVE = ("confidence", "state")


@dataclass(frozen=True)
class Evidence:
    """What is known of a finished sweep.

    Attributes:
        spec: With every default written out, as JSON holds it.
        networks: Its complete trials.
        looks: What these do with each image; empty where no probe was shown.
        human: What people did; None where no file was named.
    """

    spec: Mapping[str, Any]
    networks: Networks
    looks: Looks
    human: Human | None = None


def decide(evidence: Evidence, claims: Iterable[str] = tuple(CLAIMS)) -> list[Finding]:
    """Return what a sweep says about claims, with all primary tests corrected together.

    Args:
        evidence: Of the sweep.
        claims: Which of `CLAIMS`, in any order.
    """
    asked = {
        tradeoffs.CLAIM: _tradeoffs,
        growth.CLAIM: _growth,
        occlusion.CLAIM: _occlusion,
        reaction_times.CLAIM: _reaction_times,
        diversity.CLAIM: _diversity,
    }
    wanted = set(claims)
    return corrected(asked[claim](evidence) for claim in CLAIMS if claim in wanted)


def _finding(claim: str, parts: Sequence[Part] = (), missing: Sequence[str] = ()) -> Finding:
    return Finding(claim, CLAIMS[claim], tuple(parts), tuple(missing))


def _each(
    evidence: Evidence, parts: Callable[[Networks, str, str], list[Part]], rules: Sequence[str] | None = None
) -> list[Part]:
    """Return the parts of each task and halting rule; networks without recurrence are baselines, not evidence."""
    return [part for task, rule, own in _groups(evidence, rules) for part in parts(own, task, rule)]


def _groups(evidence: Evidence, rules: Sequence[str] | None) -> list[tuple[str, str, Networks]]:
    recurrent, found = evidence.networks.take(~evidence.networks.is_feed_forward), list[tuple[str, str, Networks]]()
    for task in np.unique(recurrent.task):
        for rule in np.unique(recurrent.rule):
            own = recurrent.take((recurrent.task == task) & (recurrent.rule == rule))
            if len(own) and (rules is None or rule in rules):
                found.append((str(task), str(rule), own))
    return found


def _has_rules(evidence: Evidence, rules: Sequence[str]) -> list[str]:
    if not len(evidence.networks):
        return ["no trial is complete"]
    if not np.isin(evidence.networks.rule, rules).any():
        return [f"no network decides by {' or '.join(rules)} when to answer (time_selection)"]
    return []


def _tradeoffs(evidence: Evidence) -> Finding:
    missing = [] if len(evidence.networks) else ["no trial is complete"]
    priced = evidence.spec.get("parameters", {})
    if lacks := [name for name in PRESSURES if not _is_varied(priced.get(name))]:
        missing.append(f"{', '.join(lacks)} is not varied")
    if missing:
        return _finding(tradeoffs.CLAIM, missing=missing)
    return _finding(tradeoffs.CLAIM, _each(evidence, tradeoffs.parts))


def _is_varied(parameter: Any) -> bool:
    if not isinstance(parameter, Mapping):
        return False
    return len(parameter.get("values") or ()) > 1 or "min" in parameter


def _growth(evidence: Evidence) -> Finding:
    networks = evidence.networks.take(~evidence.networks.is_feed_forward)
    missing = [] if len(networks) else ["no trial is complete"]
    levels = len(np.unique(networks.level))
    if levels < growth.LEAST_LEVELS:
        missing.append(f"it has {levels} of the {growth.LEAST_LEVELS} tasks that a ladder needs")
    ladder = growth.ladder_of(networks)
    if ladder is None:
        missing.append("it was not measured how hard its tasks are (`complexity: true`)")
    if not _is_fair(evidence):
        missing.append("its tasks were trained for different numbers of updates (give `updates`, or `until: settled`)")
    if missing or ladder is None:
        return _finding(growth.CLAIM, missing=missing)
    found: list[Part] = []
    for rule in np.unique(networks.rule):
        found += growth.parts(networks.take(networks.rule == rule), ladder, str(rule))
    return _finding(growth.CLAIM, found)


def _is_fair(evidence: Evidence) -> bool:
    training = evidence.spec.get("training", {})
    if training.get("updates") is not None or training.get("until") == "settled":
        return True
    updates = evidence.networks.values.get("updates", np.zeros(0))
    return len(np.unique(updates)) <= 1


def _occlusion(evidence: Evidence) -> Finding:
    missing = [*_has_rules(evidence, ADAPTIVE), *occlusion.missing(evidence.looks)]
    if _is_trained_occluded(evidence):
        missing.append("its networks were trained on occluded images")
    if missing:
        return _finding(occlusion.CLAIM, missing=missing)
    return _finding(
        occlusion.CLAIM,
        _each(evidence, lambda own, task, rule: occlusion.parts(own, evidence.looks, task, rule), ADAPTIVE),
    )


def _is_trained_occluded(evidence: Evidence) -> bool:
    task, varied = evidence.spec.get("task", {}), evidence.spec.get("parameters", {})
    kinds = [task.get("degradation"), *(varied.get("degradation", {}).get("values") or ())]
    hidden = [task.get("occlusion", 0), *(varied.get("occlusion", {}).get("values") or ())]
    return any(kind in (*occlusion.OCCLUDERS, "occlude_black", "occlude_beside") for kind in kinds) or any(hidden)


def _reaction_times(evidence: Evidence) -> Finding:
    missing = _has_rules(evidence, ADAPTIVE)
    if evidence.human is None:
        missing.append("no human data were named (--human FILE)")
    if not evidence.looks:
        missing.append("what its networks do with each image was not kept (name probes)")
    if missing or evidence.human is None:
        return _finding(reaction_times.CLAIM, missing=missing)
    human, found, described = evidence.human, list[Part](), list[Mapping[str, Any]]()
    if human.difficulty is not None:
        for task in np.unique(evidence.networks.task):
            for rule in [one for one in ADAPTIVE if one in evidence.networks.rule]:
                own = evidence.networks.take((evidence.networks.task == task) & (evidence.networks.rule == rule))
                found += reaction_times.by_image(own, evidence.looks, human.difficulty, str(task), rule)
    for task, rule, own in _groups(evidence, ADAPTIVE):
        if by_condition := reaction_times.by_condition(own, evidence.looks, human.conditions):
            described.append({"task": task, "rule": rule, "by_condition": by_condition})
    if not found and not described:
        missing = ["people and networks have no images and no levels of a degradation in common"]
    return Finding(reaction_times.CLAIM, reaction_times.TITLE, tuple(found), tuple(missing), tuple(described))


def _diversity(evidence: Evidence) -> Finding:
    missing = [] if len(evidence.networks) else ["no trial is complete"]
    if not evidence.looks:
        missing.append("the steps of its images were not kept (name probes)")
    missing += diversity.missing(evidence.networks)
    if missing:
        return _finding(diversity.CLAIM, missing=missing)
    return _finding(
        diversity.CLAIM,
        _each(
            evidence,
            lambda own, task, rule: diversity.parts(own, [evidence.looks[key][WHOLE] for key in own.key], task, rule),
        ),
    )
