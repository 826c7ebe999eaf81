"""Makes new rows of the ledger, for planned settings and for new attempts, and describes parameters to Optuna."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sweeper.ledger.optuna_tables import NewRow
from sweeper.ledger.populations import Population, population_key
from sweeper.ledger.rows import outcome_of, row_key, told_of_plan
from sweeper.rules import FACT, RULES
from sweeper.search.distributions import distribution_of
from sweeper.spec import SweepSpec
from sweeper.trial import Outcome

#: After these outcomes a new attempt continues from the last checkpoint, which is sound. After all others it starts
#: from the beginning, because from the checkpoint it would fail again.
_GOES_ON = (Outcome.LOST, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)


def new_rows(
    spec: SweepSpec, populations: Iterable[Population], notes: Mapping[str, object] | None = None
) -> Iterator[tuple[str, list[NewRow]]]:
    """Yield the task and the rows of each population.

    Args:
        spec: Spec that the populations were planned from.
        populations: Populations to make rows of.
        notes: For a search, the sampler's notes by setting key.
    """
    known = distributions_of(spec)  # only once, because it goes through every value of the grid
    for population in populations:
        rows = []
        for key, setting in zip(population.keys, population.settings, strict=True):
            flat = setting.flat()
            axes = spec.axes_in(flat)
            ranges = {name: its for name, its in known.items() if name in axes or name == "seed"}
            plan: dict[str, Any] = {
                "key": key,
                FACT: RULES,
                "setting": flat,
                "axes": axes,
                "population": population.key,
            }
            if notes and (note := notes[setting.setting_key]):
                plan["note"] = note
            varied = {**axes, "seed": setting.seed}
            attributes = {"plan": plan, **told_of_plan(key, axes)}
            rows.append(NewRow(attributes, {name: varied[name] for name in ranges}, ranges))
        yield population.task, rows


def new_attempts(trials: Sequence[FrozenTrial]) -> tuple[list[NewRow], list[str]]:
    """Return the rows of new attempts, and the keys of those of their populations that start from the beginning.

    A trial that starts from the beginning leaves its population, together with the other members that do. The remaining
    members may have a checkpoint to continue from, which this trial must not share.
    """
    anew: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if outcome_of(trial) not in _GOES_ON:
            anew.setdefault(trial.user_attrs["plan"]["population"], []).append(trial)
    begun = {former: population_key(map(row_key, members)) for former, members in anew.items()}
    rows = []
    for trial in trials:
        plan, claim = trial.user_attrs["plan"], trial.user_attrs.get("claim", {})
        attributes: dict[str, Any] = {
            **told_of_plan(plan["key"], plan["axes"]),
            "plan": {**plan, "again": trial.number},
            # The attempt number continues, but the retries of the new attempt are counted from zero.
            "claim": {"attempt": claim.get("attempt", 0), "owner": claim.get("owner", ""), "is_over": True},
        }
        if outcome_of(trial) in _GOES_ON:
            attributes |= {"rungs": rungs} if (rungs := trial.user_attrs.get("rungs")) else {}
        elif (population := begun[plan["population"]]) != plan["population"]:
            former = [*plan.get("former", []), plan["population"]]
            attributes["plan"] |= {"population": population, "former": former}
        rows.append(NewRow(attributes, trial.params, trial.distributions))
    return rows, list(begun.values())


def distributions_of(spec: SweepSpec) -> dict[str, BaseDistribution]:
    """Describe the varied parameters to Optuna, so that its own tools show them.

    Numbers are ranges and not choices, because Optuna lets a range grow later but not a list of choices. For the same
    reason words are left out; a row's attributes hold them.
    """
    found: dict[str, BaseDistribution] = {}
    for name, values in {**spec.axes, "seed": (spec.seeds[0], spec.seeds[-1])}.items():
        numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(values):
            continue
        if all(isinstance(number, int) for number in numbers):
            found[name] = IntDistribution(int(min(numbers)), int(max(numbers)))
        else:
            found[name] = FloatDistribution(float(min(numbers)), float(max(numbers)))
    return found | {name: distribution_of(given) for name, given in spec.searched.items() if given.values is None}
