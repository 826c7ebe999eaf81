"""Decides all five claims for one sweep, or says what the sweep lacks to decide them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sweeper.analysis.findings import diversity, growth, occlusion, reaction_times, tradeoffs
from sweeper.analysis.findings.human import Human
from sweeper.analysis.findings.looks import WHOLE, Looks, Probe
from sweeper.analysis.findings.networks import Networks
from sweeper.analysis.findings.verdicts import Finding, Part, corrected

#: Names of the pressures in a spec.
PRESSURES = ("breadth_pressure", "depth_pressure", "time_pressure")

#: For each claim, the shipped sweep that suffices to decide it.
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
    """The evidence of a finished sweep.

    Attributes:
        spec: Its spec with every default written out, as JSON holds it.
        networks: Its complete trials.
        looks: The networks' answers to each image; empty if no probe was shown.
        human: The human data; None if no file was named.
        shown: Kinds and levels of the probes, if `looks` were not read; None if they were.
    """

    spec: Mapping[str, Any]
    networks: Networks
    looks: Looks
    human: Human | None = None
    shown: frozenset[Probe] | None = None

    @cached_property
    def probes(self) -> frozenset[Probe]:
        """Kinds and levels of the probes that its networks were shown."""
        return frozenset(probe for of in self.looks.values() for probe in of) if self.shown is None else self.shown

    @property
    def unseen(self) -> list[str]:
        """A sentence on how many networks lack stored answers, if others have them; empty if none or all lack them."""
        lost = sum(key not in self.looks for key in self.networks.key) if self.looks else 0
        return [f"what {lost} of its {len(self.networks)} networks do with each image is not stored"] if lost else []


def decide(evidence: Evidence, claims: Iterable[str] = tuple(CLAIMS)) -> list[Finding]:
    """Decide claims for a sweep, with all primary tests corrected together.

    Args:
        evidence: The sweep's evidence.
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
    """Return the parts of each task and halting rule, without feed-forward networks: these are baselines only."""
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
    if missing := _tradeoffs_lack(evidence):
        return _finding(tradeoffs.CLAIM, missing=missing)
    return _finding(tradeoffs.CLAIM, _each(evidence, tradeoffs.parts))


def _tradeoffs_lack(evidence: Evidence) -> list[str]:
    missing = [] if len(evidence.networks) else ["no trial is complete"]
    priced = evidence.spec.get("parameters", {})
    if lacks := [name for name in PRESSURES if not _is_varied(priced.get(name))]:
        missing.append(f"{', '.join(lacks)} {'is' if len(lacks) == 1 else 'are'} not varied")
    return missing


def _is_varied(parameter: Any) -> bool:
    if not isinstance(parameter, Mapping):
        return False
    return len(parameter.get("values") or ()) > 1 or "min" in parameter


def _growth(evidence: Evidence) -> Finding:
    networks = evidence.networks.take(~evidence.networks.is_feed_forward)
    missing, ladder = _growth_lacks(evidence), growth.ladder_of(networks)
    if missing or ladder is None:
        return _finding(growth.CLAIM, missing=missing)
    found: list[Part] = []
    for rule in np.unique(networks.rule):
        found += growth.parts(networks.take(networks.rule == rule), ladder, str(rule))
    return _finding(growth.CLAIM, found)


def _growth_lacks(evidence: Evidence) -> list[str]:
    networks = evidence.networks.take(~evidence.networks.is_feed_forward)
    missing = [] if len(networks) else ["no trial is complete"]
    levels = len(np.unique(networks.level))
    if levels < growth.LEAST_LEVELS:
        missing.append(f"it has {levels} of the {growth.LEAST_LEVELS} tasks that a ladder needs")
    if growth.ladder_of(networks) is None:
        missing.append("it was not measured how hard its tasks are (`complexity: true`)")
    if not _is_fair(evidence):
        missing.append("its tasks were trained for different numbers of updates (give `updates`, or `until: settled`)")
    return missing


def _is_fair(evidence: Evidence) -> bool:
    training = evidence.spec.get("training", {})
    if training.get("updates") is not None or training.get("until") == "settled":
        return True
    updates = evidence.networks.values.get("updates", np.zeros(0))
    return len(np.unique(updates)) <= 1


def _occlusion(evidence: Evidence) -> Finding:
    if missing := [*_occlusion_lacks(evidence), *evidence.unseen]:
        return _finding(occlusion.CLAIM, missing=missing)
    return _finding(
        occlusion.CLAIM,
        _each(evidence, lambda own, task, rule: occlusion.parts(own, evidence.looks, task, rule), ADAPTIVE),
    )


def _occlusion_lacks(evidence: Evidence) -> list[str]:
    missing = [*_has_rules(evidence, ADAPTIVE), *occlusion.lacking(evidence.probes)]
    if _is_trained_occluded(evidence):
        missing.append("its networks were trained on occluded images")
    return missing


def _is_trained_occluded(evidence: Evidence) -> bool:
    task, varied = evidence.spec.get("task", {}), evidence.spec.get("parameters", {})
    kinds = [task.get("degradation"), *(varied.get("degradation", {}).get("values") or ())]
    hidden = [task.get("occlusion", 0), *(varied.get("occlusion", {}).get("values") or ())]
    return any(kind in (*occlusion.OCCLUDERS, "occlude_black", "occlude_beside") for kind in kinds) or any(hidden)


def _reaction_times(evidence: Evidence) -> Finding:
    missing = [*_reaction_times_lack(evidence), *evidence.unseen]
    if evidence.human is None:
        missing.append("no human data were named (--human FILE)")
    if missing or evidence.human is None:
        return _finding(reaction_times.CLAIM, missing=missing)
    human, found, described = evidence.human, list[Part](), list[Mapping[str, Any]]()
    if human.difficulty is not None:
        for task in np.unique(evidence.networks.task):
            for rule in [one for one in ADAPTIVE if one in evidence.networks.rule]:
                own = evidence.networks.take((evidence.networks.task == task) & (evidence.networks.rule == rule))
                found += reaction_times.by_image(own, evidence.looks, human.difficulty, str(task), rule)
    for task, rule, _ in _groups(evidence, ADAPTIVE):
        own = evidence.networks.take((evidence.networks.task == task) & (evidence.networks.rule == rule))
        if by_condition := reaction_times.by_condition(own, evidence.looks, human.conditions):
            described.append({"task": task, "rule": rule, "by_condition": by_condition})
    if not found and not described:
        missing = ["people and networks have no images and no levels of a degradation in common"]
    return Finding(reaction_times.CLAIM, reaction_times.TITLE, tuple(found), tuple(missing), tuple(described))


def _reaction_times_lack(evidence: Evidence) -> list[str]:
    missing = _has_rules(evidence, ADAPTIVE)
    if not evidence.probes:
        missing.append("what its networks do with each image was not kept (name probes)")
    return missing


def _diversity(evidence: Evidence) -> Finding:
    if missing := [*_diversity_lacks(evidence), *evidence.unseen]:
        return _finding(diversity.CLAIM, missing=missing)
    return _finding(
        diversity.CLAIM,
        _each(
            evidence,
            lambda own, task, rule: diversity.parts(own, [evidence.looks[key][WHOLE] for key in own.key], task, rule),
        ),
    )


def _diversity_lacks(evidence: Evidence) -> list[str]:
    missing = [] if len(evidence.networks) else ["no trial is complete"]
    if not evidence.probes:
        missing.append("the steps of its images were not kept (name probes)")
    return missing + diversity.missing(evidence.networks)


_LACKS: Mapping[str, Callable[[Evidence], list[str]]] = {
    tradeoffs.CLAIM: _tradeoffs_lack,
    growth.CLAIM: _growth_lacks,
    occlusion.CLAIM: _occlusion_lacks,
    reaction_times.CLAIM: _reaction_times_lack,
    diversity.CLAIM: _diversity_lacks,
}


def lacking(networks: Networks, spec: Mapping[str, Any], claim: str) -> list[str]:
    """Return in sentences what a sweep lacks to decide a claim, human data aside.

    Decides nothing and reads no answers to images: the networks' values tell which probes they were shown.
    """
    return _LACKS[claim](Evidence(spec, networks, {}, shown=networks.probes))


#: Least number of networks in a picture.
LEAST_DRAWN = 3


def lacking_to_draw(networks: Networks, spec: Mapping[str, Any], claim: str, task: str) -> list[str]:
    """Return in sentences what a sweep lacks for the picture of a claim, human data aside.

    Args:
        networks: The networks of the whole sweep.
        spec: The sweep's spec.
        claim: One of `CLAIMS`.
        task: The task to draw; growth is about all tasks.
    """
    own = networks if claim == growth.CLAIM else networks.take(networks.task == task)
    if missing := lacking(own, spec, claim):
        return missing
    groups = [one for _, _, one in _groups(Evidence(spec, own, {}), None)]
    if claim == tradeoffs.CLAIM and max((len(tradeoffs.near_target(one)) for one in groups), default=0) < LEAST_DRAWN:
        return [f"fewer than {LEAST_DRAWN} of its networks are near the accuracy that is judged, and free of walls"]
    if claim == diversity.CLAIM and max((len(one) for one in groups), default=0) < LEAST_DRAWN:
        return [f"fewer than {LEAST_DRAWN} of its networks can be compared"]
    return []
