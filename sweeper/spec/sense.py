"""Finds valid values that make no sense in the whole spec; only for specs that are to be run, never for stored ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeper.measurements import MEASUREMENTS, Goal, Measurement
from sweeper.spec.choices import DegradationKind
from sweeper.spec.lattice_sweep import LatticeSweep
from sweeper.spec.parameters import OWNER_OF, PRESSURES
from sweeper.spec.problems import Loc, Problem, problem
from sweeper.spec.setting import Scalar, pressure_of
from sweeper.spec.sweep_spec import SweepSpec

#: Parameter -> its smallest and largest useful value.
_USEFUL = {
    "learning_rate": (1e-9, 10.0),
    "step_loss": (0.0, 1e3),
    "breadth_pressure": (0.0, 1e6),
    "depth_pressure": (0.0, 1e6),
    "time_pressure": (0.0, 1e6),
    "noise": (0.0, 1e3),
    "level": (0.0, 1e3),
}

#: Largest absolute value in a reference point; beyond it hypervolumes are meaningless.
_FARTHEST_REFERENCE = 1e15


def sense_problems(spec: SweepSpec) -> list[Problem]:
    """Return the values that make no sense in a spec of valid values."""
    if not isinstance(spec, LatticeSweep):
        return []
    return [*_of_goals(spec), *_of_bounds(spec), *_of_reference(spec), *_of_rungs(spec), *_of_sizes(spec)]


def _of_goals(spec: LatticeSweep) -> Iterator[Problem]:
    goals: list[tuple[Loc, str, Goal]] = [
        (("objectives", at, "goal"), one.name, one.goal) for at, one in enumerate(spec.objectives)
    ]
    for goal in Goal:
        if spec.search is not None and (name := getattr(spec.search, goal.value)) is not None:
            goals.append((("search", goal.value), name, goal))
    for loc, name, goal in goals:
        better = _known(spec, name).better
        if better is not None and goal is not better:
            rule = f"{name} must be made {'larger' if better is Goal.MAXIMIZE else 'smaller'}: that is its better side"
            yield problem(loc, rule, goal if loc[0] == "objectives" else name, f"Write {better}.")


def _known(spec: LatticeSweep, name: str) -> Measurement:
    """Return the description of a measurement; a user's own may have any value, within the bounds of its unit."""
    unit = spec.added_units.get(name, "")
    own = Measurement(name, unit, "", better=None, least=0.0 if unit == "share" else -math.inf)
    return MEASUREMENTS.get(name, own)


def _of_bounds(spec: LatticeSweep) -> Iterator[Problem]:
    for at, bound in enumerate(spec.search.subject_to if spec.search is not None else ()):
        one = _known(spec, bound.name)
        is_never = bound.value > one.most if bound.is_least else bound.value < one.least
        if is_never:
            reach = f"at most {one.most:g}" if bound.is_least else f"at least {one.least:g}"
            rule = f"a condition must be one that networks can meet, and {bound.name} is {reach}"
            yield problem(("search", "subject_to", at), rule, str(bound), "Use another number.")


def _of_reference(spec: LatticeSweep) -> Iterator[Problem]:
    for objective in spec.objectives:
        value, one = spec.reference_point[objective.name], _known(spec, objective.name)
        loc: Loc = ("reference_point", objective.name)
        is_up = objective.goal is Goal.MAXIMIZE
        best = one.most if is_up else one.least
        if (value >= best) if is_up else (value <= best):
            rule = f"{objective.name} must be {'below' if is_up else 'above'} {best:g}, which no network betters"
            fix = "A reference point is worse than every useful network; else no network has any hypervolume."
            yield problem(loc, rule, value, fix)
        elif abs(value) > _FARTHEST_REFERENCE:
            rule = f"{objective.name} must be within {_FARTHEST_REFERENCE:g}, or hypervolumes say nothing"
            yield problem(loc, rule, value, "Use a number just worse than the worst useful network.")


def _of_rungs(spec: LatticeSweep) -> Iterator[Problem]:
    rule = spec.early_stopping
    unit = "epochs" if spec.training.updates is None else "updates"
    if rule is None:
        return
    longest = max(int(value) for _, value in _given(spec, unit) if value is not None)
    if not rule.rungs(spec.training.model_copy(update={unit: longest}).rounds):
        said = f"min_{unit} must be below the {unit} of a training ({longest}), or nothing is ever stopped early"
        loc: Loc = ("early_stopping", f"min_{unit}")
        yield problem(loc, said, getattr(rule, f"min_{unit}"), "Lower it, or leave `early_stopping` out.")


def _of_sizes(spec: LatticeSweep) -> Iterator[Problem]:
    useful = {**_USEFUL, **{pressure_of(cost): _USEFUL["time_pressure"] for cost in spec.costs}}
    for name, (least, most) in useful.items():
        for loc, value in _given(spec, name):
            if isinstance(value, int | float) and value != 0 and not least <= value <= most:
                reach = f"from {least:g} to {most:g}" if least else f"at most {most:g}"
                yield problem(loc, f"{name} must be {reach}", value, "No training makes anything of such a number.")
    for kind in (DegradationKind.NOISE, DegradationKind.BLUR):
        most = _USEFUL["level"][1]
        if any(level > most for level in spec.probes.get(kind, ())):
            rule = f"levels of {kind} must be at most {most:g}"
            yield problem(("probes", str(kind)), rule, list(spec.probes[kind]), "Lower them.")


def _given(spec: LatticeSweep, name: str) -> Iterator[tuple[Loc, Scalar | None]]:
    """Yield all values of a parameter, or the ends of its range, with their places."""
    if (given := spec.parameters.get(name)) is None:
        owner = OWNER_OF.get(name, PRESSURES)
        if owner != PRESSURES:
            yield (owner, name), getattr(getattr(spec, owner), name)
    elif given.values is not None:
        yield from ((("parameters", name, "values", at), value) for at, value in enumerate(given.values))
    else:
        ends = {"value": given.value, "min": given.min, "max": given.max}
        yield from ((("parameters", name, end), value) for end, value in ends.items() if value is not None)
